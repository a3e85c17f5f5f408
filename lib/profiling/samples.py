"""What training triplets cost, stage by stage: drawn, read, from the crop cache, in many loader processes."""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Indexed
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import Reach
from lib.data.crop_cache.cut import cut_regions
from lib.data.datasets import open_dataset
from lib.data.images.decode import describe_decoder
from lib.data.images.picture import FilePicture, Picture, cut_decoded
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import Sample, TrainingSet, collate
from lib.data.sequence import SceneDataset, SequenceDataset
from lib.profiling.videos import QUALITY, draw_videos, piece_videos

STAGES = ("read", "decode", "crop", "augment", "rest")
_TURNS = 7
_BATCH = 8
_SIDES = (80.0, 120.0, 160.0, 200.0, 240.0, 280.0)  # of the targets of 60 to 300 px, six equal shares
_NUM_FRAMES = 24
_SETTLING = 2.5  # seconds; a list of folders that change while it is made is not kept
# glibc hands large blocks of memory back to the system and fetches them anew, filled with zeros, unless told this.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
Result = TypeVar("Result")
# sqrt(width * height) in pixels, and its share of the mean: a guess at GOT-10k's mixture, in which most targets are
# large. Not from the paper; the table shows every size.
SHARES = {60.0: 0.05, 100.0: 0.15, 150.0: 0.25, 200.0: 0.25, 250.0: 0.15, 300.0: 0.15}
NUM_VIDEOS, _NUM_CROP_FRAMES = 3, 20  # of each size; shorter videos are not drawn from
_NUM_MEMORY_FRAMES = 24
SAMPLES_PER_WORKER = 100


