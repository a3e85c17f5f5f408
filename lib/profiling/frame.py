"""What a tracked frame costs: the time of its stages against what its matrix products need, at the device's best."""

import copy
import statistics
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Indexed
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.device import Precision, tracking_dtype
from lib.models.inference import TrackingNetwork
from lib.models.mmg import TrackOutput
from lib.profiling.clock import PeakMeter, Stopwatch, describe_device, watch_parts
from lib.tracker.build import as_tracked, build_tracker_of, choose_device
from lib.tracker.mmg import TrackingModel

Mode = Literal["eager", "compiled", "graph"]
# On GPUs the field's protocol; a CPU is slow and has no clock to settle.
_WARM_UP = {"cpu": 5, "cuda": 500}
_TIMED = {"cpu": 40, "cuda": 1000}
SECONDS = 60.0  # after which no more frames are timed, and a quarter of which warms up
_ROUNDS = 8  # of the peak, spread over the frames
_FRAME = (720, 1280)
_BOX_XYWH = np.array([600.0, 300.0, 90.0, 120.0])


@dataclass(frozen=True)
class Timing:
    """Seconds of something done many times: the median, the 10th and the 90th percentile."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class FrameCost:
    """One frame of one video, measured: crop to box, batch 1.

    Attributes:
        config, device, precision, mode, frames: what was measured, and how often; the precision is that of the blocks.
        flops: of the network's matrix products and convolutions by stage; a multiply-add is two. Those of the plain
            network, except that nothing is counted that is not read, and templates are not embedded again.
        peaks: operations a second of the device's best matrix product, measured between the frames, by format.
        limit_seconds: what all products need at the peak of the blocks' format.
        times_limit: a frame's median over `limit_seconds`.
    """

    config: str
    device: str
    precision: str
    mode: str
    frames: int
    frame: Timing
    stages: dict[str, Timing]
    flops: dict[str, int]
    peaks: dict[str, float]
    limit_seconds: float
    times_limit: float


class WatchedFrame:
    """A frame of `MMGTracker`, crop to box, batch 1; the target stays where it is. Names each stage that has ended.

    `parts` are the stages inside the network by name, each ending with the module; between the first and the second lie
    the blocks. A compiled network has none: it is one stage.
    """

    def __init__(
        self, experiment: Experiment, network: TrackingModel, device: torch.device, parts: dict[str, nn.Module]
    ) -> None:
        self.score = network.score
        self._network = network
        self._parts = parts
        self._mark: Callable[[str], None] = lambda stage: None
        self._image = np.random.default_rng(0).integers(0, 256, (*_FRAME, 3), dtype=np.uint8)
        self._tracker = build_tracker_of(self, experiment, device, benchmark="")
        self._target = self._tracker.start(self._image, _BOX_XYWH)

    def run(self, mark: Callable[[str], None]) -> None:
        """Track the frame, and name each stage to `mark` when it has ended."""
        self._mark = mark
        target = copy.copy(self._target)
        crop = target.prepare(self._image)
        mark("crop")
        (located,) = self._tracker.locate([target], [crop])
        target.accept(self._image, located)
        mark("back to the image")

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        """Be the tracker's network."""
        self._mark("upload")
        after_blocks = [*self._parts][1:2]

        def enter(name: str) -> None:
            if name in after_blocks:
                self._mark("blocks")

        with watch_parts(self._parts, enter, self._mark):
            output = self._network.track(template, search, online_template)
        if not self._parts:
            self._mark("network")
        return output


def count_flops(frame: WatchedFrame) -> dict[str, int]:
    """Return the floating-point operations of a frame by stage, its templates embedded before."""
    frame.run(lambda stage: None)
    flops: dict[str, int] = {}
    with FlopCounterMode(display=False) as counter:
        frame.run(lambda stage: flops.update({stage: counter.get_total_flops() - sum(flops.values())}))
    return flops


class _Variant:
    """A network to be timed, and what has been measured of it."""

    def __init__(self, experiment: Experiment, device: torch.device, precision: Precision, mode: Mode | None) -> None:
        """Build it with random weights; no mode for the network as it is trained, in float32."""
        self.config = experiment.name
        self.mode: str = mode or "plain"
        self.rows: list[dict[str, float]] = []
        self._device = device
        tracked = as_tracked(experiment, score=experiment.track.update == "score")
        model = build_model(tracked, pretrained=False).eval().to(device)
        dtype = tracking_dtype(precision, device, model.encoder.dim)
        self.dtype = dtype or torch.float32
        if mode is None:
            self._frame = WatchedFrame(experiment, model, device, {})
            self.flops = count_flops(self._frame)
            return
        eager = TrackingNetwork(model, dtype)
        parts = {"patch embedding": model.encoder.patch_embed, "head": eager.head, "score": eager.rate}
        stages = {name: part for name, part in parts.items() if part is not None}
        self._frame = WatchedFrame(experiment, eager, device, stages)
        self.flops = count_flops(self._frame)
        if mode != "eager":
            compiled = TrackingNetwork(model, dtype, compiled=True, graph=mode == "graph")
            self._frame = WatchedFrame(experiment, compiled, device, {})

    def time(self) -> dict[str, float]:
        """Track a frame, and return the seconds of its stages."""
        watch = Stopwatch(self._device)
        self._frame.run(watch.mark)
        return watch.stop()


