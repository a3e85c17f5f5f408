"""Clocks: seconds by stage on a device, and how fast it multiplies matrices, which those are held against."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from lib.models.device import cpu_capabilities

SIDES: dict[str, tuple[int, ...]] = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192, 12288)}
_LEAST_SECONDS = 0.02  # of a timed group of products, far above what a clock and a kernel launch take
_MOST_SECONDS = 0.2  # of one product, beyond which larger ones are not tried


class PeakMeter:
    """Measures products of square matrices, a round at a time between the steps that they are compared with.

    A machine that others use, or that heats up, then slows both alike.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        sides = SIDES["cuda" if device.type == "cuda" else "cpu"]
        self._factors = {side: torch.randn(side, side, device=device).to(dtype) for side in sides}
        self._rates: dict[int, list[float]] = defaultdict(list)
        self._repeats: dict[int, int] = {}
        for side in sides:
            self._seconds(side, 1)  # the first product is slower
            self._repeats[side] = max(1, round(_LEAST_SECONDS / self._seconds(side, 1)))
            if self._seconds(side, 1) > _MOST_SECONDS:
                break

    def round(self) -> None:
        """Time each size once."""
        for side, repeats in self._repeats.items():
            self._rates[side].append(2 * side**3 * repeats / self._seconds(side, repeats))

    @property
    def flops(self) -> float:
        """Floating-point operations a second: the best size's median over the rounds."""
        return max(statistics.median(rates) for rates in self._rates.values())

    @property
    def side(self) -> int:
        """The best size's side."""
        return max(self._rates, key=lambda side: statistics.median(self._rates[side]))

    def _seconds(self, side: int, repeats: int) -> float:
        factor = self._factors[side]
        synchronize(self._device)
        start = time.perf_counter()
        for _ in range(repeats):
            torch.mm(factor, factor)
        synchronize(self._device)
        return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was asked; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_device(device: torch.device) -> str:
    """Return a GPU's name, or the number of threads of a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU ({cpu_capabilities().get('cpu_name', 'unknown')}), {threads} thread{'s'[: threads > 1]}"


class Stopwatch:
    """Starts when it is built; each mark ends a stage. A GPU is not waited for between the marks."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        synchronize(device)
        self._marks = [("", self._now())]

    def mark(self, stage: str) -> None:
        """End a stage; one that comes several times adds up."""
        self._marks.append((stage, self._now()))

    def stop(self) -> dict[str, float]:
        """Wait for the device, and return the seconds of each stage in order of its first mark."""
        synchronize(self._device)
        seconds: dict[str, float] = {}
        for (_, start), (stage, end) in pairwise(self._marks):
            taken = start.elapsed_time(end) / 1000 if self._device.type == "cuda" else end - start
            seconds[stage] = seconds.get(stage, 0.0) + taken
        return seconds

    def _now(self) -> Any:
        """Return the moment at which the device gets to here: seconds, or a CUDA event."""
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@contextmanager
def watch_parts(
    parts: Mapping[str, nn.Module], enter: Callable[[str], object], leave: Callable[[str], object]
) -> Iterator[None]:
    """Call `enter` and `leave` with a part's name before and after each of its forward passes.

    Not for parts compiled by `nn.Module.compile`, which would compile the two calls as well.
    """

    handles = []
    for name, part in parts.items():
        handles.append(part.register_forward_pre_hook(partial(lambda name, *passed: enter(name), name)))
        handles.append(part.register_forward_hook(partial(lambda name, *passed: leave(name), name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