class TimedTrainingSet(TrainingSet):
    """A training set that notes what became of the last sample. Drawn scenes are of full difficulty.

    Attributes:
        seconds: by stage; "rest" is sampling, boxes and book-keeping.
        bytes_read: of encoded pictures.
        files: the image files that were read, as far as they are files.
    """

    def __init__(self, dataset: SequenceDataset | SceneDataset, experiment: Experiment) -> None:
        data = replace(experiment.data, curriculum_epochs=0.0)
        super().__init__([MixedSource(dataset, 1.0)], data, experiment.crop, seed=0)
        self._restart()

    def __getitem__(self, index: int) -> Sample:
        self._restart()
        start = time.thread_time()
        sample = super().__getitem__(index)
        self.seconds["rest"] = time.thread_time() - start - sum(self.seconds.values())
        return sample

    def _restart(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.bytes_read = 0
        self.files: list[Path] = []

    def _cut(self, picture: Picture, window: CropWindow) -> np.ndarray | None:
        start = time.thread_time()
        self.bytes_read += picture.read(window)
        start = self._note("read", start)
        if isinstance(picture, FilePicture) and isinstance(picture.path, Path):
            self.files.append(picture.path)
        decoded = picture.decode(window)
        start = self._note("decode", start)
        if decoded is None:
            return None
        crop = cut_decoded(*decoded)
        self._note("crop", start)
        return crop

    def _augment(self, crops: list[np.ndarray], box: np.ndarray, rng: np.random.Generator) -> Sample:
        start = time.thread_time()
        sample = super()._augment(crops, box, rng)
        self._note("augment", start)
        return sample

    def _note(self, stage: str, start: float) -> float:
        """Add to a stage what has passed since; return the time."""
        now = time.thread_time()
        self.seconds[stage] += now - start
        return now


class ImreadCost(NamedTuple):
    """`cv2.imread` of the three frames of a triplet, whole: seconds, and pages of memory fetched for one frame."""

    seconds: float
    faults: float


@dataclass(frozen=True)
class DataCost:
    """Means over triplets; each triplet is drawn several times and its fastest time counts.

    Attributes:
        seconds: by stage.
        bytes_read: encoded bytes of the three pictures.
        imread: the same frames by OpenCV; None where they are not files.
    """

    seconds: dict[str, float]
    bytes_read: float
    imread: ImreadCost | None

    @property
    def total(self) -> float:
        """Seconds of one triplet."""
        return sum(self.seconds.values())


def measure_data(dataset: SequenceDataset | SceneDataset, experiment: Experiment, num_samples: int = 60) -> DataCost:
    """Measure triplets of one data set; see `measure_in_turns`."""
    (cost,) = measure_in_turns([dataset], experiment, num_samples)
    return cost


def measure_in_turns(
    datasets: Indexed[SequenceDataset | SceneDataset], experiment: Experiment, num_samples: int
) -> list[DataCost]:
    """Measure the same triplets of several forms of one data set, on one core.

    Seconds are the processor's, so that waiting for it, while the machine does other things, does not count. The forms,
    and `cv2.imread` of the same frames, take turns, each over all triplets as in training, so that what else the
    machine does disturbs all alike. There are several turns; files come from memory in all but the first.

    Args:
        datasets: what to draw from.
        experiment: its crops, jitter and sampler are used.
        num_samples: triplets to draw.
    """
    cv2.setNumThreads(1)
    runs = [_Run(TimedTrainingSet(dataset, experiment)) for dataset in datasets]
    for _ in range(_TURNS):
        for run in runs:
            run.take_turn(num_samples)
    return [run.cost() for run in runs]


class _Run:
    """Triplets of one data set, drawn several times; an entry of each list is a turn."""

    def __init__(self, samples: TimedTrainingSet) -> None:
        self._samples = samples
        self._seconds: list[list[list[float]]] = []  # of a turn: by triplet, by stage
        self._imreads: list[list[ImreadCost]] = []
        self._bytes_read = 0.0

    def take_turn(self, num_samples: int) -> None:
        """Draw all triplets, then read their frames by OpenCV, as far as they are files."""
        seconds, files, bytes_read = [], [], 0
        for index in range(num_samples):
            self._samples[sample_id(0, index)]
            seconds.append(list(self._samples.seconds.values()))
            files.append(self._samples.files[-3:])
            bytes_read += self._samples.bytes_read
        self._seconds.append(seconds)
        self._imreads.append([_imread(paths) for paths in files if len(paths) == 3])
        self._bytes_read = bytes_read / num_samples

    def cost(self) -> DataCost:
        """Return the mean over triplets of the fastest of their turns."""
        turns = np.array(self._seconds)  # turn, triplet, stage
        fastest = turns.sum(axis=2).argmin(axis=0)
        mean = turns[fastest, np.arange(turns.shape[1])].mean(axis=0)
        seconds: dict[str, float] = dict(zip(STAGES, mean.tolist(), strict=True))
        imread = None
        if len(self._imreads[0]) == turns.shape[1]:
            imread = ImreadCost(*np.array(self._imreads).min(axis=0).mean(axis=0).tolist())
        return DataCost(seconds, self._bytes_read, imread)


def _imread(paths: list[Path]) -> ImreadCost:
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = time.thread_time()
    for path in paths:
        cv2.imread(str(path), cv2.IMREAD_COLOR)
    seconds = time.thread_time() - start
    return ImreadCost(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / len(paths))


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


class CropsCost(NamedTuple):
    """One size of target: triplets from frames, from their regions, and the mean difference of crops in grey levels."""

    frames: DataCost
    regions: DataCost
    difference: float


def profile_crops(experiment: Experiment, num_samples: int, photographs: Path | None = None) -> str:
    """Measure videos before and after `prepare.py crops`; return the table as text.

    Args:
        experiment: its crops, jitter and sampler are used.
        num_samples: triplets to draw for each size of target.
        photographs: a folder; the frames are made of its pictures, else they are drawn.
    """
    if num_samples < 1:
        raise ValueError(f"{num_samples} samples: there must be at least one")
    costs = {}
    for side in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            frames, regions = Path(folder) / "frames", Path(folder) / "regions"
            if photographs is None:
                draw_videos(frames, (side,) * NUM_VIDEOS, _NUM_CROP_FRAMES)
            else:
                piece_videos(frames, photographs, (side,) * NUM_VIDEOS, _NUM_CROP_FRAMES)
            dataset = open_dataset("folder", "train", frames)
            reach = Reach.of(experiment.data, experiment.crop)
            cut_regions(dataset, "train", regions, reach, "folder", root=frames, progress=False)
            costs[side] = in_new_process(_measure_crops, frames, regions, experiment, num_samples, keep_memory=True)
    return _describe(costs)


def _measure_crops(frames: Path, regions: Path, experiment: Experiment, num_samples: int) -> CropsCost:
    plain, cached = (open_dataset(*StoredSet("folder", "train", root)) for root in (frames, regions))
    unchanged = replace(experiment, data=replace(experiment.data, brightness=0.0))
    both = [
        TrainingSet([MixedSource(dataset, 1.0)], unchanged.data, unchanged.crop, seed=0) for dataset in (plain, cached)
    ]
    differences = [_difference(*(samples[sample_id(0, index)] for samples in both)) for index in range(num_samples)]
    before, after = measure_in_turns([plain, cached], experiment, num_samples)
    return CropsCost(before, after, float(np.mean(differences)))


def _difference(one: Sample, other: Sample) -> float:
    pairs = zip(
        (one.template, one.online_template, one.search),
        (other.template, other.online_template, other.search),
        strict=True,
    )
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairs]))


