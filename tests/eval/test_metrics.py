"""Every rule of the one-pass evaluation on cases small enough to compute by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from lib.eval.score.metrics import (
    SUCCESS_THRESHOLDS,
    Protocol,
    check_predictions,
    frame_overlap,
    iou,
    score_sequence,
)
from lib.eval.score.scores import MEASURES, BenchmarkScores, PooledOverlap, SequenceScores

# Sides are powers of two, so that the hand-computed ties are exact in floating point.
TRUE = [10.0, 10.0, 32.0, 16.0]


def score(
    predicted: Sequence[Sequence[float]],
    true: Sequence[Sequence[float]],
    absent: Sequence[int] | None = None,
    label: str = "default",
    protocol: Protocol = "stark",
) -> SequenceScores:
    """Score with plain lists; `absent` defaults to nowhere."""
    return score_sequence(
        "video",
        np.array(predicted, dtype=float),
        np.array(true, dtype=float),
        np.array(absent or [0] * len(true), dtype=bool),
        label=label,
        protocol=protocol,
    )


def test_four_frames_by_hand() -> None:
    # IoU: 1 (given), 1, 1/2 (left half), 0. Thresholds below 1: 20 of 21; below 1/2: 10 of 21; below 0: none.
    scores = score([TRUE, TRUE, [10, 10, 16, 16], [200, 200, 32, 16]], [TRUE] * 4)
    assert scores.auc == pytest.approx((20 + 20 + 10 + 0) / 21 / 4, abs=1e-12)
    assert scores.success_curve[10] == 0.5  # an IoU of exactly .5 is not above .5
    assert scores.success_curve[9] == 0.75
    assert scores.precision == 0.75  # centre errors 0, 0, 8, 268...
    assert scores.precision_curve[8] == 0.75 and scores.precision_curve[7] == 0.5
    assert scores.norm_precision == 0.5  # the third is off by 8 / 32
    assert scores.norm_precision_curve[25] == 0.75 and scores.norm_precision_curve[24] == 0.5
    # AO and SR leave frame 1 out.
    assert scores.pooled == PooledOverlap(num_frames=3, iou_sum=1.5, num_over_50=1, num_over_75=1)


def test_precision_includes_its_threshold() -> None:
    off_by_20, off_by_more = [26.0, 22.0, 32.0, 16.0], [26.0, 22.001, 32.0, 16.0]  # (16, 12) is 20 away
    assert score([TRUE, off_by_20], [TRUE] * 2).precision == 1
    assert score([TRUE, off_by_more], [TRUE] * 2).precision == 0.5


def test_the_chain_of_empty_rows_starts_from_row_one_as_predicted() -> None:
    # Row 2 repeats the predicted row 1, far away, though row 1 itself is then replaced by the true box.
    assert score([[500, 500, 32, 16], [0, 0, 0, 0]], [TRUE] * 2).precision == 0.5
    # And an empty row 1 hands on its emptiness: no overlap, and a centre at its corner, (26, 18) away: 31.6 px.
    scores = score([[0, 0, 0, 0], [0, 0, 0, 0]], [TRUE] * 2)
    assert scores.success_curve[0] == 0.5 and scores.precision_curve[32] == 1 and scores.precision_curve[31] == 0.5


def test_absent_frames_count_as_misses() -> None:
    scores = score([TRUE] * 4, [TRUE] * 4, absent=[0, 0, 1, 1])
    assert scores.success_curve[0] == scores.precision == scores.norm_precision == 0.5
    assert scores.pooled.num_frames == 1  # but AO and SR leave them out


def test_curves_are_averaged_over_sequences_and_overlap_over_frames() -> None:
    good = score([TRUE] * 10, [TRUE] * 10)
    bad = score([TRUE, [500, 500, 10, 10]], [TRUE] * 2)
    both = BenchmarkScores("tracker", (good, bad))
    assert both.precision == pytest.approx((1 + 0.5) / 2)
    assert both.auc == pytest.approx((20 / 21 + 10 / 21) / 2)
    read = {key: measure.read(both) for key, measure in MEASURES.items()}
    assert read["op50"] == read["op75"] == pytest.approx(0.75)
    assert both.ao == read["sr50"] == read["sr75"] == pytest.approx(9 / 10)  # 9 and 1 frames, pooled
    assert math.isnan(both.fps)


def test_frames_per_second_are_of_timed_sequences() -> None:
    boxes = np.array([TRUE] * 10)
    timed = score_sequence("a", boxes, boxes, np.zeros(10, bool), seconds=0.5)
    untimed = score_sequence("b", boxes, boxes, np.zeros(10, bool))
    assert BenchmarkScores("tracker", (timed, untimed)).fps == 20


def test_overlap_frame_by_frame_is_what_the_success_curve_counts() -> None:
    true = np.array([TRUE, TRUE, [0, 0, 40, 20], [np.nan] * 4, TRUE, TRUE])
    predicted = np.array([[500, 500, 1, 1], [10, 10, 16, 16], [0, 0, 0, 0], TRUE, TRUE, [0, 0, 0, 0]])
    absent = np.array([0, 0, 0, 0, 1, 0], bool)
    overlap = frame_overlap(predicted, true, absent, "stark")
    # Given; half; row 2 again, 16 x 10 of it inside; not annotated; absent; the row before it.
    np.testing.assert_allclose(overlap, [1, 0.5, 160 / 896, np.nan, np.nan, 1])
    curve = score_sequence("video", predicted, true, absent).success_curve
    np.testing.assert_allclose(curve, [(overlap > threshold).mean() for threshold in SUCCESS_THRESHOLDS])
    assert np.isnan(frame_overlap(predicted, true, absent, "pytracking")[2])  # x = y = 0 is not valid there


def test_inputs_are_left_as_they_are() -> None:
    predicted, true = np.array([[1.0, 1, 5, 5], [0, 0, 0, 0]]), np.array([TRUE] * 2)
    for order in ("C", "F"):
        given, kept = np.array(predicted, order=order), predicted.copy()
        score_sequence("video", given, true, np.zeros(2, bool))
        np.testing.assert_array_equal(given, kept)


def test_longer_results_are_cut_and_shorter_ones_refused() -> None:
    boxes = np.array([TRUE] * 3 + [[np.nan, 1, -5, np.inf]] * 2)  # whatever the rows beyond the end hold
    np.testing.assert_array_equal(check_predictions(boxes, 3, "a.txt"), [TRUE] * 3)
    with pytest.raises(ValueError, match=r"a\.txt: 3 rows, but the sequence has 6 frames"):
        check_predictions(boxes[:3], 6, "a.txt")


@pytest.mark.parametrize("bad", [[np.nan, 1, 1, 1], [1, np.inf, 1, 1], [1, 1, -1, 1], [1, 1, 1, -0.5]])
def test_unusable_rows_are_named(bad: list[float]) -> None:
    boxes = np.array([TRUE, TRUE, bad, TRUE])
    with pytest.raises(ValueError, match=r"a\.txt, row 3: the box"):
        check_predictions(boxes, 4, "a.txt")


def test_iou_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0.5, 0, 1, 1], [3, 3, 0, 0]], dtype=float)
    others = np.array([[0, 0, 10, 10], [5, 5, 10, 10], [10, 0, 10, 10], [0, 0, 1, 1], [3, 3, 0, 0]], dtype=float)
    np.testing.assert_allclose(iou(boxes, others), [1, 25 / 175, 0, 1 / 3, 0])
