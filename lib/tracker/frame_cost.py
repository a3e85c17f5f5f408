"""What a tracked frame costs: the time of its stages against what its matrix products need, at the device's best."""

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.models.build import build_model
from lib.models.inference import TrackingNetwork
from lib.models.peak import PeakMeter, describe_device
from lib.models.precision import tracking_dtype
from lib.models.stopwatch import Stopwatch
from lib.tracker.build import as_tracked, choose_device
from lib.tracker.mmg import TrackingModel, clip_to_frame

# On GPUs the field's protocol; a CPU is slow and has no clock to settle.
_WARM_UP = {"cpu": 5, "cuda": 500}
_TIMED = {"cpu": 40, "cuda": 1000}
_ROUNDS = 8  # of the peak, spread over the frames
_FRAME = (720, 1280)
_BOX_XYWH = np.array([600.0, 300.0, 90.0, 120.0])


@dataclass(frozen=True)
class FrameCost:
    """One frame of one video, measured: crop to box, batch 1.

    Attributes:
        config, device, precision, compiled, frames: what was measured, and how often.
        seconds: median time of a frame.
        seconds_spread: the 10th and the 90th percentile.
        stage_seconds: medians by stage.
        flops: of the network's matrix products and convolutions; a multiply-add is two.
        peaks: operations a second of the device's best matrix product, measured between the frames, by format.
        limit_seconds: what the products need at the peak of their format, as if all were in it.
        times_limit: seconds / limit_seconds.
        baseline: config of a plain network, run in float32 and eager in turn with the frames; or None.
        baseline_seconds: median time of its frame.
    """

    config: str
    device: str
    precision: str
    compiled: bool
    frames: int
    seconds: float
    seconds_spread: tuple[float, float]
    stage_seconds: dict[str, float]
    flops: int
    peaks: dict[str, float]
    limit_seconds: float
    times_limit: float
    baseline: str | None
    baseline_seconds: float | None


class TimedFrame:
    """The work of `MMGTracker.track` on one frame of random pixels, stage by stage.

    Args:
        experiment: sizes, and whether there is an online template.
        model: the network.
        device: its device.
        parts: stages inside the network by name, in the order in which they run; empty for a compiled network.
    """

    def __init__(
        self, experiment: Experiment, model: TrackingModel, device: torch.device, parts: dict[str, nn.Module]
    ) -> None:
        self._crop = experiment.crop
        self._model = model
        self._device = device
        self._parts = parts
        self._image = np.random.default_rng(0).integers(0, 256, (*_FRAME, 3), dtype=np.uint8)
        window = CropWindow.around(_BOX_XYWH, self._crop.template_factor, self._crop.template_size)
        self._template = self._upload(window.cut(self._image))
        self._online_template = self._template.clone() if experiment.model.online_template else None

    def run(self) -> dict[str, float]:
        """Track the frame, and return the seconds of its stages and their sum, `frame`."""
        watch = Stopwatch(self._device)
        window = CropWindow.around(_BOX_XYWH, self._crop.search_factor, self._crop.search_size)
        crop = window.cut(self._image)
        watch.mark("crop")
        search = self._upload(crop)
        watch.mark("upload")
        with ExitStack() as hooks:
            for name, part in self._parts.items():
                _watch(hooks, part, watch, name)
            output = self._model.track(self._template, search, self._online_template)
        watch.mark("blocks" if self._parts else "network")
        crop_box_xyxy = output.crop_boxes_xyxy[0].double().cpu().numpy()
        clip_to_frame(window.to_image(crop_box_xyxy), *_FRAME, margin=10)
        watch.mark("back to the image")
        seconds = watch.stop()
        return {**seconds, "frame": sum(seconds.values())}

    def count_flops(self) -> int:
        """Count the operations of the network on a frame whose templates it has seen."""
        search = self._upload(np.zeros((self._crop.search_size, self._crop.search_size, 3), np.uint8))
        self._model.track(self._template, search, self._online_template)
        with FlopCounterMode(display=False) as counter:
            self._model.track(self._template, search, self._online_template)
        return counter.get_total_flops()

    def _upload(self, crop: np.ndarray) -> Tensor:
        return torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0).to(self._device)


