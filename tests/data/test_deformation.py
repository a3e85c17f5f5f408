"""Soft objects: they change their outline within stated bounds, and rigid ones do not."""

import numpy as np
import pytest

from lib.data.synthetic import Scene, SceneStyle
from lib.data.synthetic.actor import Actor, Deformation
from lib.data.synthetic.motion import Motion, Oscillation, Straight
from lib.data.synthetic.sprite import SpriteRecipe


def still_motion(x: float, y: float) -> Motion:
    return Motion(Straight(x, y, 0, 0, 0), Oscillation(np.random.default_rng(0), (0, 0, 0), (10, 10)))


def test_rows_and_columns_slide_no_farther_than_stated() -> None:
    """A vertical and a horizontal line: their pixels stay within the strength times half the side."""
    lines = np.zeros((61, 81, 1), np.uint8)
    lines[:, 40], lines[30] = 255, 255
    strength, moved = 0.3, 0.0
    deformation = Deformation(np.random.default_rng(1), strength)
    for time in range(0, 100, 7):
        bent = deformation.bend(lines, time)
        # Centred, and larger by the padding: 0.3 of half of either side.
        assert bent.shape == (61 + 2 * 10, 81 + 2 * 13)
        upper = np.nonzero(bent[10 + 3] > 100)[0]  # three rows below the upper border only the vertical line is met
        offsets = np.abs(upper - (40 + 13))
        assert len(upper) and offsets.max() <= strength * 81 / 2 + 1
        moved = max(moved, float(offsets.max()))
    assert moved > 2


def test_no_strength_leaves_the_picture_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    np.testing.assert_array_equal(Deformation(np.random.default_rng(1), 0.0).bend(picture, 17), picture)


@pytest.mark.parametrize("seed", range(8))
def test_a_soft_object_stays_within_its_reach_and_changes_its_outline(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actor = Actor(SpriteRecipe.draw(rng, 50, 40), still_motion(100, 90), Deformation(rng, 0.4))
    outlines = []
    for time in (0, 20, 45):
        layer = actor.layer(time, (0.0, 0.0))
        mask = np.zeros((200, 200), np.uint8)
        inside, where = layer.overlap((200, 200))
        mask[where] = layer.outline[inside]
        rows, columns = np.nonzero(mask)
        reach_x, reach_y = actor.reach(time)
        assert columns.min() >= 100 - reach_x and columns.max() < 100 + reach_x
        assert rows.min() >= 90 - reach_y and rows.max() < 90 + reach_y
        outlines.append(mask)
    assert (outlines[0] != outlines[1]).sum() > 20 and (outlines[1] != outlines[2]).sum() > 20


def test_the_label_follows_the_bent_outline_in_any_order() -> None:
    style = SceneStyle(target_side=(30, 40), deformation=0.3)
    forward, backward = Scene.from_seed(5, style), Scene.from_seed(5, style)
    labels = {time: forward.render(time).label for time in (0, 33, 66, 99)}
    for time in (99, 33, 66, 0):
        np.testing.assert_array_equal(backward.label(time).mask, labels[time].mask)