def measure_frames(
    experiment: Experiment,
    device_name: str = "auto",
    *,
    precisions: Indexed[Precision] = (),
    modes: Indexed[Mode] = (),
    frames: int | None = None,
    baseline: Experiment | None = None,
) -> list[FrameCost]:
    """Time frames of an experiment's tracker, with random weights, every variant in turn.

    Args:
        experiment, device_name: whose network, and where: auto, cpu, cuda or cuda:N.
        precisions: of the blocks' products; without any, what `track.precision` says.
        modes: eager, compiled, or captured in a CUDA graph; without any, what `track.compile` says.
        frames: to time; None for 1000 on a GPU and 40 on a CPU, or as many as take a minute.
        baseline: a second network, measured as it is trained, in float32; its cost is the last.
    """
    device = choose_device(device_name)
    if "graph" in modes and device.type != "cuda":
        raise ValueError(f"--mode graph captures a CUDA graph, and the device is {device}: use eager or compiled")
    track = experiment.track
    usual: Mode = "eager" if not track.compile else "graph" if device.type == "cuda" else "compiled"
    each_precision: dict[Precision, None] = dict.fromkeys(precisions or [track.precision])
    each_mode: dict[Mode, None] = dict.fromkeys(modes or [usual])
    variants = [_Variant(experiment, device, precision, mode) for precision in each_precision for mode in each_mode]
    if baseline is not None:
        variants.append(_Variant(baseline, device, "fp32", None))

    count = frames or _TIMED[device.type]
    warm_until = time.monotonic() + SECONDS / 4
    for _ in tqdm(range(_WARM_UP[device.type]), desc="warming up", unit="frame", disable=None, leave=False):
        for variant in variants:
            variant.time()
        if time.monotonic() > warm_until:
            break
    # Of the formats that are used alone: a CPU without bfloat16 units multiplies it a hundred times slower.
    peaks = {each: PeakMeter(device, each) for each in dict.fromkeys(variant.dtype for variant in variants)}
    stop = None if frames else time.monotonic() + SECONDS
    for number in tqdm(range(count), desc="timing", unit="frame", disable=None, leave=False):
        if number % max(1, count // _ROUNDS) == 0:
            for peak in peaks.values():
                peak.round()
        for variant in variants:
            variant.rows.append(variant.time())
        if stop is not None and number >= 2 and time.monotonic() > stop:
            break
    rates = {each: peak.flops for each, peak in peaks.items()}
    return [_summarize(variant, device, rates) for variant in variants]


def _summarize(variant: _Variant, device: torch.device, rates: dict[torch.dtype, float]) -> FrameCost:
    frame = _timing(sum(row.values()) for row in variant.rows)
    limit = sum(variant.flops.values()) / rates[variant.dtype]
    return FrameCost(
        config=variant.config,
        device=describe_device(device),
        precision=_name(variant.dtype),
        mode=variant.mode,
        frames=len(variant.rows),
        frame=frame,
        stages={stage: _timing(row[stage] for row in variant.rows) for stage in variant.rows[0]},
        flops=variant.flops,
        peaks={_name(each): rate for each, rate in rates.items()},
        limit_seconds=limit,
        times_limit=frame.median / limit,
    )


def describe_frames(costs: Indexed[FrameCost]) -> str:
    """Return measurements of one run as text."""
    peaks = ", ".join(f"{peak / 1e12:.3f} in {name}" for name, peak in costs[0].peaks.items())
    lines = [f"tracked frames on {costs[0].device}, in turn: batch 1, crop to box", f"  best product, TFLOP/s: {peaks}"]
    for cost in costs:
        lines += _describe(cost)
    if len(costs) > 1:
        lines.append("a frame, as a part of the others'")
        for cost in costs:
            shares = ", ".join(f"{cost.frame.median / other.frame.median:.2f}" for other in costs)
            lines.append(f"  {_title(cost):34s} {shares}")
    return "\n".join(lines)


def _describe(cost: FrameCost) -> list[str]:
    lines = [
        f"{_title(cost)}: {1 / cost.frame.median:.1f} frames per second",
        "  stage                    ms   10 to 90 %         share    GFLOP",
    ]
    for stage, timing in {**cost.stages, "frame": cost.frame}.items():
        flops = sum(cost.flops.values()) if stage in ("frame", "network") else cost.flops.get(stage, 0)
        products = f"{flops / 1e9:8.2f}" if flops else ""
        spread = f"{1000 * timing.low:.2f} to {1000 * timing.high:.2f}"
        share = timing.median / cost.frame.median
        lines.append(f"  {stage:18s} {1000 * timing.median:8.2f}   {spread:18s} {share:6.1%} {products}".rstrip())
    lines.append(
        f"  the products need {1000 * cost.limit_seconds:.2f} ms at the {cost.precision} peak; a frame takes "
        f"{cost.times_limit:.2f} times that (median of {cost.frames})"
    )
    return lines


def _title(cost: FrameCost) -> str:
    return f"{cost.config}, {cost.precision}, {cost.mode}"


def _timing(seconds: Iterable[float]) -> Timing:
    ordered = sorted(seconds)
    return Timing(statistics.median(ordered), ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
