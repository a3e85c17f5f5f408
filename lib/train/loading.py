"""Batches for training: loader processes, and how samples are shared out among passes and processes."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lib.config.schema import Optimization
from lib.data.samples.mask_set import MaskSet
from lib.data.samples.mixture import VALIDATION_EPOCH, sample_id
from lib.data.samples.training_set import TrainingSet
from lib.data.storage.tree import suspect_lmdbs

PREFETCHED = 4  # batches that each loader process holds ready


class Batching(NamedTuple):
    """The split of a step; sample number 0 of a step is the same sample whatever the split.

    Attributes:
        batch_size: samples of one forward pass.
        passes: forward and backward passes of one process before the weights change.
        processes: processes side by side.
    """

    batch_size: int
    passes: int
    processes: int

    @property
    def total(self) -> int:
        """Samples of one step."""
        return self.batch_size * self.passes * self.processes

    def first_row(self, number: int, rank: int) -> int:
        """Return which of the step's samples is the first of pass `number` in process `rank`."""
        return (number * self.processes + rank) * self.batch_size


class StepSampler(Sampler[list[int]]):
    """Yields the sample ids of every pass of one process, from a step to the end of training.

    The samples of a step depend on neither processes nor passes, and those of a run not on where it was resumed. The
    first step is number `start`, the last one `stop` - 1.
    """

    def __init__(self, start: int, stop: int, steps_per_epoch: int, batching: Batching, rank: int) -> None:
        self._steps = range(start, stop)
        self._steps_per_epoch = steps_per_epoch
        self._batching = batching
        self._rank = rank

    def __len__(self) -> int:
        return len(self._steps) * self._batching.passes

    def __iter__(self) -> Iterator[list[int]]:
        batching = self._batching
        for step in self._steps:
            epoch, step_in_epoch = divmod(step, self._steps_per_epoch)
            for number in range(batching.passes):
                first = step_in_epoch * batching.total + batching.first_row(number, self._rank)
                yield [sample_id(epoch, index) for index in range(first, first + batching.batch_size)]


class Group(NamedTuple):
    """Validation samples of one forward pass; repeated ones only keep this process in step with the others.

    The number among all seeds the masks, so that they do not depend on the number of processes.
    """

    number: int
    ids: list[int]
    repeated: bool


def validation_share(num_samples: int, batch_size: int, rank: int, processes: int) -> list[Group]:
    """Return the validation of one process; every process has as many, so that they can agree on things in between."""
    starts = range(0, num_samples, batch_size)
    share = []
    for first in range(0, len(starts), processes):
        repeated = first + rank >= len(starts)
        number = first if repeated else first + rank
        indices = range(starts[number], min(starts[number] + batch_size, num_samples))
        share.append(Group(number, [sample_id(VALIDATION_EPOCH, index) for index in indices], repeated))
    return share


class _Loader(DataLoader):
    """Names, when a loader process is killed, what may have killed it."""

    def __iter__(self) -> Iterator:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            yield from super().__iter__()
        except RuntimeError as error:
            if "DataLoader worker" in str(error) and (suspects := suspect_lmdbs()):
                raise OSError(f"{error}{suspects}") from error
            raise


def open_loader(
    samples: TrainingSet | MaskSet, batches: Iterable[list[int]], workers: int, device: torch.device
) -> DataLoader:
    """Return a loader of whole batches, in order, whatever the number of its processes."""
    # Before the workers are forked: OpenCV's own threads do not survive a fork, and a worker that then calls it
    # waits for them for ever. The workers are the parallelism.
    cv2.setNumThreads(0)
    return _Loader(
        cast(Dataset[Any], samples),
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]  # any iterable of lists will do
        num_workers=workers,
        collate_fn=samples.collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_signals_to_the_trainer,
        prefetch_factor=PREFETCHED if workers else None,
    )


def leave_signals_to_the_trainer(worker: int) -> None:
    """Let a loader process live through Ctrl-C and SIGTERM until the trainer has saved.

    A terminal sends Ctrl-C, and torchrun and clusters send SIGTERM, to every process of a job at once. The trainer
    ends its loaders by SIGTERM too, so one that comes from it is obeyed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "darwin":  # which does not tell who sent a signal
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey_the_trainer_alone, args=(os.getppid(),), daemon=True).start()


def _obey_the_trainer_alone(trainer: int) -> None:
    while True:
        sender = signal.sigwaitinfo({signal.SIGTERM}).si_pid
        if sender in (trainer, 0) or os.getppid() != trainer:
            os._exit(128 + signal.SIGTERM)


def plan_batching(train: Optimization, processes: int) -> Batching:
    """Split a step of `train.accumulate_to` samples, or of one pass a process where that is not set.

    Raises ValueError where passes of `train.batch_size` do not add up to it.
    """
    at_once = train.batch_size * processes
    if train.accumulate_to is None:
        return Batching(train.batch_size, 1, processes)
    if train.accumulate_to % at_once:
        raise ValueError(f"train.accumulate_to: {train.accumulate_to} is no multiple of the {at_once} samples that "
                         f"{processes} x train.batch_size: {train.batch_size} make at once")  # fmt: skip
    return Batching(train.batch_size, train.accumulate_to // at_once, processes)


def learning_rate_scale(train: Optimization, total: int) -> float:
    """Return what both learning rates are multiplied by for steps of `total` samples; 1 unless `train.scale_lr`.

    Source: the linear rule of Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return total / train.total_batch if train.scale_lr else 1.0


def advice(train: Optimization, batching: Batching) -> str | None:
    """Return what to say when a step has other than the samples that the learning rates were set for."""
    if batching.total == train.total_batch:
        return None
    passes = f" x {batching.passes} passes" if batching.passes > 1 else ""
    found = (f"{batching.processes} x {batching.batch_size} samples{passes} make {batching.total} a step, and the "
             f"learning rates are set for train.total_batch: {train.total_batch}")  # fmt: skip
    if train.scale_lr:
        return f"{found}; train.scale_lr multiplies them by {learning_rate_scale(train, batching.total):g}"
    at_once = batching.batch_size * batching.processes
    if train.total_batch % at_once:
        reach = f"a train.batch_size that makes a divisor of {train.total_batch} with train.accumulate_to reaches it"
    else:
        reach = f"--set train.accumulate_to={train.total_batch} adds up gradients to it"
    return f"{found}: {reach}, or --set train.scale_lr=true scales the learning rates"