def measure_frame(
    experiment: Experiment, device_name: str = "auto", *, frames: int | None = None, baseline: Experiment | None = None
) -> FrameCost:
    """Time frames of an experiment's tracker as its `track` section says, with random weights.

    Args:
        experiment: whose network.
        device_name: auto, cpu, cuda or cuda:N.
        frames: to time; None for 1000 on a GPU and 40 on a CPU.
        baseline: a second network, whose plain float32 frame is measured in turn.

    Raises:
        ValueError: no such device, a precision that it does not have, or no frames.
    """
    if frames is not None and frames < 1:
        raise ValueError(f"--frames {frames}: at least one frame is needed to time it")
    device = choose_device(device_name)
    track = experiment.track
    dtype = tracking_dtype(track.precision, device)
    model = build_model(as_tracked(experiment), pretrained=False).eval().to(device)
    plain = TrackingNetwork(model, dtype)
    flops = TimedFrame(experiment, plain, device, {}).count_flops()
    network, parts = plain, _parts(plain)
    if track.compile:
        network, parts = TrackingNetwork(model, dtype, compiled=True), {}
    timed = TimedFrame(experiment, network, device, parts)
    other: Callable[[], dict[str, float]] | None = None
    if baseline is not None:
        peer = build_model(as_tracked(baseline), pretrained=False).eval().to(device)
        other = TimedFrame(baseline, peer, device, {}).run

    formats = dict.fromkeys((torch.float32, dtype or torch.float32))
    for _ in range(_WARM_UP[device.type]):
        timed.run()
    if other is not None:
        other()
    peaks = {each: PeakMeter(device, each) for each in formats}
    count = frames or _TIMED[device.type]
    rows, baseline_seconds = [], []
    for number in range(count):
        if number % max(1, count // _ROUNDS) == 0:
            for peak in peaks.values():
                peak.round()
        rows.append(timed.run())
        if other is not None:
            baseline_seconds.append(other()["frame"])

    medians = {stage: statistics.median(row[stage] for row in rows) for stage in rows[0]}
    seconds = medians.pop("frame")
    ordered = sorted(row["frame"] for row in rows)
    limit = flops / peaks[dtype or torch.float32].flops
    return FrameCost(
        config=experiment.name,
        device=describe_device(device),
        precision=_name(dtype or torch.float32),
        compiled=track.compile,
        frames=count,
        seconds=seconds,
        seconds_spread=(ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]),
        stage_seconds=medians,
        flops=flops,
        peaks={_name(each): peak.flops for each, peak in peaks.items()},
        limit_seconds=limit,
        times_limit=seconds / limit,
        baseline=None if baseline is None else baseline.name,
        baseline_seconds=statistics.median(baseline_seconds) if baseline_seconds else None,
    )


def describe_frame(cost: FrameCost) -> str:
    """Return a measurement as text."""
    low, high = cost.seconds_spread
    how = "compiled" if cost.compiled else "eager"
    lines = [
        f"a tracked frame on {cost.device}: {cost.precision}, {how}, batch 1, crop to box",
        f"  {1 / cost.seconds:.1f} frames per second; a frame takes {1000 * cost.seconds:.2f} ms",
        f"  (median of {cost.frames}; 10th to 90th percentile {1000 * low:.2f} to {1000 * high:.2f})",
    ]
    for stage, seconds in cost.stage_seconds.items():
        lines.append(f"  {stage:18s} {1000 * seconds:9.2f} ms {seconds / cost.seconds:6.1%}")
    peaks = ", ".join(f"{peak / 1e12:.3f} in {name}" for name, peak in cost.peaks.items())
    lines += [
        f"  products: {cost.flops / 1e9:.2f} GFLOP; best matrix product, TFLOP/s: {peaks}",
        f"  the products need {1000 * cost.limit_seconds:.2f} ms at the {cost.precision} limit; a frame takes "
        f"{cost.times_limit:.2f} times that",
    ]
    if cost.baseline is not None and cost.baseline_seconds is not None:
        share = cost.seconds / cost.baseline_seconds
        lines.append(
            f"  {cost.baseline}, plain float32, in turn: {1000 * cost.baseline_seconds:.2f} ms; a frame here takes "
            f"{share:.2f} of that"
        )
    return "\n".join(lines)


def _parts(network: TrackingNetwork) -> dict[str, nn.Module]:
    """Return the stages whose beginning and end can be seen; what lies between them are the blocks."""
    model = network.model
    parts: dict[str, nn.Module] = {"patch embedding": model.encoder.patch_embed, "head": model.head}
    if model.score is not None:
        parts["score"] = model.score
    return parts


def _watch(hooks: ExitStack, part: nn.Module, watch: Stopwatch, name: str) -> None:
    """Mark what came before a part as blocks, or as normalisation, and the part by its name."""
    before = "normalisation" if name == "patch embedding" else "blocks"
    handles = (
        part.register_forward_pre_hook(lambda module, inputs: watch.mark(before)),
        part.register_forward_hook(lambda module, inputs, output: watch.mark(name)),
    )
    for handle in handles:
        hooks.callback(handle.remove)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
