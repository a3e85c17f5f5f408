"""What training triplets cost: from frames, from the crop cache, through loader processes, beside whole decodes."""

import cProfile
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import Reach
from lib.data.crop_cache.cut import cut_crops
from lib.data.datasets import open_dataset
from lib.data.images.jpeg import DECODERS, JpegImage, chosen_decoder
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import Sample, TrainingSet
from lib.data.sequence import SequenceDataset
from lib.data.storage.tree import PICTURES
from lib.models.device import find_device
from lib.profiling.videos import QUALITY, make_videos
from lib.train.loading import open_loader

_TURNS = 7
_BATCH = 8
_LISTED = 8
_SIDES = (80.0, 120.0, 160.0, 200.0, 240.0, 280.0)  # of the targets of 60 to 300 px, six equal shares
_NUM_FRAMES = 24
# glibc hands large blocks of memory back to the system and fetches them anew, filled with zeros, unless told this; the
# loader processes of a training come to keep it by themselves.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
Result = TypeVar("Result")
# sqrt(width * height) in pixels, and its share of the mean: a guess at GOT-10k's mixture, in which most targets are
# large. Not from the paper; the table shows every size.
SHARES = {60.0: 0.05, 100.0: 0.15, 150.0: 0.25, 200.0: 0.25, 250.0: 0.15, 300.0: 0.15}
NUM_VIDEOS, _NUM_CROP_FRAMES = 3, 20  # of each size; shorter videos are not drawn from


StoredSet = tuple[str, str, Path | None]  # what `open_dataset` takes, so that a new process can open it


