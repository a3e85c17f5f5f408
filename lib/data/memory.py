"""Memory of loader processes over a data set of very many sequences: does it grow with their number?"""

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lib.config.schema import Experiment
from lib.data.datasets import open_dataset
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import TrainingSet

_NUM_FRAMES = 24
_SAMPLES_PER_WORKER = 100


class WorkerMemory(NamedTuple):
    """Memory in MB: what one loader process holds alone, and all that it sees, shared pages included."""

    private: float
    resident: float


def make_tree(root: Path, num_sequences: int) -> None:
    """Write a tree in the layout of TrackingNet cheaply: own annotations, but all videos share one folder of frames."""
    shared = root / "frames"
    shared.mkdir(parents=True)
    _, data = cv2.imencode(".jpg", np.full((180, 320, 3), 128, np.uint8))
    for index in range(_NUM_FRAMES):
        (shared / f"{index}.jpg").write_bytes(data.tobytes())
    shard = root / "tree" / "TRAIN_0"
    (shard / "anno").mkdir(parents=True)
    (shard / "frames").mkdir()
    rows = "".join(f"{100 + index},60,60,50\n" for index in range(_NUM_FRAMES))
    for index in range(num_sequences):
        name = f"video_{index:06d}"
        (shard / "anno" / f"{name}.txt").write_text(rows, encoding="ascii")
        (shard / "frames" / name).symlink_to(shared, target_is_directory=True)


def measure_memory(root: Path, experiment: Experiment, workers: int) -> list[WorkerMemory]:
    """Draw a hundred samples in each loader process; return the memory that each has then.

    Args:
        root: a folder in TrackingNet's layout.
        experiment: its crops, jitter and sampler are used.
        workers: loader processes.
    """
    dataset = open_dataset("trackingnet", "train_0", root)
    samples = TrainingSet([MixedSource(dataset, 1.0)], experiment.data, experiment.crop, seed=0)
    ids = [sample_id(0, index) for index in range(workers * _SAMPLES_PER_WORKER)]
    loader = DataLoader(_MemoryOfSamples(samples), batch_size=None, sampler=ids, num_workers=workers)
    last: dict[int, WorkerMemory] = {}
    for worker, private, resident in loader:
        last[int(worker)] = WorkerMemory(float(private), float(resident))
    return [last[worker] for worker in sorted(last)]


def describe_memory(memories: dict[int, list[WorkerMemory]]) -> str:
    """Return the report as text, by number of sequences."""
    lines = ["MB per loader process         alone (mean, largest)     with shared pages (mean)"]
    for num_sequences, workers in memories.items():
        private = [memory.private for memory in workers]
        resident = [memory.resident for memory in workers]
        lines.append(
            f"  {num_sequences:6d} sequences, {len(workers)} processes {np.mean(private):8.1f} {max(private):8.1f}"
            f" {np.mean(resident):20.1f}"
        )
    return "\n".join(lines)


class _MemoryOfSamples(Dataset[torch.Tensor]):
    """Draws a sample, and returns the memory of the process instead."""

    def __init__(self, samples: TrainingSet) -> None:
        self._samples = samples

    def __getitem__(self, index: int) -> torch.Tensor:
        self._samples[index]
        worker = get_worker_info()
        private, resident = _memory_of_process()
        return torch.tensor([0 if worker is None else worker.id, private, resident])


def _memory_of_process() -> WorkerMemory:
    path = Path("/proc/self/smaps_rollup")
    if not path.is_file():
        raise OSError(f"memory is measured by {path}, which {os.uname().sysname} does not have")
    sizes = {}
    for line in path.read_text(encoding="ascii").splitlines()[1:]:
        key, _, rest = line.partition(":")
        sizes[key] = int(rest.split()[0]) / 1024
    return WorkerMemory(sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Rss"])
