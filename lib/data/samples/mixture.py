"""A mixture of data sets: its sources, and samples drawn from them: sample = f(seed, epoch, index)."""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from lib.config.refine_schema import RefineData
from lib.config.schema import Data, Source
from lib.data.datasets import open_dataset
from lib.data.samples.augment import flip_crop, scale_brightness, to_grayscale
from lib.data.sequence import SequenceDataset, UnreadableFrameError

_SLOTS = 256  # one for the process itself and one for each loader process; more share
VALIDATION_EPOCH = 10**6  # past every curriculum; training never reaches it, so its samples and noise are its own
SHARD = 10**9  # samples of one epoch at most; keeps (epoch, index) apart in one integer
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class MixedSource:
    """One data set and its share of the samples."""

    dataset: SequenceDataset
    ratio: float


def open_sources(sources: Iterable[Source], paths_file: Path | None) -> list[MixedSource]:
    """Open the data sets whose ratio is above 0, in order; without a paths file by `experiments/paths.yaml`."""
    return [
        MixedSource(open_dataset(source.dataset, source.split, paths_file=paths_file), source.ratio)
        for source in sources
        if source.ratio > 0
    ]


def sample_id(epoch: int, index: int) -> int:
    """Return the index under which `TrainingSet` finds sample `index` of an epoch."""
    assert 0 <= index < SHARD
    return epoch * SHARD + index


class MixtureSet(Dataset[Drawn]):
    """Random access to samples of a mixture of data sets, each with its share.

    Index with `sample_id(epoch, index)`; two calls with the same id return the same sample, in any process, whatever
    the number of workers and ranks.
    """

    keeps_source = True  # from which a frame could not be read, for the next draw of a sample

    def __init__(self, sources: Iterable[MixedSource], data: Data | RefineData, seed: int) -> None:
        self.sources = [source for source in sources if source.ratio > 0]
        if not self.sources:
            raise ValueError("a training set needs at least one data set with a ratio above 0")
        if any(len(source.dataset) == 0 for source in self.sources):
            raise ValueError("a training data set has no sequences")
        shares = np.cumsum([source.ratio for source in self.sources])
        self._thresholds: list[float] = (shares / shares[-1]).tolist()
        self._mixed = data
        self._seed = seed
        # Unreadable frames so far, in memory that forked and spawned loader processes share.
        self._skipped = torch.zeros(_SLOTS, dtype=torch.int64).share_memory_()
        self._named: set[str] = set()

    @property
    def num_skipped(self) -> int:
        """How many draws met an unreadable frame and were drawn again, in all processes together."""
        return int(self._skipped.sum())

    def draw_source(self, rng: np.random.Generator) -> MixedSource:
        """Draw a source by its share."""
        return self.sources[bisect_right(self._thresholds, rng.random())]

    def begin(self, index: int) -> tuple[np.random.Generator, float]:
        """Return the randomness of a sample, and how difficult drawn videos are by now, in [0, 1]."""
        epoch, index_in_epoch = divmod(index, SHARD)
        ramp = self._mixed.curriculum_epochs
        progress = epoch + index_in_epoch / self._mixed.samples_per_epoch
        rng = np.random.default_rng((self._seed, epoch, index_in_epoch))
        return rng, min(1.0, progress / ramp) if ramp > 0 else 1.0

    def redraw(
        self, index: int, rng: np.random.Generator, draw: Callable[[MixedSource], Drawn | None], wanted: str
    ) -> Drawn:
        """Draw until a draw is usable, or raise ValueError after `data.max_redraws`.

        Args:
            index: of the sample.
            rng: source of the draws.
            draw: draws once from a source; None when that is not usable.
            wanted: which frames may be too few.
        """
        source = None
        for _ in range(self._mixed.max_redraws):
            # Kept from the first draw: a source of which many draws are not usable still has its share.
            drawn = self.draw_source(rng)
            source = source or drawn
            try:
                sample = draw(source)
            except UnreadableFrameError as error:
                if self._mixed.on_bad_frame == "raise":
                    raise
                self._skip(str(error))
                source = source if self.keeps_source else None
            else:
                if sample is not None:
                    return sample
        epoch, index_in_epoch = divmod(index, SHARD)
        raise ValueError(
            f"no usable training sample after {self._mixed.max_redraws} draws (epoch {epoch}, index {index_in_epoch}): "
            f"the data sets hold too few frames with {wanted}; see data.sources and data.max_redraws"
        )

    def augment(self, crops: list[np.ndarray], rng: np.random.Generator) -> tuple[list[np.ndarray], bool]:
        """Flip and grey crops jointly, brighten each by itself; return whether they were flipped, too.

        A flip of its own would mirror one frame against the other.
        """
        flipped = rng.random() < self._mixed.flip_probability
        if flipped:
            crops = [flip_crop(crop) for crop in crops]
        if rng.random() < self._mixed.grayscale_probability:
            crops = [to_grayscale(crop) for crop in crops]
        if self._mixed.brightness > 0:
            factors = rng.uniform(1 - self._mixed.brightness, 1 + self._mixed.brightness, size=len(crops))
            crops = [scale_brightness(crop, float(factor)) for crop, factor in zip(crops, factors, strict=True)]
        return crops, flipped

    def _skip(self, reason: str) -> None:
        """Count an unreadable frame; warn if this process has not met it before."""
        worker = get_worker_info()
        # A slot is written by one process only, so no lock is needed.
        self._skipped[0 if worker is None else 1 + worker.id % (_SLOTS - 1)] += 1
        if reason not in self._named:
            self._named.add(reason)
            warnings.warn(f"skipped, and drew another sample: {reason}", stacklevel=2)
