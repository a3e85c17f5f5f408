"""What a training triplet costs: per stage, per core, with several loader processes, against three whole decodes."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

from torch.utils.data import DataLoader

from lib.config.schema import Experiment
from lib.data.benchmark_frames import QUALITY, draw_videos, piece_videos
from lib.data.datasets import open_dataset
from lib.data.images.decode import describe_decoder
from lib.data.memory import describe_memory, make_tree, measure_memory
from lib.data.sample_cost import STAGES, DataCost, measure_data
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import TrainingSet, collate

_BATCH = 8
_SIDES = (80.0, 120.0, 160.0, 200.0, 240.0, 280.0)  # of the targets of 60 to 300 px, six equal shares
_NUM_FRAMES = 24
_SETTLING = 2.5  # seconds; a list of folders that change while it is made is not kept
# glibc hands large blocks of memory back to the system and fetches them anew, filled with zeros, unless told this.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}

Result = TypeVar("Result")


class StoredSet(NamedTuple):
    """Names a data set, so that a new process can open it; the fields are those of `open_dataset`."""

    name: str
    split: str
    root: Path | None = None


def profile_data(
    experiment: Experiment,
    stored: StoredSet | None,
    num_samples: int,
    workers: int,
    photographs: Path | None = None,
    quality: int = QUALITY,
) -> str:
    """Measure a data set, by default 1280 x 720 JPEG frames made for the purpose; return the report as text.

    What `cv2.imread` takes depends on what a process did before. In a new one, glibc hands the memory of each picture
    back and fetches it anew, page by page; later, and in the loader processes of a training, it keeps it, and
    `cv2.imread` takes about half. So both are measured, each in a process of its own. Ours takes the same in both.

    Args:
        experiment: its crops, jitter and sampler are used.
        stored: the data set; None for frames made for the purpose.
        num_samples: triplets to draw.
        workers: loader processes; 0 leaves them out.
        photographs: a folder; the frames are made of its pictures, else they are drawn.
        quality: of the JPEG frames made, 1 to 100.
    """
    if num_samples < 1:
        raise ValueError(f"{num_samples} samples: there must be at least one")
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality of a JPEG lies in 1 to 100, not {quality}")
    with tempfile.TemporaryDirectory() as folder:
        if stored is None:
            stored = StoredSet("folder", "train", Path(folder))
            if photographs is None:
                draw_videos(Path(folder), _SIDES, _NUM_FRAMES, quality)
            else:
                piece_videos(Path(folder), photographs, _SIDES, _NUM_FRAMES, quality)
        new = in_new_process(_measure, stored, experiment, num_samples)
        kept = in_new_process(_measure, stored, experiment, num_samples, keep_memory=True)
        rate = in_new_process(_rate, stored, experiment, 4 * num_samples, workers) if workers else None
    lines = [f"JPEG decoder: {describe_decoder()}", describe(new, kept)]
    if rate is not None:
        lines.append(f"through {workers} loader processes: {rate:.0f} triplets a second ({os.cpu_count()} cores)")
    return "\n".join(lines)


def profile_memory(experiment: Experiment, num_sequences: int, workers: int) -> str:
    """Measure opening, and the memory of loader processes, over a hundredth of the sequences and over all.

    The first opening lists the folders; later ones read what it noted. Returns the report as text.
    """
    found, openings = {}, []
    for count in (max(1, num_sequences // 100), num_sequences):
        with tempfile.TemporaryDirectory() as folder:
            make_tree(Path(folder), count)
            tree = Path(folder) / "tree"
            time.sleep(_SETTLING)
            first, second = (_opening(tree) for _ in range(2))
            openings.append(f"opening {count} sequences: {first:.2f} s the first time, {second:.3f} s the second")
            found[count] = measure_memory(tree, experiment, workers)
    return "\n".join([*openings, describe_memory(found)])


def _opening(tree: Path) -> float:
    start = time.perf_counter()
    open_dataset("trackingnet", "train_0", tree)
    return time.perf_counter() - start


def describe(new: DataCost, kept: DataCost) -> str:
    """Return the report as text: in a new process, and in one that keeps its memory."""
    lines = ["one core, ms per triplet           new process   memory kept"]
    for stage in STAGES:
        lines.append(f"  {stage:30s}{1e3 * new.seconds[stage]:14.2f}{1e3 * kept.seconds[stage]:14.2f}")
    lines.append(f"  {'total':30s}{1e3 * new.total:14.2f}{1e3 * kept.total:14.2f}")
    if new.imread is not None and kept.imread is not None:
        lines += [
            f"  {'three times cv2.imread':30s}{1e3 * new.imread.seconds:14.2f}{1e3 * kept.imread.seconds:14.2f}",
            f"  {'pages fetched per cv2.imread':30s}{new.imread.faults:14.0f}{kept.imread.faults:14.0f}",
            f"ratio of a triplet to cv2.imread{new.total / new.imread.seconds:14.3f}"
            f"{kept.total / kept.imread.seconds:14.3f}",
        ]
    lines.append(f"{1 / new.total:.0f} triplets a second; {new.bytes_read / 1e3:.0f} kB read per triplet, "
                 f"{new.bytes_read / 3e3:.0f} kB per frame")  # fmt: skip
    return "\n".join(lines)


def in_new_process(function: Callable[..., Result], *arguments: object, keep_memory: bool = False) -> Result:
    """Call a function of a module in a process started for it, alone.

    Args:
        function: at the top of a module.
        arguments: they, and the result, are copied between the processes.
        keep_memory: let the process keep memory that it has once had from the system, where that is glibc's.
    """
    with _environment(_KEEP_MEMORY if keep_memory else {}), ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _measure(stored: StoredSet, experiment: Experiment, num_samples: int) -> DataCost:
    return measure_data(open_dataset(*stored), experiment, num_samples)


def _rate(stored: StoredSet, experiment: Experiment, num_samples: int, workers: int) -> float:
    """Return triplets a second through a loader, its start and first batch not counted."""
    samples = TrainingSet([MixedSource(open_dataset(*stored), 1.0)], experiment.data, experiment.crop, seed=0)
    ids = [sample_id(0, index) for index in range(num_samples + workers * _BATCH)]
    loader = DataLoader(samples, _BATCH, sampler=ids, num_workers=workers, collate_fn=collate)
    batches = iter(loader)
    next(batches)
    start = time.perf_counter()
    count = sum(len(batch.search) for batch in batches)
    return count / (time.perf_counter() - start)
