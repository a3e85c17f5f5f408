"""Batches for training: the loader processes, and which samples each process takes in which order."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lib.data.samples.mixture import sample_id
from lib.models.device import available_cores
from lib.train.batching import Batching
from lib.train.objective import BatchT, Samples, SampleT

PREFETCHED = 4  # batches that each loader process holds ready


class StepSampler(Sampler[list[int]]):
    """Yields the sample ids of every pass of one process, from a step to the end of training.

    The samples of a step depend on neither processes nor passes, and those of a run not on where it was resumed.

    Args:
        start, stop: numbers of the first step and of the one after the last.
        steps_per_epoch: after which the sample ids are those of the next epoch.
        batching: how a step is split.
        rank: which of the processes this is.
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


def open_loader(
    samples: Samples[SampleT, BatchT], batches: Iterable[list[int]], workers: int, device: torch.device
) -> DataLoader:
    """Return a loader of whole batches, in order, whatever the number of its processes."""
    # Before the workers are forked: OpenCV's own threads do not survive a fork, and a worker that then calls it
    # waits for them for ever. The workers are the parallelism.
    cv2.setNumThreads(0)
    return DataLoader(
        cast(Dataset[SampleT], samples),
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]  # any iterable of lists will do
        num_workers=workers,
        collate_fn=samples.collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_signals_to_the_trainer,
        prefetch_factor=PREFETCHED if workers else None,
    )


def leave_cores_to_loaders(workers: int) -> None:
    """Let this process compute with the cores that its loader processes leave, unless OMP_NUM_THREADS says otherwise.

    Threads that wait for one another stall when a loader takes the core of one.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, available_cores() - workers))


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
