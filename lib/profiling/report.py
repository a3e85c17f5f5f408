"""The reports of `tracking/measure.py`: a model and its frame, a training step, an analysis."""

import dataclasses
import json
from collections.abc import Sequence as Indexed
from pathlib import Path
from typing import Any

from lib.config.schema import Experiment
from lib.eval.report.figure import check_suffix, save_as
from lib.models.device import Precision
from lib.profiling.frame import Mode, describe_frames, measure_frames
from lib.profiling.frame_plot import draw_frames
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

    Without a device's name (auto, cpu, cuda or cuda:N) nothing is timed; the other arguments are those of
    `measure_frames`, and the files that all figures, and a drawing of the stages beside the limit, are written into.
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
            save_as(lambda: draw_frames(costs), plot_file)
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
    """Measure a training step, or with `memory` tabulate that instead, and return the report.

    `device_name` is auto, cpu, cuda or cuda:N; the other arguments are those of `measure_training`.
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
