"""The one-pass evaluation of trackers: success, precision, normalised precision, and GOT-10k's pooled overlap.

Everything is float64 and in [0, 1]. A frame is *invalid* where the truth has no usable box: labelled absent, not
annotated (nan), or of no size. Invalid frames count: as misses, except where a benchmark's published tool counts them
as hits (`LABEL_RULES`) and the protocol follows it.

Sources: Wu et al., "Online Object Tracking: A Benchmark", 2013 (success and precision); Mueller et al., "TrackingNet",
2018 (normalised precision); Huang et al., "GOT-10k", 2019 (AO, SR); and the code that published numbers come from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lib.eval.score.scores import MEASURES, BenchmarkScores, Measure, PooledOverlap, SequenceScores

Protocol = Literal["stark", "pytracking", "strict"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

SUCCESS_THRESHOLDS = np.arange(0, 1.05, 0.05)
PRECISION_THRESHOLDS = np.arange(51.0)
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100


@dataclass(frozen=True)
class Curve:
    """A share of frames against a threshold, as plots show it.

    Attributes:
        axis: what the threshold is.
        reading: the same before a value of it: "overlap above" 0.5.
        digits: of such a value after the point.
        thresholds: where it is known.
        read: it from the scores of a result.
        measure: the number that it is read for,
        read_at: the index of the threshold at which; None where that is the area.
    """

    name: str
    title: str
    axis: str
    reading: str
    digits: int
    thresholds: np.ndarray
    read: Callable[[BenchmarkScores], np.ndarray]
    measure: Measure
    read_at: int | None


_SIDES = "[sides of the true box]"
CURVES = (
    Curve(
        "success", "Success", "overlap threshold", "overlap above", 2,
        SUCCESS_THRESHOLDS, lambda scores: scores.success_curve, MEASURES["auc"], None,
    ),
    Curve(
        "precision", "Precision", "centre error threshold [px]", "centre error [px] at most", 0,
        PRECISION_THRESHOLDS, lambda scores: scores.precision_curve, MEASURES["precision"], 20,
    ),
    Curve(
        "norm_precision", "Normalised precision", f"centre error threshold {_SIDES}", f"centre error {_SIDES} at most",
        2, NORM_PRECISION_THRESHOLDS, lambda scores: scores.norm_precision_curve, MEASURES["norm_precision"], 20,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class LabelRule:
    """What a benchmark's published tool makes of invalid frames; the default counts them as misses everywhere.

    They may be hits in the precision and in its normalised kind, where a frame labelled absent may be a miss all the
    same.
    """

    precision_hit: bool = False
    norm_precision_hit: bool = False
    absent_misses: bool = False


LABEL_RULES: dict[str, LabelRule] = {
    "default": LabelRule(),  # own data: nobody has published numbers that a quirk would have to reproduce
    "lasot": LabelRule(norm_precision_hit=True, absent_misses=True),
    "lasot_ext": LabelRule(norm_precision_hit=True),  # and every set that the published tool has no special case for
    "uav": LabelRule(precision_hit=True, norm_precision_hit=True),
}


def check_predictions(boxes_xywh: np.ndarray, num_frames: int, source: str) -> np.ndarray:
    """Return the first `num_frames` predicted boxes, or raise ValueError, naming the source, when they are unusable.

    Of (N, 4) boxes, N of any length, those beyond the sequence are cut off first, as the published tools do, so what
    they hold, not finite or negative, counts for nothing.
    """
    boxes_xywh = boxes_xywh[:num_frames]
    if not (np.isfinite(boxes_xywh).all() and (boxes_xywh[:, 2:] >= 0).all()):
        unusable = ~np.isfinite(boxes_xywh).all(axis=1) | (boxes_xywh[:, 2:] < 0).any(axis=1)
        row = int(np.argmax(unusable))
        box = ", ".join(f"{value:g}" for value in boxes_xywh[row])
        raise ValueError(f"{source}, row {row + 1}: the box {box} has a number that is not finite or a negative size")
    if len(boxes_xywh) < num_frames:
        raise ValueError(f"{source}: {len(boxes_xywh)} rows, but the sequence has {num_frames} frames: "
                         "track it again")  # fmt: skip
    return boxes_xywh


def score_sequence(
    name: str,
    predicted_xywh: np.ndarray,
    true_xywh: np.ndarray,
    absent: np.ndarray,
    *,
    label: str = "default",
    protocol: Protocol = "stark",
    pooled: PooledOverlap | None = None,
    seconds: float = float("nan"),
    num_non_finite: int = 0,
    attributes: tuple[str, ...] = (),
) -> SequenceScores:
    """Score one tracker on one sequence.

    Args:
        predicted_xywh: (N, 4), checked by `check_predictions`. A row without size takes the row before it.
        true_xywh: (N, 4); nan in a row without annotation.
        absent: (N,) bool, True where the benchmark labels the target as not in the picture.
        label: a key of `LABEL_RULES`.
        protocol: "stark" calls a box valid with w, h > 0, "pytracking" with all four numbers > 0 (so does LaSOT's
            MATLAB code); both follow the label's rule. "strict" is "stark" with invalid frames as misses everywhere.
        pooled: the sequence's part in AO and SR where the benchmark has its own rule (`got10k_overlap`). By default
            all frames but the first and the invalid ones, boxes unclipped.
        seconds, num_non_finite, attributes: see `SequenceScores`.
    """
    num_frames = len(true_xywh)
    assert predicted_xywh.shape == true_xywh.shape and absent.shape == (num_frames,), name
    rule = LABEL_RULES["default"] if protocol == "strict" else LABEL_RULES[label]
    predicted, true, valid = _prepare(predicted_xywh, true_xywh, absent, protocol)
    with np.errstate(divide="ignore", invalid="ignore"):  # columns with an invalid truth are overwritten below
        overlap = _iou_of_rows(predicted, true)
        # Half of (w - 1), not of w: the same centre offset, but rounded as in the published code, so that an error of
        # exactly 20 pixels falls on the same side.
        predicted_centre = predicted[:2] + 0.5 * (predicted[2:] - 1)
        true_centre = true[:2] + 0.5 * (true[2:] - 1)
        error = _length(predicted_centre - true_centre)
        norm_error = _length(predicted_centre / true[2:] - true_centre / true[2:])
    overlap[~valid] = -1
    error[~valid] = -1 if rule.precision_hit else np.inf
    norm_error[~valid] = -1 if rule.norm_precision_hit else np.inf
    if rule.absent_misses:
        error[absent] = np.inf
        norm_error[absent] = np.inf
    if np.isnan(overlap).any():
        raise ValueError(f"{name}: the boxes are too large to compute an overlap")

    return SequenceScores(
        name=name,
        num_frames=num_frames,
        success_curve=(num_frames - _count_within(overlap, SUCCESS_THRESHOLDS)) / num_frames,
        precision_curve=_count_within(error, PRECISION_THRESHOLDS) / num_frames,
        norm_precision_curve=_count_within(norm_error, NORM_PRECISION_THRESHOLDS) / num_frames,
        pooled=pooled or _pool(overlap[1:][valid[1:]]),
        seconds=seconds,
        num_non_finite=num_non_finite,
        attributes=attributes,
    )


def frame_overlap(
    predicted_xywh: np.ndarray, true_xywh: np.ndarray, absent: np.ndarray, protocol: Protocol = "stark"
) -> np.ndarray:
    """Return (N,) each frame's IoU as the success curve counts it; nan in an invalid frame, which is a miss there.

    Arguments as in `score_sequence`.
    """
    predicted, true, valid = _prepare(predicted_xywh, true_xywh, absent, protocol)
    with np.errstate(invalid="ignore"):
        return np.where(valid, _iou_of_rows(predicted, true), np.nan)


def got10k_overlap(
    predicted_xywh: np.ndarray, true_xywh: np.ndarray, cover: np.ndarray, frame_size: tuple[int, int]
) -> PooledOverlap:
    """Return a sequence's part in GOT-10k's AO and SR: boxes clipped to the image, frame 1 and hidden frames dropped.

    Args:
        predicted_xywh: (N, 4) as tracked; a row without size stays one.
        true_xywh: (N, 4).
        cover: (N,) the visible share of the target in eighths; frames with 0 are dropped.
        frame_size: (height, width) in pixels.
    """
    counted = cover[1:] > 0
    overlap = iou(
        _clip_as_got10k(predicted_xywh[1:][counted], frame_size),
        _clip_as_got10k(true_xywh[1:][counted], frame_size),
    )
    return _pool(overlap)


def iou(boxes_xywh: np.ndarray, others_xywh: np.ndarray) -> np.ndarray:
    """Return the intersection over union of paired (N, 4) boxes; 0 where both are empty, nan where one is nan."""
    return _iou_of_rows(boxes_xywh.T, others_xywh.T)


def _prepare(
    predicted_xywh: np.ndarray, true_xywh: np.ndarray, absent: np.ndarray, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the predicted and the true boxes as they are compared, (4, N) each, and (N,) where a frame is valid."""
    # Rows x, y, w, h of length N from here on: numpy is several times faster along the long axis.
    true = np.array(true_xywh.T, order="C")
    unannotated = np.any(np.isnan(true), axis=0)
    predicted = _fill_empty(np.array(predicted_xywh.T, order="C"), unannotated)
    predicted[:, 0] = true[:, 0]
    measured = true if protocol == "pytracking" else true[2:]
    valid = (measured > 0).all(axis=0) & ~unannotated & ~absent
    return predicted, true, valid


