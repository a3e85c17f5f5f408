"""How far a score would move had the benchmark other sequences of the same kind: bootstrap over sequences.

Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; percentile intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lib.eval.score.scores import BenchmarkScores

NUM_RESAMPLES = 2000
LEVEL = 0.95
_SEED = 0


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of what resampled benchmarks give; nan at both ends when nothing can be said."""

    low: float
    high: float


def auc_interval(scores: BenchmarkScores) -> Interval:
    """Return the confidence interval of a result's AUC."""
    return mean_interval([sequence.auc for sequence in scores.sequences])


def ao_interval(scores: BenchmarkScores) -> Interval:
    """Return the confidence interval of a result's AO: whole sequences are drawn, then their frames pooled."""
    counts = _draws(len(scores.sequences))
    num_frames = counts @ np.array([sequence.pooled.num_frames for sequence in scores.sequences], np.float64)
    iou_sum = counts @ np.array([sequence.pooled.iou_sum for sequence in scores.sequences])
    return _middle(iou_sum[num_frames > 0] / num_frames[num_frames > 0])


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the confidence interval of the mean of one value per sequence.

    The draws depend on the number of sequences alone, so results on the same sequences are resampled alike, and the
    interval of their difference is that of the paired differences.
    """
    return _middle(_draws(len(values)) @ np.asarray(values, np.float64) / len(values))


def _middle(resampled: np.ndarray) -> Interval:
    if not len(resampled):
        return Interval(float("nan"), float("nan"))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(resampled, (tail, 100 - tail))
    return Interval(float(low), float(high))


@lru_cache(maxsize=4)
def _draws(num_sequences: int) -> np.ndarray:
    """Return how often each sequence is drawn in each resample: (NUM_RESAMPLES, num_sequences), rows sum to S."""
    rng = np.random.default_rng((_SEED, num_sequences))
    share = np.full(num_sequences, 1 / num_sequences)
    return rng.multinomial(num_sequences, share, size=NUM_RESAMPLES).astype(np.float64)
