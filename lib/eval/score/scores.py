"""The scores of one tracker, on a sequence and on a benchmark, and the measures that are shown of them."""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np

# Where the curves are read for the single numbers.
_AT_OVERLAP_50, _AT_OVERLAP_75 = 10, 15
_AT_20_PIXELS = _AT_20_PERCENT = 20


@dataclass(frozen=True)
class PooledOverlap:
    """Sums over the frames that AO and SR average over, so that sequences can be pooled frame by frame."""

    num_frames: int
    iou_sum: float
    num_over_50: int
    num_over_75: int

    def share(self, total: float) -> float:
        """Return a sum per frame; nan where there are none."""
        return total / self.num_frames if self.num_frames else math.nan


@dataclass(frozen=True)
class SequenceScores:
    """One tracker on one sequence.

    Attributes:
        success_curve: (21,) share of frames with IoU above each of `metrics.SUCCESS_THRESHOLDS`.
        precision_curve: (51,) share of frames with a centre error of at most 0, 1 ... 50 pixels.
        norm_precision_curve: (51,) the same for the error in units of the true box's sides, at most 0, 0.01 ... 0.5.
        seconds: time the tracker took for all frames; nan when it was not recorded.
        num_non_finite: boxes that stand in for output that was not finite, as far as it was recorded.
    """

    name: str
    num_frames: int
    success_curve: np.ndarray
    precision_curve: np.ndarray
    norm_precision_curve: np.ndarray
    pooled: PooledOverlap
    seconds: float = float("nan")
    num_non_finite: int = 0
    attributes: tuple[str, ...] = ()

    @property
    def auc(self) -> float:
        return float(self.success_curve.mean())

    @property
    def precision(self) -> float:
        return float(self.precision_curve[_AT_20_PIXELS])

    @property
    def norm_precision(self) -> float:
        return float(self.norm_precision_curve[_AT_20_PERCENT])

    @property
    def numbers(self) -> dict[str, float]:
        """What is shown of a single sequence."""
        return {"auc": self.auc, "precision": self.precision, "norm_precision": self.norm_precision}


@dataclass(frozen=True)
class BenchmarkScores:
    """One tracker on a benchmark: curves are means over sequences, AO and SR are over pooled frames."""

    name: str
    sequences: tuple[SequenceScores, ...]

    def __post_init__(self) -> None:
        assert self.sequences, self.name

    @cached_property
    def success_curve(self) -> np.ndarray:
        return np.mean([scores.success_curve for scores in self.sequences], axis=0)

    @cached_property
    def precision_curve(self) -> np.ndarray:
        return np.mean([scores.precision_curve for scores in self.sequences], axis=0)

    @cached_property
    def norm_precision_curve(self) -> np.ndarray:
        return np.mean([scores.norm_precision_curve for scores in self.sequences], axis=0)

    @property
    def auc(self) -> float:
        return float(self.success_curve.mean())

    @property
    def precision(self) -> float:
        return float(self.precision_curve[_AT_20_PIXELS])

    @property
    def norm_precision(self) -> float:
        return float(self.norm_precision_curve[_AT_20_PERCENT])

    @cached_property
    def pooled(self) -> PooledOverlap:
        """The sums over all sequences."""
        return PooledOverlap(*map(sum, zip(*(astuple(scores.pooled) for scores in self.sequences), strict=True)))

    @property
    def ao(self) -> float:
        """Average overlap; nan when no frame of the benchmark counts for it."""
        return self.pooled.share(self.pooled.iou_sum)

    @property
    def fps(self) -> float:
        """Frames per second of the tracker alone, over the sequences with recorded times; nan when none has."""
        timed = [scores for scores in self.sequences if scores.seconds > 0]
        if not timed:
            return float("nan")
        return sum(scores.num_frames for scores in timed) / sum(scores.seconds for scores in timed)


@dataclass(frozen=True)
class Measure:
    """One column of a table, a share in [0, 1].

    Its key stands in JSON, CSV and files of published numbers, its title in the terminal and in plots. `read` takes it
    from the scores of a result; nan where it cannot be said.
    """

    key: str
    title: str
    latex: str
    read: Callable[[BenchmarkScores], float]


MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure("auc", "AUC", "AUC", lambda scores: scores.auc),
        Measure("op50", "OP50", "OP$_{50}$", lambda scores: float(scores.success_curve[_AT_OVERLAP_50])),
        Measure("op75", "OP75", "OP$_{75}$", lambda scores: float(scores.success_curve[_AT_OVERLAP_75])),
        Measure("precision", "P", "P", lambda scores: scores.precision),
        Measure("norm_precision", "P_norm", "P$_{\\mathrm{norm}}$", lambda scores: scores.norm_precision),
        Measure("ao", "AO", "AO", lambda scores: scores.ao),
        Measure("sr50", "SR0.5", "SR$_{0.5}$", lambda scores: scores.pooled.share(scores.pooled.num_over_50)),
        Measure("sr75", "SR0.75", "SR$_{0.75}$", lambda scores: scores.pooled.share(scores.pooled.num_over_75)),
    )
}


def percent(share: float) -> str:
    """Write a share in percent with one decimal; a dash for nan."""
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def frames_per_second(fps: float) -> str:
    """Write a speed with three digits or so; a dash for nan."""
    return "-" if math.isnan(fps) else f"{fps:.1f}" if fps < 100 else f"{fps:.0f}"
