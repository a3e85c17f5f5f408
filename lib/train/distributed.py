"""The few places where several processes matter, such as the end that they agree on."""

import os
import signal
import warnings
from datetime import timedelta
from types import FrameType, TracebackType

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lib.models.device import find_device
from lib.train.watch import RankWatch

_watch: RankWatch | None = None
_STOPS = (signal.SIGINT, signal.SIGTERM)


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
    """Say that this process moves: it has finished `step` steps and begins one of `lib.train.watch.PHASES`."""
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
    """Return the device of this process: `auto` is a GPU of its own, else the CPU; `cuda` insists on the GPU.

    Raises:
        ValueError: no such kind of device, or it is not there.
    """
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


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of a tensor over all processes."""
    return sum_over_ranks(values) / world_size()


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all processes."""
    if not distributed.is_initialized():
        return values
    values = values.clone()
    distributed.all_reduce(values)
    return values


def largest_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Return the elementwise largest of a tensor over all processes."""
    if not distributed.is_initialized():
        return values
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
