"""The report of `tracking/profile.py train`: time or memory of a training step, as text and as JSON."""

import dataclasses
import json
from pathlib import Path

from lib.config.schema import Experiment
from lib.train.cost import describe_cost, measure_training
from lib.train.distributed import choose_device
from lib.train.memory_table import describe_memory, tabulate_memory


def profile_training(
    experiment: Experiment,
    *,
    device_name: str = "auto",
    steps: int = 30,
    loader: bool = False,
    memory: bool = False,
    paths_file: Path | None = None,
    json_file: Path | None = None,
) -> str:
    """Measure a training step and return the report.

    Args:
        experiment: what is trained.
        device_name: auto, cpu, cuda or cuda:N.
        steps: to time.
        loader: on real samples instead of one synthetic batch.
        memory: tabulate its memory instead of timing it.
        paths_file: where data sets lie; None for `experiments/paths.yaml`.
        json_file: also write every figure there.

    Raises:
        ValueError, OSError: something that the user supplied is wrong.
    """
    device = choose_device(device_name)
    if memory:
        found = tabulate_memory(experiment, device)
        report = describe_memory(found)
    else:
        found = measure_training(experiment, device, steps, loader=loader, paths_file=paths_file)
        report = describe_cost(found)
    if json_file is not None:
        json_file.write_text(json.dumps(dataclasses.asdict(found), indent=2) + "\n", encoding="utf-8")
    return report
