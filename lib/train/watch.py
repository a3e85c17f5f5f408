"""A watch over all training processes: when none moves any more, it says which one the others wait for, and ends them.

A step moves in lockstep, so one process that hangs stops all within a step. Each process tells the others where it is
through the key-value store that torchrun runs for them, from a thread of its own.
"""

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]  # documented
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

# In the order in which a process passes through them between two values of its step count.
PHASES = ("starting", "recording", "loading data", "computing", "waiting for the other ranks")

_EXIT_CODE = 75  # a temporary failure: starting again may help
_HEAD_START = 3.0  # seconds that the late ranks have to print where they are


class Position(NamedTuple):
    """Where a process is: its finished steps, and what it does."""

    step: int
    doing: str

    @property
    def order(self) -> tuple[int, int]:
        """What positions are compared by."""
        return self.step, PHASES.index(self.doing)


_BEGINNING = Position(0, PHASES[0])


class RankWatch:
    """Reports where this process is, and ends it when nothing has moved for too long.

    Args:
        rank, world_size: this process among all.
        timeout: seconds without any movement after which all processes are ended.
    """

    def __init__(self, rank: int, world_size: int, timeout: float) -> None:
        self._rank = rank
        self._world_size = world_size
        self._timeout = timeout
        self._position = _BEGINNING
        self._moved = time.monotonic()
        self._closed = threading.Event()
        # A connection of its own: calls on the process group's would wait for one another.
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=30),
        )
        self._store = PrefixStore("watch", store)
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def report(self, step: int, doing: str) -> None:
        """Say that this process moves, and where it is: `doing` is one of PHASES."""
        self._position = Position(step, doing)
        self._moved = time.monotonic()

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        published = None
        while not self._closed.wait(min(1.0, self._timeout / 10)):
            position = self._position
            try:
                if position != published:
                    self._store.set(str(self._rank), json.dumps(position))
                    published = position
                if time.monotonic() - self._moved > self._timeout:
                    self._end_all(self._read())
            except RuntimeError as error:  # the process that runs the store has ended, and torchrun ends this one
                print(f"warning: rank {self._rank} cannot watch the other ranks any more: {error}", file=sys.stderr)
                return

    def _read(self) -> dict[int, Position]:
        """Return where each rank is; one that has said nothing yet is where all begin."""
        positions = {}
        for rank in range(self._world_size):
            known = self._store.check([str(rank)])
            positions[rank] = Position(*json.loads(self._store.get(str(rank)))) if known else _BEGINNING
        return positions

    def _end_all(self, positions: Mapping[int, Position]) -> None:
        """Print who is late, with this process's own stacks where it is one of them, and end this process."""
        late = late_ranks(positions)
        text = explain(positions, self._timeout)
        print(f"error: {text}", file=sys.stderr, flush=True)
        get_error_handler().record_exception(TimeoutError(text))  # for torchrun's report
        if self._rank in late:
            print(f"rank {self._rank} is here:", file=sys.stderr, flush=True)
            faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        else:
            time.sleep(_HEAD_START)
        os._exit(_EXIT_CODE)


def late_ranks(positions: Mapping[int, Position]) -> list[int]:
    """Return the ranks that are behind the others; all of them when all are at the same place."""
    behind = min(position.order for position in positions.values())
    return [rank for rank, position in positions.items() if position.order == behind]


def explain(positions: Mapping[int, Position], timeout: float) -> str:
    """Return one line on who waits for whom."""
    late = late_ranks(positions)
    step, doing = positions[late[0]]
    names = f"rank{'s' * (len(late) > 1)} {', '.join(map(str, late))}"
    where = f"after {step} steps, {doing}"
    silent = f"no rank has moved for {timeout:g} s (train.timeout_minutes)"
    if len(late) == len(positions):
        return f"{silent}: all are {where}; the network or a device may hang"
    return f"{silent}: {names} hung {where}; the others wait for it"
