"""Processes that torchrun starts, on one machine or many: they share the sequences and report as one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from torch import distributed

T = TypeVar("T")

# A rank that is done waits for the slowest one. One that dies ends the run at once: torchrun stops the others.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Ranks:
    """This process among all, and its number on this machine; alone by default."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """True in the one process that reports."""
        return self.rank == 0

    def from_main(self, compute: Callable[[], T]) -> T:
        """Let the main process compute something for all; where it fails by ValueError or OSError, all fail alike."""
        if self.count == 1:
            return compute()
        answer: tuple[T | None, Exception | None] = None, None
        if self.is_main:
            try:
                answer = compute(), None
            except (ValueError, OSError) as failure:
                answer = None, failure
        value, error = self.gather(answer)[0]
        if error is not None:
            raise error
        return value  # pyright: ignore[reportReturnType]  # None only where T has it

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in their order, to each of them."""
        if self.count == 1:
            return [value]
        values: list[T] = [value] * self.count
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun announces in the environment; alone when there are no others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()
