"""Frames that were skipped because they cannot be read: counted over all loader processes, each named once."""

import warnings

import torch
from torch.utils.data import get_worker_info

_SLOTS = 256  # one for the process itself and one for each loader process; more share


class SkippedFrames:
    """A counter in memory that forked and spawned loader processes share."""

    def __init__(self) -> None:
        self._counts = torch.zeros(_SLOTS, dtype=torch.int64).share_memory_()
        self._named: set[str] = set()

    @property
    def count(self) -> int:
        """How many there were so far, in all processes together."""
        return int(self._counts.sum())

    def add(self, reason: str) -> None:
        """Count one; warn if this process has not met it before.

        Args:
            reason: names the frame and says what is wrong with it.
        """
        worker = get_worker_info()
        # A slot is written by one process only, so no lock is needed.
        self._counts[0 if worker is None else 1 + worker.id % (_SLOTS - 1)] += 1
        if reason not in self._named:
            self._named.add(reason)
            warnings.warn(f"skipped, and drew another sample: {reason}", stacklevel=2)
