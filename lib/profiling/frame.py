"""What a tracked frame costs: the time of its stages against what its matrix products need, at the device's best."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Indexed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.models.build import build_model
from lib.models.device import Precision, tracking_dtype
from lib.models.inference import TrackingNetwork
from lib.profiling.clock import PeakMeter, Stopwatch, describe_device, synchronize
from lib.tracker.build import as_tracked, choose_device
from lib.tracker.mmg import TrackingModel, clip_to_frame, to_batch

Mode = Literal["eager", "compiled", "graph"]
# On GPUs the field's protocol; a CPU is slow and has no clock to settle.
WARM_UP = {"cpu": 5, "cuda": 500}
_TIMED = {"cpu": 40, "cuda": 1000}
_ROUNDS = 8  # of the peak and of the products alone, spread over the frames
_FRAME = (720, 1280)
_BOX_XYWH = np.array([600.0, 300.0, 90.0, 120.0])


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


@dataclass
class Products:
    """Products by stage of the run that made them.

    Attributes:
        flops: floating-point operations by stage; a multiply-add is two.
        calls: what to call for a stage's products, once more.
    """

    flops: dict[str, int] = field(default_factory=dict)
    calls: dict[str, list[Callable[[], object]]] = field(default_factory=dict)

    @torch.inference_mode()
    def seconds(self, device: torch.device) -> dict[str, float]:
        """Make the products again, on the same numbers and nothing between them, and return the seconds by stage."""
        seconds = {}
        for stage, calls in self.calls.items():
            synchronize(device)
            start = time.perf_counter()
            for call in calls:
                call()
            synchronize(device)
            seconds[stage] = time.perf_counter() - start
        return seconds


class TimedFrame:
    """What `MMGTracker.track` does at a frame, crop to box, batch 1.

    Args:
        experiment: sizes, and whether there is an online template.
        model: the network.
        device: its device.
        parts: stages inside the network by name, each ending with the module, and the name of what comes before it,
            where that is a stage, too; none for a compiled network, which is one stage.
    """

    def __init__(
        self,
        experiment: Experiment,
        model: TrackingModel,
        device: torch.device,
        parts: dict[str, tuple[str | None, nn.Module]],
    ) -> None:
        self._crop = experiment.crop
        self._model = model
        self._device = device
        self._parts = parts
        self._image = np.random.default_rng(0).integers(0, 256, (*_FRAME, 3), dtype=np.uint8)
        window = CropWindow.around(_BOX_XYWH, self._crop.template_factor, self._crop.template_size)
        self._template = to_batch([window.cut(self._image)], device)
        self._online_template = self._template.clone() if experiment.model.online_template else None

    def run(self, mark: Callable[[str], None]) -> None:
        """Track the frame, and name each stage to `mark` when it has ended."""
        window = CropWindow.around(_BOX_XYWH, self._crop.search_factor, self._crop.search_size)
        crop = window.cut(self._image)
        mark("crop")
        search = to_batch([crop], self._device)
        mark("upload")
        with ExitStack() as hooks:
            for name, (before, part) in self._parts.items():
                _watch(hooks, part, mark, name, before)
            output = self._model.track(self._template, search, self._online_template)
        if not self._parts:
            mark("network")
        crop_boxes_xyxy, _ = output.to_host()
        clip_to_frame(window.to_image(crop_boxes_xyxy[0]), *_FRAME, margin=10)
        mark("back to the image")


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
        for _ in range(WARM_UP[device.type]):
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


class ProductRecorder(TorchDispatchMode):
    """Keeps what is multiplied, with the operators that torch's own counter of operations knows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], object]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket in flop_registry:
            # Convolutions are given their bias, attention its scale: everything that the run gave.
            self.calls.append(lambda: func(*args, **kwargs))
            return func(*args, **kwargs)
        with self:  # what consists of other operators, such as a linear layer where there are no gradients
            parts = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if parts is NotImplemented else parts


@contextmanager
def record_products() -> Iterator[tuple[Products, Callable[[str], None]]]:
    """Give the products of what runs within, and a function to call with a stage's name at its end."""
    products = Products()
    with FlopCounterMode(display=False) as counter, ProductRecorder() as recorder:

        def mark(stage: str) -> None:
            flops = counter.get_total_flops() - sum(products.flops.values())
            products.flops[stage] = products.flops.get(stage, 0) + flops
            products.calls.setdefault(stage, []).extend(recorder.calls)
            recorder.calls.clear()

        yield products, mark


def stages_of(network: TrackingNetwork) -> dict[str, tuple[str | None, nn.Module]]:
    """Return the stages of an eager network, for `TimedFrame`."""
    parts: dict[str, tuple[str | None, nn.Module]] = {
        "patch embedding": (None, network.model.encoder.patch_embed)
    }  # normalisation included
    if network.rate is not None:
        parts["score"] = ("blocks", network.rate)
    parts["head"] = ("blocks" if network.rate is None else None, network.head)
    return parts


def _watch(hooks: ExitStack, part: nn.Module, mark: Callable[[str], None], name: str, before: str | None) -> None:
    if before is not None:
        hooks.callback(part.register_forward_pre_hook(lambda module, inputs: mark(before)).remove)
    hooks.callback(part.register_forward_hook(lambda module, inputs, output: mark(name)).remove)
