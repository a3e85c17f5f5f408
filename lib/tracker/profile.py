"""The report of `tracking/profile.py model`: sizes of a model and the cost of a tracked frame, as text and as JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from lib.config.schema import Experiment
from lib.models.profile import describe_size, size_model
from lib.tracker.frame_cost import describe_frame, measure_frame


def profile_model(
    experiment: Experiment,
    *,
    device_name: str | None = None,
    frames: int | None = None,
    baseline: Experiment | None = None,
    json_file: Path | None = None,
) -> str:
    """Count a model's parameters and operations, and time its frames, and return the report.

    Args:
        experiment: whose model.
        device_name: where to time frames (auto, cpu, cuda or cuda:N); None leaves the timing out.
        frames: to time.
        baseline: a second network to time in turn, plain and in float32.
        json_file: also write every figure there.

    Raises:
        ValueError, OSError: something that the user supplied is wrong.
    """
    size = size_model(experiment)
    report = describe_size(size)
    figures: dict[str, Any] = {"size": dataclasses.asdict(size), "frame": None}
    if device_name is not None:
        cost = measure_frame(experiment, device_name, frames=frames, baseline=baseline)
        report += "\n" + describe_frame(cost)
        figures["frame"] = dataclasses.asdict(cost)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return report
