"""Which samples each process takes, and loader processes that outlive a signal to the whole job."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
from torch.utils.data import get_worker_info

from lib.train.loading import Batching, StepSampler, open_loader


@pytest.mark.parametrize("processes, batch_size, passes", [(1, 6, 1), (3, 2, 1), (1, 2, 3), (2, 1, 3)])
def test_the_samples_of_a_step_do_not_depend_on_its_split(processes, batch_size, passes):
    whole = list(StepSampler(0, 4, 2, Batching(6, 1, 1), rank=0))
    batching = Batching(batch_size, passes, processes)
    shares = [list(StepSampler(0, 4, 2, batching, rank)) for rank in range(processes)]
    for step, expected in enumerate(whole):
        rounds = range(step * passes, (step + 1) * passes)
        assert [index for number in rounds for share in shares for index in share[number]] == expected


def test_a_resumed_run_takes_what_is_left():
    batching = Batching(2, 2, 1)
    whole = list(StepSampler(0, 6, 3, batching, rank=0))
    rest = StepSampler(4, 6, 3, batching, rank=0)
    assert list(rest) == whole[8:] and len(rest) == 4


class Pids:
    """Samples that tell which process read them."""

    num_skipped = 0

    def __getitem__(self, index: int) -> int:
        assert get_worker_info() is not None
        return os.getpid()

    def collate(self, samples: list[int]) -> "PidBatch":
        return PidBatch(samples)


class PidBatch(list[int]):
    num_samples = 1

    def to(self, device: torch.device) -> "PidBatch":
        return self

    def _asdict(self) -> dict[str, torch.Tensor]:
        return {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_job_leaves_the_loaders_alive_and_the_trainer_ends_them(number):
    batches = iter(open_loader(Pids(), [[0]] * 40, 1, torch.device("cpu")))  # pyright: ignore[reportArgumentType]
    worker = next(batches)[0]
    # As a cluster does it: another process sends the signal to every process of the job.
    if (child := os.fork()) == 0:
        os.kill(worker, number)
        os._exit(0)
    os.waitpid(child, 0)
    assert [batch[0] for batch in batches] == [worker] * 39
    del batches  # sends SIGTERM to a worker that does not end by itself
    deadline = time.monotonic() + 20
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(worker)


def test_a_loader_obeys_the_trainer():
    batches = iter(open_loader(Pids(), [[0]] * 1000, 1, torch.device("cpu")))  # pyright: ignore[reportArgumentType]
    next(batches)
    (process,) = multiprocessing.active_children()
    with pytest.raises(
        (RuntimeError, OSError), match=rf"\b{process.pid}\b"
    ):  # by a signal handler, at any of these lines
        process.terminate()
        process.join(60)
        for _ in batches:
            pass
    process.join(60)
    assert process.exitcode == 128 + signal.SIGTERM


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
