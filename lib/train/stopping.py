"""SIGTERM and Ctrl-C, remembered until a step is finished."""

import signal
from types import FrameType, TracebackType

import torch

from lib.train.distributed import largest_over_ranks

_STOPS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - it reports no fault
    """SIGTERM or Ctrl-C arrived; the state is saved."""


class StopSignals:
    """Catches the signals that ask for an end, while it is entered as a context."""

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        self._previous = {number: signal.signal(number, self._remember) for number in _STOPS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]  # what signal.signal returned

    def agreed(self, device: torch.device) -> int:
        """Return the signal that any of the processes has caught, or 0; all have to ask at the same point."""
        return int(largest_over_ranks(torch.tensor(self.number, device=device)))

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
