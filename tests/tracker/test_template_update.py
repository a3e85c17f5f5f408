"""The update rule on scripted scores, with every expected replacement worked out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from lib.tracker.template_update import TemplateUpdate, UpdateMode

NAN = float("nan")


def replacements(update: TemplateUpdate, scores: Sequence[float | None]) -> dict[int, int]:
    """Offer frames 1, 2, ... whose crops are their own numbers; return {frame of replacement: frame of the crop}.

    A score of None stands for a frame without a usable prediction.
    """
    found = {}
    for frame, score in enumerate(scores, start=1):
        wanted = score is not None and update.wants(score)
        crop = update.offer(score or 0.0, np.array([frame]) if wanted else None)
        if crop is not None:
            found[frame] = int(crop[0])
    return found


def test_the_best_score_of_each_interval_replaces_at_its_end() -> None:
    scores = [0.6, 0.9, 0.7, 0.8, 0.5, 0.6, 0.7, 0.95]
    assert replacements(TemplateUpdate("score", 4, 0.5), scores) == {4: 2, 8: 8}


def test_an_interval_without_a_passing_score_keeps_the_template() -> None:
    scores = [0.4, 0.5, 0.2, 0.1, 0.9, 0.3]
    # 0.5 is not above the threshold. The second interval starts afresh and ends at frame 6.
    assert replacements(TemplateUpdate("score", 3, 0.5), scores) == {6: 5}


def test_a_good_score_does_not_outlive_its_interval() -> None:
    assert replacements(TemplateUpdate("score", 2, 0.5), [0.99, 0.6, 0.55, 0.1, 0.2, 0.3]) == {2: 1, 4: 3}


def test_of_equal_scores_the_earliest_is_kept() -> None:
    assert replacements(TemplateUpdate("score", 3, 0.5), [0.8, 0.9, 0.9]) == {3: 2}


def test_scores_that_are_not_numbers_never_pass() -> None:
    assert replacements(TemplateUpdate("score", 2, 0.5), [NAN, NAN, 0.7, NAN]) == {4: 3}


def test_fixed_takes_the_last_frame_whatever_its_score() -> None:
    assert replacements(TemplateUpdate("fixed", 3, 0.5), [0.9, 0.9, 0.0, 0.9, 0.9, NAN]) == {3: 3, 6: 6}


def test_none_never_replaces() -> None:
    assert replacements(TemplateUpdate("none", 1, 0.0), [1.0] * 5) == {}


def test_a_frame_without_prediction_counts_but_gives_no_crop() -> None:
    assert replacements(TemplateUpdate("fixed", 2), [0.9, None, 0.9, 0.9]) == {4: 4}
    assert replacements(TemplateUpdate("score", 2), [0.9, None, None, None]) == {2: 1}


def test_reset_starts_a_new_video() -> None:
    update = TemplateUpdate("score", 3, 0.5)
    assert replacements(update, [0.9, 0.6]) == {}
    update.reset()
    # Without the reset, the first of these would end the interval and hand out the 0.9 of the other video.
    assert replacements(update, [0.6, 0.55, 0.7]) == {3: 3}


def test_no_crop_is_cut_needlessly() -> None:
    cases: list[tuple[UpdateMode, list[int]]] = [("score", [2, 4]), ("fixed", [5]), ("none", [])]
    for mode, expected in cases:
        wanted = []
        update = TemplateUpdate(mode, 5, 0.5)
        for frame, score in enumerate([0.2, 0.6, 0.5, 0.8, 0.7], start=1):
            if update.wants(score):
                wanted.append(frame)
            update.offer(score, np.array([frame]) if update.wants(score) else None)
        assert wanted == expected, mode


def test_an_empty_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="interval is 0"):
        TemplateUpdate("fixed", 0)
