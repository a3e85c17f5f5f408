"""A mixture of data sets: its sources, the index of a sample, and what was skipped."""

import warnings
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import get_worker_info

from lib.config.schema import Source
from lib.data.datasets import open_dataset
from lib.data.sequence import SequenceDataset

_SLOTS = 256  # one for the process itself and one for each loader process; more share
VALIDATION_EPOCH = 10**6  # past every curriculum; training never reaches it, so its samples and noise are its own
SHARD = 10**9  # samples of one epoch at most; keeps (epoch, index) apart in one integer


@dataclass(frozen=True)
class MixedSource:
    """One data set and its share of the samples."""

    dataset: SequenceDataset
    ratio: float


def open_sources(sources: Iterable[Source], paths_file: Path | None) -> list[MixedSource]:
    """Open the data sets whose ratio is above 0, in order.

    Args:
        sources: as an experiment lists them.
        paths_file: where data sets lie; None for `experiments/paths.yaml`.
    """
    return [
        MixedSource(open_dataset(source.dataset, source.split, paths_file=paths_file), source.ratio)
        for source in sources
        if source.ratio > 0
    ]


class Mixture:
    """The sources that samples are drawn from, each by its share."""

    def __init__(self, sources: Iterable[MixedSource]) -> None:
        self.sources = [source for source in sources if source.ratio > 0]
        if not self.sources:
            raise ValueError("a training set needs at least one data set with a ratio above 0")
        if any(len(source.dataset) == 0 for source in self.sources):
            raise ValueError("a training data set has no sequences")
        shares = np.cumsum([source.ratio for source in self.sources])
        self._thresholds: list[float] = (shares / shares[-1]).tolist()

    def draw(self, rng: np.random.Generator) -> MixedSource:
        """Draw a source."""
        return self.sources[bisect_right(self._thresholds, rng.random())]


def sample_id(epoch: int, index: int) -> int:
    """Return the index under which `TrainingSet` finds sample `index` of an epoch."""
    assert 0 <= index < SHARD
    return epoch * SHARD + index


class SkippedFrames:
    """A counter in memory that forked and spawned loader processes share."""

    def __init__(self) -> None:
        self._counts = torch.zeros(_SLOTS, dtype=torch.int64).share_memory_()
        self._named: set[str] = set()

    @property
    def count(self) -> int:
        """How many there were so far, in all processes together."""
        return int(self._counts.sum())

    def add(self, reason: str) -> None:
        """Count one; warn if this process has not met it before.

        Args:
            reason: names the frame and says what is wrong with it.
        """
        worker = get_worker_info()
        # A slot is written by one process only, so no lock is needed.
        self._counts[0 if worker is None else 1 + worker.id % (_SLOTS - 1)] += 1
        if reason not in self._named:
            self._named.add(reason)
            warnings.warn(f"skipped, and drew another sample: {reason}", stacklevel=2)
