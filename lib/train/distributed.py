"""The few places where several processes matter, such as the end that they agree on."""

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from datetime import timedelta
from types import FrameType
from typing import NamedTuple

import torch
from torch import distributed, nn
from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]  # documented
from torch.distributed.elastic.multiprocessing.errors import get_error_handler
from torch.nn.parallel import DistributedDataParallel

from lib.models.device import find_device

_watch: "RankWatch | None" = None
_STOPS = (signal.SIGINT, signal.SIGTERM)

# In the order in which a process passes through them between two values of its step count.
PHASES = ("starting", "recording", "loading data", "computing", "waiting for the other ranks")

_EXIT_CODE = 75  # a temporary failure: starting again may help
_HEAD_START = 3.0  # seconds that the late ranks have to print where they are


def start(timeout_minutes: float = 30.0) -> None:
    """Join the process group that torchrun announces in the environment; do nothing when started by hand.

    From then on a process that does not move for `timeout_minutes` ends all of them, and is named.
    """
    global _watch
    if "RANK" not in os.environ or distributed.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    # The watch speaks first, since it knows who is missing; this is for a process that cannot even watch.
    distributed.init_process_group(backend, timeout=timedelta(minutes=timeout_minutes, seconds=60))
    _watch = RankWatch(rank(), world_size(), 60 * timeout_minutes)


def stop() -> None:
    """Leave the process group, if there is one."""
    global _watch
    if _watch is not None:
        _watch.close()
        _watch = None
    if distributed.is_initialized():
        distributed.destroy_process_group()


def report(step: int, doing: str) -> None:
    """Say that this process moves: it has finished `step` steps and begins one of `PHASES`."""
    if _watch is not None:
        _watch.report(step, doing)


def rank() -> int:
    """Return this process's number among all; 0 when alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes; 1 when alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    """Return True in the one process that writes files and draws progress."""
    return rank() == 0


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this process: `auto` is a GPU of its own, else the CPU; `cuda` insists on the GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    device = find_device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def share_gradients(network: nn.Module, device: torch.device) -> nn.Module:
    """Return what averages the gradients of all processes; with one process the network itself."""
    if world_size() == 1:
        return network
    # Said once in a run of the head's last convolutions, whose few weights are copied; their gradients are right.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all processes."""
    if distributed.is_initialized():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def largest_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Return the elementwise largest of a tensor over all processes."""
    if distributed.is_initialized():
        values = values.clone()
        distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return values


def wait_for_all() -> None:
    """Return when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


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

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]  # what signal.signal returned

    def agreed(self, device: torch.device) -> int:
        """Return the signal that any of the processes has caught, or 0; all have to ask at the same point."""
        return int(largest_over_ranks(torch.tensor(self.number, device=device)))

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number


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
    """Reports where this process is, and ends it when nothing has moved for `timeout` s: it says who is waited for.

    A step moves in lockstep, so one process that hangs stops all within a step. Each tells the others where it is
    through the key-value store that torchrun runs for them, from a thread of its own.
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
