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


@pytest.mark.parametrize(
    ("update", "scores", "expected"),
    [
        (("score", 4, 0.5), [0.6, 0.9, 0.7, 0.8, 0.5, 0.6, 0.7, 0.95], {4: 2, 8: 8}),
        # 0.5 is not above the threshold. The second interval starts afresh and ends at frame 6.
        (("score", 3, 0.5), [0.4, 0.5, 0.2, 0.1, 0.9, 0.3], {6: 5}),
        (("score", 2, 0.5), [0.99, 0.6, 0.55, 0.1, 0.2, 0.3], {2: 1, 4: 3}),  # a good one does not outlive its interval
        (("score", 3, 0.5), [0.8, 0.9, 0.9], {3: 2}),
        (("score", 2, 0.5), [NAN, NAN, 0.7, NAN], {4: 3}),
        (("fixed", 3, 0.5), [0.9, 0.9, 0.0, 0.9, 0.9, NAN], {3: 3, 6: 6}),
        (("none", 1, 0.0), [1.0] * 5, {}),
        (("fixed", 2), [0.9, None, 0.9, 0.9], {4: 4}),
        (("score", 2), [0.9, None, None, None], {2: 1}),
    ],
    ids=["the best of an interval", "none passes", "a new interval", "the earliest of equals", "no numbers",
         "fixed takes the last", "none", "fixed without prediction", "score without prediction"],
)  # fmt: skip
def test_replacements_by_hand(update: tuple, scores: list[float | None], expected: dict[int, int]) -> None:
    assert replacements(TemplateUpdate(*update), scores) == expected


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
