"""The reports of `tracking/measure.py`: a model and its frame, a training step, an analysis."""

import dataclasses
import json
from collections.abc import Sequence as Indexed
from pathlib import Path
from typing import Any

from lib.config.schema import Experiment
from lib.eval.report.figure import check_suffix
from lib.models.device import Precision
from lib.profiling.frame import Mode, describe_frames, measure_frames
from lib.profiling.frame_plot import plot_frames
from lib.profiling.memory import describe_memory, tabulate_memory
from lib.profiling.model import describe_size, size_model
from lib.profiling.training import describe_cost, measure_training
from lib.train.distributed import choose_device


def profile_model(
    experiment: Experiment,
    *,
    device_name: str | None = None,
    precisions: Indexed[Precision] = (),
    modes: Indexed[Mode] = (),
    frames: int | None = None,
    baseline: Experiment | None = None,
    json_file: Path | None = None,
    plot_file: Path | None = None,
) -> str:
    """Count a model's parameters and operations, and time its frames, and return the report.

    Args:
        experiment: whose model.
        device_name: where to time frames (auto, cpu, cuda or cuda:N); None leaves the timing out.
        precisions, modes: to time, each with each; without any, what the experiment's `track` section says.
        frames: to time.
        baseline: a second network to time in turn, as it is trained and in float32.
        json_file: also write every figure there.
        plot_file: also draw the time of a frame by stage beside the limit there.
    """
    if plot_file is not None:
        check_suffix(plot_file)
    size = size_model(experiment)
    report = describe_size(size)
    figures: dict[str, Any] = {"size": dataclasses.asdict(size)}
    if device_name is not None:
        costs = measure_frames(
            experiment, device_name, precisions=precisions, modes=modes, frames=frames, baseline=baseline
        )
        report += "\n" + describe_frames(costs)
        figures["frames"] = [dataclasses.asdict(cost) for cost in costs]
        if plot_file is not None:
            plot_frames(costs, plot_file)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return report


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
