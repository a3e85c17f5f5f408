"""The data sets of a run, opened, and the number of the epoch whose samples are looked at, not learned from."""

from collections.abc import Iterable
from pathlib import Path

from lib.config.schema import Source
from lib.data.datasets import open_dataset
from lib.data.training_set import MixedSource

VALIDATION_EPOCH = 10**6  # past every curriculum; training never reaches it, so its samples and noise are its own


def open_sources(sources: Iterable[Source], paths_file: Path | None) -> list[MixedSource]:
    """Open the data sets whose ratio is above 0, in order.

    Args:
        sources: as an experiment lists them.
        paths_file: where data sets lie; None for `experiments/paths.yaml`.

    Raises:
        FileNotFoundError, ValueError: a data set is not where it should be, or damaged.
    """
    return [
        MixedSource(open_dataset(source.dataset, source.split, paths_file=paths_file), source.ratio)
        for source in sources
        if source.ratio > 0
    ]