def profile_data(
    experiment: Experiment,
    stored: StoredSet | None,
    num_samples: int,
    workers: int,
    photographs: Path | None = None,
    quality: int = QUALITY,
) -> str:
    """Measure a data set with an experiment's crops, jitter and sampler; return the report as text.

    Without a stored one they are 1280 x 720 JPEG frames that `make_videos` makes, which `cv2.imread` then decodes, too.
    Samples are triplets; 0 workers leave the loader processes out.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality of a JPEG lies in 1 to 100, not {quality}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) if stored is None else None
        if stored is None:
            stored = "folder", "train", root
            make_videos(Path(folder), _SIDES, _NUM_FRAMES, quality, photographs)
        lines = in_new_process(_measure, stored, experiment, num_samples, root)
        if workers:
            rate = in_new_process(_rate, stored, experiment, 4 * num_samples, workers)
            lines.append(f"through {workers} loader processes: {rate:.0f} triplets a second ({os.cpu_count()} cores)")
    return "\n".join([f"JPEG decoder: {DECODERS[chosen_decoder()]}", *lines])


def measure_in_turns(datasets: Sequence[SequenceDataset], experiment: Experiment, num_samples: int) -> list[float]:
    """Return the mean seconds of the same triplets of several forms of one data set, on one core; see `fastest`.

    Scenes are of full difficulty. Files come from memory in all turns but the first.
    """
    cv2.setNumThreads(1)
    forms = [_training_set(dataset, experiment) for dataset in datasets]
    ids = [sample_id(0, index) for index in range(num_samples)]
    return fastest([lambda number, samples=samples: samples[ids[number]] for samples in forms], num_samples)


def fastest(works: Sequence[Callable[[int], object]], count: int) -> list[float]:
    """Return the mean seconds of the processor of `work(0)` to `work(count - 1)` for each work, which take turns.

    Waiting for the processor, while the machine does other things, does not count, and of each number the fastest turn
    does.
    """
    seconds = np.empty((_TURNS, len(works), count))
    for turn in seconds:
        for work, row in zip(works, turn, strict=True):
            for number in range(count):
                started = time.thread_time()
                work(number)
                row[number] = time.thread_time() - started
    return seconds.min(axis=0).mean(axis=1).tolist()


def compare_decoders(frames: Sequence[bytes]) -> list[str]:
    """Return lines: what a crop of a JPEG costs by each decoder, and why one is not there."""
    window = CropWindow.around(np.array([500.0, 300.0, 95.0, 95.0]), 4.0, 256)
    stated = os.environ.get("MMG_JPEG")
    lines = ["a crop of 256 px from 380 px, by MMG_JPEG:"]
    for name, what in DECODERS.items():
        os.environ["MMG_JPEG"] = name
        try:
            chosen_decoder()
            (seconds,) = fastest([lambda number: JpegImage(frames[number]).cut(window)], len(frames))
            lines.append(f"  {1e3 * seconds:6.2f} ms  {name:10s}  {what.partition(' (')[0]}")
        except ValueError as error:
            lines.append(f"       -     {name:10s}  {str(error).partition('but ')[2]}")
    os.environ.pop("MMG_JPEG")
    os.environ.update({} if stated is None else {"MMG_JPEG": stated})
    return lines


def slowest_functions(samples: TrainingSet, num_samples: int) -> list[str]:
    """Draw triplets under Python's profiler; return the functions that take most themselves, and their shares."""
    profiler = cProfile.Profile()
    for index in range(num_samples):
        profiler.runcall(samples.__getitem__, sample_id(0, index))
    seconds: dict[str, float] = {}
    for each in profiler.getstats():
        name = each.code if isinstance(each.code, str) else each.code.co_name
        seconds[name] = seconds.get(name, 0.0) + each.inlinetime
    ordered = sorted(seconds.items(), key=lambda item: -item[1])[:_LISTED]
    return [f"  {taken / sum(seconds.values()):6.1%}  {name}" for name, taken in ordered]


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function at the top of a module in a process started for it, which keeps the memory that it once had."""
    before = dict(os.environ)
    os.environ.update(_KEEP_MEMORY)
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _training_set(dataset: SequenceDataset, experiment: Experiment) -> TrainingSet:
    data = replace(experiment.data, curriculum_epochs=0.0)
    return TrainingSet([MixedSource(dataset, 1.0)], data, experiment.crop, seed=0)


def _measure(stored: StoredSet, experiment: Experiment, num_samples: int, root: Path | None) -> list[str]:
    dataset = open_dataset(*stored)
    (seconds,) = measure_in_turns([dataset], experiment, num_samples)
    lines = [f"a triplet takes {1e3 * seconds:.2f} ms of one core: {1 / seconds:.0f} a second"]
    if root is not None:
        paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES)
        (one,) = fastest([lambda number: cv2.imread(str(paths[number]), cv2.IMREAD_COLOR)], len(paths))
        lines.append(f"three times cv2.imread of whole frames: {3e3 * one:.2f} ms; ratio {seconds / (3 * one):.3f}")
        lines += compare_decoders([path.read_bytes() for path in paths[:: _NUM_FRAMES // 2]])
    lines.append("where it goes, by what a function takes itself:")
    return lines + slowest_functions(_training_set(dataset, experiment), num_samples)


def _rate(stored: StoredSet, experiment: Experiment, num_samples: int, workers: int) -> float:
    """Return triplets a second through a loader, its start and first batch not counted."""
    samples = _training_set(open_dataset(*stored), experiment)
    numbers = range(0, num_samples + workers * _BATCH, _BATCH)
    ids = [[sample_id(0, first + index) for index in range(_BATCH)] for first in numbers]
    batches = iter(open_loader(samples, ids, workers, find_device("cpu")))
    next(batches)
    started = time.perf_counter()
    count = sum(len(batch.search) for batch in batches)
    return count / (time.perf_counter() - started)


def profile_crops(experiment: Experiment, num_samples: int, photographs: Path | None = None) -> str:
    """Measure videos before and after `prepare.py crops`, `num_samples` triplets for each size of target.

    Other arguments as in `profile_data`; returns the table as text.
    """
    rows = []
    for side in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            frames, crops = Path(folder) / "frames", Path(folder) / "crops"
            make_videos(frames, (side,) * NUM_VIDEOS, _NUM_CROP_FRAMES, photographs=photographs)
            dataset = open_dataset("folder", "train", frames)
            reach = Reach.of(experiment.data, experiment.crop)
            cut_crops(dataset, "train", crops, reach, "folder", root=frames, progress=False)
            rows.append(in_new_process(_compare, frames, crops, experiment, num_samples))
    shares = np.array(list(SHARES.values()))
    mean = shares @ np.array(rows) / shares.sum()
    lines = ["                 kB a frame on disk         ms a triplet            difference",
             "target   share    frames   crops ratio    frames   crops ratio    grey levels"]  # fmt: skip
    for (side, share), row in zip(SHARES.items(), rows, strict=True):
        lines.append(f"{side:4.0f} px {100 * share:5.0f} %  {_columns(*row)}")
    return "\n".join([*lines, f"mean      100 %  {_columns(*mean)}"])


def _compare(frames: Path, crops: Path, experiment: Experiment, num_samples: int) -> list[float]:
    """Return kB a frame and ms a triplet of both forms, and the mean difference of the crops in grey levels."""
    both = [open_dataset("folder", "train", root) for root in (frames, crops)]
    unchanged = replace(experiment, data=replace(experiment.data, brightness=0.0))
    one, other = (_training_set(dataset, unchanged) for dataset in both)
    differences = [_difference(one[sample_id(0, index)], other[sample_id(0, index)]) for index in range(num_samples)]
    num_frames = NUM_VIDEOS * _NUM_CROP_FRAMES
    kilobytes = [sum(f.stat().st_size for f in root.rglob("*") if f.is_file()) / 1e3 / num_frames
                 for root in (frames, crops)]  # fmt: skip
    milliseconds = [1e3 * seconds for seconds in measure_in_turns(both, experiment, num_samples)]
    return [*kilobytes, *milliseconds, float(np.mean(differences))]


def _difference(one: Sample, other: Sample) -> float:
    crops = ((each.template, each.online_template, each.search) for each in (one, other))
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in zip(*crops, strict=True)]))


def _columns(size: float, crops_size: float, time_: float, crops_time: float, difference: float) -> str:
    return (f"{size:8.1f}{crops_size:8.1f}{size / crops_size:6.1f}  {time_:8.2f}{crops_time:8.2f}"
            f"{time_ / crops_time:6.1f}{difference:15.2f}")  # fmt: skip
