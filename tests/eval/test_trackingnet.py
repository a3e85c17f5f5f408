"""TrackingNet's server formulas, by hand."""

import numpy as np
import pytest

from lib.eval.score.trackingnet import server_curves, server_scores

TRUE = [10.0, 10.0, 40.0, 20.0]


def test_a_perfect_tracker_scores_one() -> None:
    boxes = np.array([TRUE] * 3)
    scores = server_scores([server_curves(boxes, boxes)])
    # The success at threshold 1 is a hit, too: >=.
    assert (scores.auc, scores.precision, scores.norm_precision) == (1, 1, 1)


def test_areas_by_hand() -> None:
    # Frame 1 is replaced; frame 2 overlaps by exactly 1/2, 10 px or a quarter of the width away.
    curves = server_curves(np.array([[0, 0, 1, 1], [10, 10, 20, 20]], float), np.array([TRUE] * 2))
    assert curves.success[10] == 1 and curves.success[11] == 0.5
    scores = server_scores([curves])
    # Ten steps at 1, one from 1 to .5, nine at .5.
    assert scores.auc == pytest.approx((10 * 1 + 0.75 + 9 * 0.5) / 20)
    # Thresholds are 2.5 px apart: .5 below 10 px (4 thresholds, 0 to 7.5), 1 from there on.
    assert scores.precision == pytest.approx((3 * 0.5 + 0.75 + 16 * 1) / 20)
    # And .025 apart: .25 is the eleventh.
    assert scores.norm_precision == pytest.approx((9 * 0.5 + 0.75 + 10 * 1) / 20)


def test_boxes_are_rounded_half_to_even() -> None:
    true = np.array([TRUE] * 2)
    nearly = np.array([TRUE, [10.5, 10.4, 40.5, 19.6]])
    assert server_scores([server_curves(nearly, true)]).auc == 1
    assert server_scores([server_curves(nearly + np.array([0, 0, 0.1, 0]), true)]).auc < 1


def test_sequences_count_alike_whatever_their_length() -> None:
    far = np.array([[500.0, 500, 40, 20]])
    long_miss = server_curves(np.concatenate([[TRUE], np.repeat(far, 99, 0)]), np.array([TRUE] * 100))
    short_hit = server_curves(np.array([TRUE]), np.array([TRUE]))
    assert server_scores([long_miss, short_hit]).precision == pytest.approx((0.01 + 1) / 2)


def test_a_true_box_of_no_size_is_a_miss_in_the_normalised_precision() -> None:
    curves = server_curves(np.array([TRUE, TRUE]), np.array([TRUE, [10, 10, 0, 0]]))
    assert curves.norm_precision[-1] == 0.5
