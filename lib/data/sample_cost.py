"""Time, bytes and memory of single training triplets, stage by stage, beside `cv2.imread` of the same frames."""

import resource
import time
from collections.abc import Iterator
from collections.abc import Sequence as Indexed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.picture import FilePicture, Picture, cut_decoded
from lib.data.sequence import SceneDataset, SequenceDataset
from lib.data.training_set import MixedSource, Sample, TrainingSet, sample_id

STAGES = ("read", "decode", "crop", "augment", "rest")
_TRIALS = 5  # of each triplet


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

    The forms, and `cv2.imread` of the same frames, take turns, so that what else the machine does disturbs all alike.
    Files are read more than once, so from the second time on they come from memory.

    Args:
        datasets: what to draw from.
        experiment: its crops, jitter and sampler are used.
        num_samples: triplets to draw.
    """
    cv2.setNumThreads(1)
    runs = [_Run(TimedTrainingSet(dataset, experiment)) for dataset in datasets]
    for index in range(num_samples):
        trials = [[run.trial(sample_id(0, index)) for run in runs] for _ in range(_TRIALS)]
        for run, own in zip(runs, zip(*trials, strict=True), strict=True):
            run.add(own)
    return [run.cost() for run in runs]


class _Trial(NamedTuple):
    seconds: list[float]
    imread: ImreadCost | None


class _Run:
    """Triplets of one data set, summed up."""

    def __init__(self, samples: TimedTrainingSet) -> None:
        self._samples = samples
        self._seconds = np.zeros(len(STAGES))
        self._imreads: list[ImreadCost | None] = []
        self._bytes_read = 0

    def trial(self, index: int) -> _Trial:
        self._samples[index]
        files = self._samples.files[-3:]
        return _Trial(list(self._samples.seconds.values()), _imread(files) if len(files) == 3 else None)

    def add(self, trials: Indexed[_Trial]) -> None:
        """Count the fastest of the trials of the triplet drawn last."""
        self._seconds += min((trial.seconds for trial in trials), key=sum)
        self._imreads.append(min((trial.imread for trial in trials if trial.imread is not None), default=None))
        self._bytes_read += self._samples.bytes_read

    def cost(self) -> DataCost:
        count = len(self._imreads)
        imreads = [imread for imread in self._imreads if imread is not None]
        whole = ImreadCost(*np.mean(imreads, axis=0).tolist()) if len(imreads) == count else None
        seconds: dict[str, float] = dict(zip(STAGES, (self._seconds / count).tolist(), strict=True))
        return DataCost(seconds, self._bytes_read / count, whole)


def _imread(paths: list[Path]) -> ImreadCost:
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = time.perf_counter()
    for path in paths:
        cv2.imread(str(path), cv2.IMREAD_COLOR)
    seconds = time.perf_counter() - start
    return ImreadCost(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / len(paths))
