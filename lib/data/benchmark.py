"""What a training triplet costs: per stage, per core, with several loader processes, against three whole decodes."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import DataLoader

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.datasets.folder import FolderDataset
from lib.data.memory import describe_memory, make_tree, measure_memory
from lib.data.picture import FilePicture, Picture, cut_decoded
from lib.data.scene import Scene, SceneStyle
from lib.data.sequence import SceneDataset, SequenceDataset
from lib.data.training_set import MixedSource, Sample, TrainingSet, collate, sample_id

STAGES = ("read", "decode", "crop", "augment", "rest")
_BATCH = 8
_TRIALS = 5  # of each triplet


def draw_frames(root: Path, num_sequences: int = 6, num_frames: int = 24, quality: int = 90) -> FolderDataset:
    """Write drawn 1280 x 720 videos as JPEG, with targets of 60 to 300 px, and open them as own data."""
    style = SceneStyle(
        frame_size=(720, 1280), target_side=(60.0, 300.0), scale_change=0.1, aspect_change=0.1, noise=2.0,
        occlusion_probability=0.0, leaving_probability=0.0,
    )  # fmt: skip
    for index in range(num_sequences):
        folder = root / f"drawn-{index}"
        (folder / "img").mkdir(parents=True)
        # The sides are spread evenly over the range, whatever the number of videos.
        side = 60.0 + 240.0 * (index + 0.5) / num_sequences
        scene = Scene.from_seed((9, index), replace(style, target_side=(side, side)), num_frames)
        rows = []
        for frame in range(num_frames):
            rendered = scene.render(frame)
            rows.append(",".join(f"{value:.3f}" for value in rendered.box_xywh))
            _, data = cv2.imencode(
                ".jpg", cv2.cvtColor(rendered.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
            )
            (folder / "img" / f"{frame + 1:08d}.jpg").write_bytes(data.tobytes())
        (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n", encoding="ascii")
    return FolderDataset(root)


def profile_data(
    experiment: Experiment, dataset: SequenceDataset | SceneDataset | None, num_samples: int, workers: int
) -> str:
    """Measure a data set, by default 1280 x 720 JPEG frames drawn for the purpose; return the report as text."""
    if dataset is not None:
        return describe(measure_data(dataset, experiment, num_samples, workers))
    with tempfile.TemporaryDirectory() as folder:
        return describe(measure_data(draw_frames(Path(folder)), experiment, num_samples, workers))


def profile_memory(experiment: Experiment, num_sequences: int, workers: int) -> str:
    """Measure the memory of loader processes over a hundredth of the sequences and over all; return the report."""
    found = {}
    for count in (max(1, num_sequences // 100), num_sequences):
        with tempfile.TemporaryDirectory() as folder:
            make_tree(Path(folder), count)
            found[count] = measure_memory(Path(folder) / "tree", experiment, workers)
    return describe_memory(found)


class TimedTrainingSet(TrainingSet):
    """A training set that notes what became of the last sample.

    Attributes:
        seconds: by stage; "rest" is sampling, boxes and book-keeping.
        bytes_read: of encoded pictures.
        files: the image files that were read, as far as they are files.
    """

    def __init__(self, dataset: SequenceDataset | SceneDataset, experiment: Experiment) -> None:
        super().__init__([MixedSource(dataset, 1.0)], experiment.data, experiment.crop, seed=0)
        self._restart()

    def __getitem__(self, index: int) -> Sample:
        self._restart()
        start = time.perf_counter()
        sample = super().__getitem__(index)
        self.seconds["rest"] = time.perf_counter() - start - sum(self.seconds.values())
        return sample

    def _restart(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.bytes_read = 0
        self.files: list[Path] = []

    def _cut(self, picture: Picture, window: CropWindow) -> np.ndarray | None:
        with self._timed("read"):
            self.bytes_read += picture.read()
        if isinstance(picture, FilePicture) and isinstance(picture.path, Path):
            self.files.append(picture.path)
        with self._timed("decode"):
            decoded = picture.decode(window)
        if decoded is None:
            return None
        with self._timed("crop"):
            return cut_decoded(*decoded)

    def _augment(self, crops: list[np.ndarray], box: np.ndarray, rng: np.random.Generator) -> Sample:
        with self._timed("augment"):
            return super()._augment(crops, box, rng)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start


@dataclass(frozen=True)
class DataCost:
    """Means over triplets; each triplet is drawn several times and its fastest time counts.

    Attributes:
        seconds: by stage.
        bytes_read: encoded bytes of the three pictures.
        imread_seconds: `cv2.imread` of the same pictures, whole; None where they are not files.
        rate: triplets a second of several loader processes; None where not measured.
    """

    seconds: dict[str, float]
    bytes_read: float
    imread_seconds: float | None
    rate: float | None

    @property
    def total(self) -> float:
        """Seconds of one triplet."""
        return sum(self.seconds.values())


def measure_data(
    dataset: SequenceDataset | SceneDataset, experiment: Experiment, num_samples: int = 60, workers: int = 0
) -> DataCost:
    """Measure triplets of one data set.

    Our triplet and `cv2.imread` of the same frames take turns, so that what else the machine does disturbs both
    alike. Files are read more than once, so from the second time on they come from memory. What `cv2.imread` takes
    depends on what the process did before: where the system's allocator has learnt to keep memory of a picture's size,
    as after drawing the frames here, it takes about half of what it takes in a fresh process.

    Args:
        dataset: what to draw from.
        experiment: its crops, jitter and sampler are used.
        num_samples: triplets to draw.
        workers: loader processes of a second measurement; 0 leaves it out.
    """
    cv2.setNumThreads(1)
    if num_samples < 1:
        raise ValueError(f"{num_samples} samples: there must be at least one")
    samples = TimedTrainingSet(dataset, experiment)
    seconds = np.zeros(len(STAGES))
    imread_seconds, bytes_read, only_files = 0.0, 0, True
    for index in range(num_samples):
        trials, imread_trials = [], []
        for _ in range(_TRIALS):
            samples[sample_id(0, index)]
            trials.append(list(samples.seconds.values()))
            imread_trials.append(_imread(samples.files[-3:]))
        seconds += min(trials, key=sum)
        imread_seconds += min(imread_trials)
        bytes_read += samples.bytes_read
        only_files &= len(samples.files) >= 3
    return DataCost(
        seconds=dict(zip(STAGES, (seconds / num_samples).tolist(), strict=True)),
        bytes_read=bytes_read / num_samples,
        imread_seconds=imread_seconds / num_samples if only_files else None,
        rate=_rate(dataset, experiment, 4 * num_samples, workers) if workers else None,
    )


def describe(cost: DataCost) -> str:
    """Return the report as text."""
    lines = ["one core, ms per triplet"]
    lines += [f"  {stage:8s} {1e3 * seconds:8.2f}" for stage, seconds in cost.seconds.items()]
    lines.append(f"  {'total':8s} {1e3 * cost.total:8.2f}   {1 / cost.total:.0f} triplets a second")
    lines.append(f"encoded bytes read: {cost.bytes_read / 1e3:.0f} kB per triplet")
    if cost.imread_seconds is not None:
        lines.append(f"three times cv2.imread of the same frames: {1e3 * cost.imread_seconds:.2f} ms")
        lines.append(f"ratio of a triplet to that: {cost.total / cost.imread_seconds:.3f}")
    if cost.rate is not None:
        lines.append(f"through the loader processes: {cost.rate:.0f} triplets a second ({os.cpu_count()} cores)")
    return "\n".join(lines)


def _imread(paths: list[Path]) -> float:
    """Return the seconds that OpenCV takes to read the images."""
    start = time.perf_counter()
    for path in paths:
        cv2.imread(str(path), cv2.IMREAD_COLOR)
    return time.perf_counter() - start


def _rate(dataset: SequenceDataset | SceneDataset, experiment: Experiment, num_samples: int, workers: int) -> float:
    """Return triplets a second through a loader, its start and first batch not counted."""
    samples = TrainingSet([MixedSource(dataset, 1.0)], experiment.data, experiment.crop, seed=0)
    ids = [sample_id(0, index) for index in range(num_samples + workers * _BATCH)]
    loader = DataLoader(samples, _BATCH, sampler=ids, num_workers=workers, collate_fn=collate)
    batches = iter(loader)
    next(batches)
    start = time.perf_counter()
    count = sum(len(batch.search) for batch in batches)
    return count / (time.perf_counter() - start)
