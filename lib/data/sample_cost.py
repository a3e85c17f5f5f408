"""Time, bytes and memory of single training triplets, stage by stage, beside `cv2.imread` of the same frames."""

import resource
import time
from collections.abc import Sequence as Indexed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.images.picture import FilePicture, Picture, cut_decoded
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import Sample, TrainingSet
from lib.data.sequence import SceneDataset, SequenceDataset

STAGES = ("read", "decode", "crop", "augment", "rest")
_TURNS = 7


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
