"""Where trackers fail, found on overlaps short enough to read."""

import numpy as np

from lib.eval.report.film import Moment, choose_moments, fill_evenly, find_moments


def test_moments_are_stretches_below_one_half_the_most_costly_first() -> None:
    nan = np.nan
    first = np.array([1, 0.4, 0.9, 0.3, nan, 0.02, 0.0, 0.6])
    second = np.array([1, 0.5, 0.5, 0.5, nan, 0.5, 0.25, 0.25])
    moments = find_moments([first, second])
    # 0.2 + 0.48 + 0.5 lost over the gap of an absent frame, shown where it comes close to its bottom; 0.25 twice; 0.1.
    assert [moment[:4] for moment in moments] == [(0, 3, 7, 5), (1, 6, 8, 6), (0, 1, 2, 1)]
    np.testing.assert_allclose([moment.loss for moment in moments], [1.18, 0.5, 0.1])


def test_a_tracker_that_never_fails_or_is_never_measured_has_no_moments() -> None:
    assert find_moments([np.full(5, 0.5), np.full(5, np.nan), np.ones(1)]) == []


def test_pictures_of_moments_lie_apart() -> None:
    moments = [Moment(0, 0, 9, frame, loss) for frame, loss in ((50, 9.0), (52, 8.0), (40, 7.0), (99, 6.0), (1, 5.0))]
    # A ninth of 90 frames is 10: frame 52 shows what 50 shows.
    assert [moment.frame for moment in choose_moments(moments, 90, 3)] == [50, 40, 99]
    assert choose_moments(moments, 90, 0) == []


def test_the_widest_gaps_are_filled() -> None:
    assert fill_evenly([10, 90], 101, 4) == [10, 90, 50, 30]
    assert fill_evenly([], 11, 3) == [0, 10, 5]
    assert fill_evenly([1], 2, 8) == [1, 0], "no frame twice"
    assert fill_evenly([3, 1, 2], 9, 2) == [3, 1]