def _describe(costs: dict[float, CropsCost]) -> str:
    lines = [
        "per triplet, one core        kB                  read + decode, ms        all, ms           difference",
        "target   share      frames regions ratio   frames regions ratio   frames regions ratio   grey levels",
    ]
    shares = np.array(list(SHARES.values()))
    rows = np.array([_row(cost) for cost in costs.values()])
    for side, share, row in zip(costs, shares, rows, strict=True):
        lines.append(f"{side:4.0f} px {100 * share:5.0f} %   " + _columns(row))
    lines.append("mean    100 %    " + _columns(shares @ rows / shares.sum()))
    imread = [cost.frames.imread.seconds for cost in costs.values() if cost.frames.imread is not None]
    if len(imread) == len(costs):
        whole = 1e3 * float(shares @ np.array(imread)) / shares.sum()
        ours = 1e3 * float(shares @ np.array([cost.regions.total for cost in costs.values()])) / shares.sum()
        lines.append(f"three times cv2.imread of the frames, before any crop: {whole:.2f} ms, {whole / ours:.1f} times "
                     "a triplet from regions")  # fmt: skip
    return "\n".join(lines)


def _row(cost: CropsCost) -> list[float]:
    row = []
    for measure in (
        lambda data: data.bytes_read / 1e3,
        lambda data: 1e3 * (data.seconds["read"] + data.seconds["decode"]),
        lambda data: 1e3 * data.total,
    ):
        row += [measure(cost.frames), measure(cost.regions)]
    return [*row, cost.difference]


def _columns(row: np.ndarray) -> str:
    kilobytes, regions_kilobytes, decode, regions_decode, total, regions_total, difference = row.tolist()
    return (
        f"{kilobytes:9.0f}{regions_kilobytes:8.1f}{kilobytes / regions_kilobytes:6.1f}"
        f"{decode:9.2f}{regions_decode:8.2f}{decode / regions_decode:6.1f}"
        f"{total:9.2f}{regions_total:8.2f}{total / regions_total:6.1f}{difference:12.2f}"
    )


class WorkerMemory(NamedTuple):
    """Memory in MB: what one loader process holds alone, and all that it sees, shared pages included."""

    private: float
    resident: float


def make_tree(root: Path, num_sequences: int) -> None:
    """Write a tree in the layout of TrackingNet cheaply: own annotations, but all videos share one folder of frames."""
    shared = root / "frames"
    shared.mkdir(parents=True)
    _, data = cv2.imencode(".jpg", np.full((180, 320, 3), 128, np.uint8))
    for index in range(_NUM_MEMORY_FRAMES):
        (shared / f"{index}.jpg").write_bytes(data.tobytes())
    shard = root / "tree" / "TRAIN_0"
    (shard / "anno").mkdir(parents=True)
    (shard / "frames").mkdir()
    rows = "".join(f"{100 + index},60,60,50\n" for index in range(_NUM_MEMORY_FRAMES))
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
    ids = [sample_id(0, index) for index in range(workers * SAMPLES_PER_WORKER)]
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