def _iou_of_rows(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    # Coordinates are continuous, so - 1 and + 1 cancel. They stand here because published code has them: rounding
    # then agrees too, and with it the side on which an IoU of exactly one half falls.
    top_left = np.maximum(boxes[:2], others[:2])
    bottom_right = np.minimum(boxes[:2] + boxes[2:] - 1, others[:2] + others[2:] - 1)
    sides = np.maximum(bottom_right - top_left + 1, 0)
    intersection = sides[0] * sides[1]
    union = boxes[2] * boxes[3] + others[2] * others[3] - intersection
    return intersection / np.where(union == 0, 1, union)


def _fill_empty(boxes: np.ndarray, unannotated: np.ndarray) -> np.ndarray:
    """Let a box without size repeat the last one before it that has one; boxes are the columns of (4, N).

    As in the published code, the box of an unannotated frame is left as it is, and is what a next empty one repeats.
    """
    replaced = (boxes[2:] == 0).any(axis=0) & ~unannotated
    replaced[0] = False
    if not replaced.any():
        return boxes
    return boxes[:, np.maximum.accumulate(np.where(replaced, 0, np.arange(len(replaced))))]


def _clip_as_got10k(boxes_xywh: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    """Clip as GOT-10k's toolkit does: a corner moved onto the border keeps the sides, then they are cut."""
    height, width = frame_size
    corner = np.clip(boxes_xywh[:, :2], 0, (width, height))
    return np.concatenate((corner, np.clip(boxes_xywh[:, 2:], 0, (width, height) - corner)), axis=1)


def _pool(overlap: np.ndarray) -> PooledOverlap:
    return PooledOverlap(
        num_frames=len(overlap),
        iou_sum=float(overlap.sum()),
        num_over_50=int((overlap > 0.5).sum()),
        num_over_75=int((overlap > 0.75).sum()),
    )


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(vectors[0] ** 2 + vectors[1] ** 2)


def _count_within(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return, for each of the sorted thresholds, the number of values <= it."""
    return np.searchsorted(np.sort(values), thresholds, side="right")
