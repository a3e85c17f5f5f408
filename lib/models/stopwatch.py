"""Seconds by stage, by the clock of the device that does the work."""

import time
from itertools import pairwise

import torch

from lib.models.peak import synchronize


class Stopwatch:
    """Starts when it is built; each mark ends a stage. A GPU is not waited for between the marks.

    Args:
        device: which does the work.
    """

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
            seconds[stage] = seconds.get(stage, 0.0) + _between(start, end)
        return seconds

    def _now(self) -> float | torch.cuda.Event:
        """Return the moment at which the device gets to here."""
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _between(start: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    """Return the seconds from one moment to another of the same kind."""
    if isinstance(start, torch.cuda.Event):
        assert isinstance(end, torch.cuda.Event)
        return start.elapsed_time(end) / 1000
    assert not isinstance(end, torch.cuda.Event)
    return end - start
