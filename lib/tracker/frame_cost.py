"""What a tracked frame costs: the time of its stages against what its matrix products need, at the device's best."""

import statistics
from collections.abc import Iterable
from collections.abc import Sequence as Indexed
from dataclasses import dataclass
from typing import Literal

import torch

from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.device import Precision, tracking_dtype
from lib.models.inference import TrackingNetwork
from lib.models.peak import PeakMeter, describe_device
from lib.models.products import Products, record_products
from lib.models.stopwatch import Stopwatch
from lib.tracker.build import as_tracked, choose_device
from lib.tracker.timed_frame import TimedFrame, stages_of

Mode = Literal["eager", "compiled", "graph"]

# On GPUs the field's protocol; a CPU is slow and has no clock to settle.
_WARM_UP = {"cpu": 5, "cuda": 500}
_TIMED = {"cpu": 40, "cuda": 1000}
_ROUNDS = 8  # of the peak and of the products alone, spread over the frames


@dataclass(frozen=True)
class Timing:
    """Seconds of something done many times.

    Attributes:
        median: of all.
        low, high: the 10th and the 90th percentile.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class FrameCost:
    """One frame of one video, measured: crop to box, batch 1.

    Attributes:
        config, device, precision, mode, frames: what was measured, and how often; the precision is that of the blocks.
        frame: time of a frame.
        stages: times by stage, in order.
        flops: of the network's matrix products and convolutions by stage; a multiply-add is two. Those of the plain
            network, except that nothing is counted that is not read, and templates are not embedded again.
        product_seconds: median time of these products alone, each made again with nothing in between, by stage.
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
    product_seconds: dict[str, float]
    peaks: dict[str, float]
    limit_seconds: float
    times_limit: float


class _Variant:
    """A network to be timed, and what has been measured of it."""

    def __init__(self, experiment: Experiment, device: torch.device, precision: Precision, mode: Mode | None) -> None:
        """Build it with random weights; no mode for the network as it is trained, in float32."""
        self.config = experiment.name
        self.mode: str = mode or "plain"
        self.rows: list[dict[str, float]] = []
        self.product_rows: list[dict[str, float]] = []
        self._device = device
        model = build_model(as_tracked(experiment), pretrained=False).eval().to(device)
        dtype = tracking_dtype(precision, device, model.encoder.dim)
        self.dtype = dtype or torch.float32
        if mode is None:
            self._frame = TimedFrame(experiment, model, device, {})
            self.products = self._record(self._frame)
            return
        eager = TrackingNetwork(model, dtype)
        self._frame = TimedFrame(experiment, eager, device, stages_of(eager))
        self.products = self._record(self._frame)
        if mode != "eager":
            compiled = TrackingNetwork(model, dtype, compiled=True, graph=mode == "graph")
            self._frame = TimedFrame(experiment, compiled, device, {})

    def time(self) -> dict[str, float]:
        """Track a frame, and return the seconds of its stages."""
        watch = Stopwatch(self._device)
        self._frame.run(watch.mark)
        return watch.stop()

    def _record(self, frame: TimedFrame) -> Products:
        frame.run(lambda stage: None)  # embeds the templates
        with record_products() as (products, mark):
            frame.run(mark)
        return products


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
        experiment: whose network.
        device_name: auto, cpu, cuda or cuda:N.
        precisions: of the blocks' products; without any, what `track.precision` says.
        modes: eager, compiled, or captured in a CUDA graph; without any, what `track.compile` says.
        frames: to time; None for 1000 on a GPU and 40 on a CPU.
        baseline: a second network, measured as it is trained, in float32.

    Returns:
        The cost for each precision and mode, and that of the baseline last.

    Raises:
        ValueError: no such device, a precision or mode that it does not have, no compiler, or no frames.
    """
    if frames is not None and frames < 1:
        raise ValueError(f"--frames {frames}: at least one frame is needed to time it")
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

    formats = dict.fromkeys([torch.float32, torch.bfloat16, *(variant.dtype for variant in variants)])
    for variant in variants:
        for _ in range(_WARM_UP[device.type]):
            variant.time()
    peaks = {each: PeakMeter(device, each) for each in formats}
    count = frames or _TIMED[device.type]
    for number in range(count):
        if number % max(1, count // _ROUNDS) == 0:
            for peak in peaks.values():
                peak.round()
            for variant in variants:
                variant.product_rows.append(variant.products.seconds(device))
        for variant in variants:
            variant.rows.append(variant.time())
    rates = {each: peak.flops for each, peak in peaks.items()}
    return [_summarize(variant, device, rates) for variant in variants]


def _summarize(variant: _Variant, device: torch.device, rates: dict[torch.dtype, float]) -> FrameCost:
    frame = _timing(sum(row.values()) for row in variant.rows)
    limit = sum(variant.products.flops.values()) / rates[variant.dtype]
    return FrameCost(
        config=variant.config,
        device=describe_device(device),
        precision=_name(variant.dtype),
        mode=variant.mode,
        frames=len(variant.rows),
        frame=frame,
        stages={stage: _timing(row[stage] for row in variant.rows) for stage in variant.rows[0]},
        flops=variant.products.flops,
        product_seconds={
            stage: statistics.median(row[stage] for row in variant.product_rows) for stage in variant.product_rows[0]
        },
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
        "  stage                    ms   10 to 90 %         share    GFLOP  its products alone, ms",
    ]
    for stage, timing in {**cost.stages, "frame": cost.frame}.items():
        flops, alone = cost.flops.get(stage, 0), cost.product_seconds.get(stage, 0.0)
        if stage in ("frame", "network"):
            flops, alone = sum(cost.flops.values()), sum(cost.product_seconds.values())
        products = f"{flops / 1e9:8.2f} {1000 * alone:8.2f}" if flops else ""
        spread = f"{1000 * timing.low:.2f} to {1000 * timing.high:.2f}"
        share = timing.median / cost.frame.median
        lines.append(f"  {stage:18s} {1000 * timing.median:8.2f}   {spread:18s} {share:6.1%} {products}".rstrip())
    alone = sum(cost.product_seconds.values())
    lines.append(
        f"  the products need {1000 * cost.limit_seconds:.2f} ms at the {cost.precision} peak, and take "
        f"{alone / cost.limit_seconds:.2f} times that alone; a frame takes {cost.times_limit:.2f} times that "
        f"(median of {cost.frames})"
    )
    return lines


def _title(cost: FrameCost) -> str:
    return f"{cost.config}, {cost.precision}, {cost.mode}"


def _timing(seconds: Iterable[float]) -> Timing:
    ordered = sorted(seconds)
    return Timing(statistics.median(ordered), ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
