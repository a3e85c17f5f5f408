"""Runs that differ in their seed alone: `<config>.seed<N>` are runs of `<config>`, told as a mean and a spread."""

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from lib.eval.score.scores import BenchmarkScores, PooledOverlap, SequenceScores

_SEEDED = re.compile(r"(?P<config>.+)\.seed\d+")


@dataclass(frozen=True)
class Spread:
    """One number from several runs; at least one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """The standard deviation of runs like these (n - 1 in the denominator); nan of a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan


def group_runs(runs: Iterable[str]) -> dict[str, list[str]]:
    """Return the runs of each config, `tiny.seed2` and `tiny` those of `tiny`, in the order in which they are met."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        match = _SEEDED.fullmatch(run)
        groups.setdefault(match["config"] if match else run, []).append(run)
    return groups


def average_runs(name: str, runs: Sequence[BenchmarkScores]) -> BenchmarkScores:
    """Return the mean of runs on the same sequences: its curves are the means of theirs, and so are its scores."""
    return BenchmarkScores(
        name, tuple(_average_sequence(sequences) for sequences in zip(*(run.sequences for run in runs), strict=True))
    )


def _average_sequence(runs: Sequence[SequenceScores]) -> SequenceScores:
    first = runs[0]
    assert all(run.name == first.name for run in runs), first.name
    # Which frames are pooled is decided by the truth, so they are the same in every run.
    pooled = zip(*(astuple(run.pooled) for run in runs), strict=True)
    return replace(
        first,
        success_curve=np.mean([run.success_curve for run in runs], axis=0),
        precision_curve=np.mean([run.precision_curve for run in runs], axis=0),
        norm_precision_curve=np.mean([run.norm_precision_curve for run in runs], axis=0),
        pooled=PooledOverlap(*map(sum, pooled)),
        seconds=statistics.fmean(run.seconds for run in runs),
        num_non_finite=sum(run.num_non_finite for run in runs),
    )
