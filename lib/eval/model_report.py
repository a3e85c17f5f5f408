"""The report of `tracking/profile.py model`: sizes of a model and the cost of a tracked frame; text, JSON, a figure."""

import dataclasses
import json
from collections.abc import Sequence as Indexed
from pathlib import Path
from typing import Any

from lib.config.schema import Experiment
from lib.eval.frame_plot import plot_frames
from lib.eval.report.figure import check_suffix
from lib.models.device import Precision
from lib.models.profile import describe_size, size_model
from lib.tracker.frame_cost import Mode, describe_frames, measure_frames


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

    Raises:
        ValueError, OSError: something that the user supplied is wrong.
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
