"""What a model costs: parameters by part, operations of a training sample and of a tracked frame, frames per second."""

import re
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.mmg import MMG, count_parameters

_WARM_UP, _TIMED = 5, 30


def profile_model(experiment: Experiment, device: str | None = None) -> str:
    """Return the report as text.

    Args:
        experiment: whose model is built, with random weights.
        device: where to time tracked frames (auto, cpu, cuda or cuda:N); None leaves the timing out.
    """
    with torch.device("meta"):
        sketch = build_model(experiment, pretrained=False, init="default").to("meta")
    counts = count_parameters(sketch)
    lines = [f"{experiment.name}: parameters"]
    lines += [f"  {part:16s} {count / 1e6:8.2f} M" for part, count in counts.items()]
    tracked = counts["encoder"] + counts["head"] + counts["score"]
    lines.append(f"  {'in training':16s} {sum(counts.values()) / 1e6:8.2f} M")
    lines.append(f"  {'when tracking':16s} {tracked / 1e6:8.2f} M")
    lines.append("multiply-adds")
    lines.append(f"  {'tracked frame':16s} {_multiply_adds(sketch.without_decoder().eval(), experiment) / 1e9:8.2f} G")
    lines.append(f"  {'training sample':16s} {3 * _multiply_adds(sketch.train(), experiment) / 1e9:8.2f} G "
                 "(forward, times three)")  # fmt: skip
    if device is not None:
        lines.append(_speed(experiment, device))
    return "\n".join(lines)


def _images(experiment: Experiment, device: str | torch.device, batch: int = 1) -> list[torch.Tensor | None]:
    """Return template, search and online template, all grey."""
    crop = experiment.crop
    sizes = (crop.template_size, crop.search_size, crop.template_size)
    images: list[torch.Tensor | None] = [
        torch.full((batch, 3, size, size), 128, dtype=torch.uint8, device=device) for size in sizes
    ]
    if not experiment.model.online_template:
        images[2] = None
    return images


def _multiply_adds(model: MMG, experiment: Experiment) -> float:
    """Count the multiply-adds of one forward pass with the operations that torch's counter knows."""
    template, search, online_template = _images(experiment, "meta", batch=2)
    assert template is not None and search is not None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(template, search, online_template, predict_score=model.score is not None and not model.training)
    return counter.get_total_flops() / 2 / 2


def _speed(experiment: Experiment, device_name: str) -> str:
    if device_name == "auto":
        device_name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device_name):
        raise ValueError(f"unknown device {device_name!r}: write auto, cpu, cuda or cuda:N")
    device = torch.device(device_name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device_name} is not here; use --device cpu")
    model = build_model(experiment, pretrained=False).without_decoder().eval().to(device)
    template, search, online_template = _images(experiment, device)
    assert template is not None and search is not None
    seconds = []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        model.track(template, search, online_template).crop_boxes_xyxy.cpu()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[_WARM_UP:])
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"network alone on {name}: {1 / median:.1f} frames per second (median of {_TIMED}, float32, batch 1)"
