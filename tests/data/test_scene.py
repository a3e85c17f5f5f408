"""Drawn frames and labels: exact, pure, and within their bounds."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lib.data.crop import Rectangle
from lib.data.synthetic import Scene, SceneStyle
from lib.data.synthetic.actor import Actor
from lib.data.synthetic.cast import Cast, draw_cast
from lib.data.synthetic.looks import DrawnLooks
from lib.data.synthetic.motion import Attached, Excursion, Motion, Oscillation, Straight, Wander
from lib.data.synthetic.sprite import SpriteRecipe

PLAIN = SceneStyle(motion_blur_probability=0, defocus_probability=0, noise=0)
STILL = replace(PLAIN, difficulty=0)
WHOLE = Rectangle(0, 0, 256, 192)
RECIPE = SpriteRecipe(shape_seed=3, texture_seed=4, palette_seed=5, width=37, height=29)


def _actor(x: float, y: float, recipe: SpriteRecipe = RECIPE) -> Actor:
    """An object that stands still, upright."""
    rng = np.random.default_rng(0)
    return Actor(recipe, Motion(Straight(x, y, 0, 0, 0), Oscillation(rng, (0, 0, 0), (10, 10))))


def _staged(target: Actor, *front: Actor) -> Scene:
    """A scene with the given objects, under a still camera."""
    scene = Scene.from_seed(1, STILL)
    scene._cast = Cast((), target, front)
    return scene


def _tight_box_xywh(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def test_the_box_is_where_and_as_large_as_stated() -> None:
    """This outline is round and touches all four sides of its rectangle, so the box is the rectangle."""
    label = _staged(_actor(100, 90, replace(RECIPE, shape_seed=23))).label(0)
    assert label.visibility == 1 and label.visible
    np.testing.assert_array_equal(label.box_xywh, _tight_box_xywh(label.mask))
    left, top, width, height = label.box_xywh
    assert (left + width / 2, top + height / 2) == pytest.approx((100, 90), abs=0.75)
    assert (width, height) == pytest.approx((37, 29), abs=2)


def test_a_target_half_outside_has_the_cut_box_and_the_inside_share() -> None:
    whole = _staged(_actor(100, 90)).label(0).mask
    moved = np.zeros_like(whole)
    moved[:, :-100] = whole[:, 100:]  # the same pixels 100 px farther left; the frame's border cuts them
    assert 0 < moved.sum() < whole.sum()
    label = _staged(_actor(0, 90)).label(0)
    np.testing.assert_array_equal(label.mask, moved)
    np.testing.assert_array_equal(label.box_xywh, _tight_box_xywh(moved))
    assert label.visibility == moved.sum() / whole.sum()


def test_a_hidden_part_counts_in_the_box_but_not_in_the_mask() -> None:
    whole = _staged(_actor(100, 90)).label(0).mask
    cover = np.roll(whole, (6, 11), axis=(0, 1))  # the same object, 11 px right and 6 px down
    label = _staged(_actor(100, 90), _actor(111, 96)).label(0)
    np.testing.assert_array_equal(label.mask, whole & ~cover)
    np.testing.assert_array_equal(label.box_xywh, _tight_box_xywh(whole))
    assert label.visibility == (whole & ~cover).sum() / whole.sum()


@pytest.mark.parametrize("scene", [_staged(_actor(100, 90), _actor(100, 90)), _staged(_actor(-60, 90))])
def test_a_target_that_cannot_be_seen_has_no_box(scene: Scene) -> None:
    label = scene.label(0)
    assert np.isnan(label.box_xywh).all()
    assert label.visibility == 0 and not label.visible and not label.mask.any()


def test_a_sliver_is_labelled_but_not_usable() -> None:
    scene = _staged(_actor(-15, 90))
    label = scene.label(0)
    assert 0 < label.visibility < 0.2 and np.isfinite(label.box_xywh).all()
    assert not label.visible and not scene.render(0).label.visible


@pytest.mark.parametrize("seed", [3, 9, 13, 22])
def test_the_mask_is_where_the_picture_shows_the_target(seed: int) -> None:
    """Take the target out of the scene: the picture changes on the mask, and nowhere else."""
    style = replace(PLAIN, distractor_probability=1, occlusion_probability=1)
    scene, without, unhidden = (Scene.from_seed(seed, style) for _ in range(3))
    without._cast = without._cast._replace(target=_actor(-999, -999))
    unhidden._cast = unhidden._cast._replace(front=())
    near = np.ones((7, 7), np.uint8)  # borders are smooth: up to three pixels on either side are blended
    shown, kept = [], []
    for index in range(0, 100, 3):
        frame = scene.render(index)
        changed = (frame.image != without.render(index).image).any(axis=-1)
        mask, outline = frame.label.mask, unhidden.label(index).mask
        assert not changed[cv2.dilate(outline.astype(np.uint8), near) == 0].any()
        shown.extend(changed[cv2.erode(mask.astype(np.uint8), near, borderValue=0) > 0])
        kept.extend(~changed[cv2.erode((outline & ~mask).astype(np.uint8), near, borderValue=0) > 0])
    # A pixel may have the background's colour by chance, and the thin seams of a cover let some light through.
    assert len(shown) > 1000 and np.mean(shown) > 0.9
    assert len(kept) > 50 and np.mean(kept) > 0.9


def test_frames_do_not_depend_on_the_order_of_asking() -> None:
    style = replace(SceneStyle(), distractor_probability=1, occlusion_probability=1, motion_blur_probability=1)
    forward, shuffled = Scene.from_seed((4, 2), style), Scene.from_seed((4, 2), style)
    frames = {index: forward.render(index) for index in range(0, 100, 10)}
    for index in (90, 10, 50, 0, 70):
        again = shuffled.render(index)
        assert _same(again.image, frames[index].image)
        assert _same(again.label.mask, frames[index].label.mask)
        assert _same(again.label.box_xywh, frames[index].label.box_xywh)


def test_pictures_and_boxes_are_of_the_stated_kind() -> None:
    style = SceneStyle(frame_size=(200, 301))
    for seed in range(20):
        frame = Scene.from_seed(seed, style).render(seed)
        assert frame.image.shape == (200, 301, 3) and frame.image.dtype == np.uint8
        assert frame.image.std() > 2
        if frame.label.visible:
            left, top, width, height = frame.label.box_xywh
            assert left >= 0 and top >= 0 and left + width <= 301 and top + height <= 200
            assert width >= 3 and height >= 3


def test_the_first_frame_shows_the_whole_target() -> None:
    style = replace(SceneStyle(), distractor_probability=1, occlusion_probability=1, leaving_probability=0.5)
    assert all(Scene.from_seed((9, seed), style).label(0).visibility == 1 for seed in range(150))
    # One large target in sixty would be cut if it were not moved inside.
    large = replace(style, target_side=(60, 64))
    for seed in range(600):
        target = draw_cast(np.random.default_rng(seed), large, 100, DrawnLooks()).target
        pose, (reach_x, reach_y) = target.motion.at(0), target.reach(0)
        assert reach_x <= pose.x <= 256 - reach_x and reach_y <= pose.y <= 192 - reach_y


def test_no_difficulty_means_nothing_in_the_way() -> None:
    for seed in range(10):
        scene = Scene.from_seed(seed, SceneStyle(difficulty=0))
        sides = []
        for index in range(0, 100, 20):
            label = scene.label(index)
            assert label.mask.any() and label.visibility > 0.5  # at most cut by the border
            sides.append(np.sqrt(label.mask.sum() / label.visibility))
        assert max(sides) / min(sides) < 1.05


def test_a_point_of_a_moving_object_turns_and_grows_with_it() -> None:
    rng = np.random.default_rng(0)
    still = Oscillation(rng, (0, 0, 0), (10, 10))
    moving = Motion(Straight(100, 50, 2, 0, 0), still, angle=np.pi / 2)
    # A quarter turn clockwise on the screen takes what lies right of the middle below it.
    assert Attached(moving, 10, 0).at(0) == pytest.approx((100, 60))
    assert Attached(moving, 0, 10).at(3) == pytest.approx((96, 50))
    growing = Motion(Straight(0, 0, 0, 0, 0), Oscillation(rng, (0.5, 0.3, 0), (10, 10)))
    pose = growing.at(4)
    assert Attached(growing, 10, 20).at(4) == pytest.approx((10 * pose.scale_x, 20 * pose.scale_y))


def test_a_carrier_moves_as_one_with_the_target_and_never_hides_it() -> None:
    style = SceneStyle(carrier_probability=1.0, distractor_probability=0, occlusion_probability=0)
    for seed in range(5):
        cast = draw_cast(np.random.default_rng(seed), style, 100, DrawnLooks())
        (carrier,) = cast.behind
        assert not cast.front
        places = []
        for time in (0, 20, 60, 99):
            own, its = cast.target.pose(time), carrier.pose(time)
            assert (its.angle, its.scale_x, its.scale_y) == (own.angle, own.scale_x, own.scale_y)
            # Where its middle lies, along the target's own axes.
            turn = np.array(((np.cos(own.angle), np.sin(own.angle)), (-np.sin(own.angle), np.cos(own.angle))))
            places.append(turn @ (its.x - own.x, its.y - own.y) / (own.scale_x, own.scale_y))
        np.testing.assert_allclose(places, [places[0]] * 4, atol=1e-9)


def test_a_background_that_follows_moves_most_of_the_target_s_way() -> None:
    style = replace(PLAIN, following_probability=1.0, camera_motion=0, illumination_change=0, occlusion_probability=0,
                    distractor_probability=0, leaving_probability=0)  # fmt: skip
    shares = []
    for seed in range(6):
        scene = Scene.from_seed(seed, style)
        frames = [
            scene._backdrop.render(time, WHOLE, scene._drift(time))[..., 1].astype(np.float32) for time in (0, 15)
        ]
        moved, _ = cv2.phaseCorrelate(frames[0], frames[1])
        poses = [scene._cast.target.pose(time) for time in (0, 15)]
        way = np.array((poses[1].x - poses[0].x, poses[1].y - poses[0].y))
        if np.hypot(*way) > 8:
            shares.append(moved @ way / (way @ way))
    assert len(shares) >= 3
    assert min(shares) > 0.65 and max(shares) < 1.05


def test_objects_are_as_elongated_as_stated() -> None:
    for stretch in (0.0, 0.4, 0.6):
        style = SceneStyle(stretch=stretch, target_side=(20, 40), distractor_probability=0, occlusion_probability=0)
        casts = [draw_cast(np.random.default_rng(seed), style, 100, DrawnLooks()) for seed in range(60)]
        logs = [np.log(cast.target._recipe.width / cast.target._recipe.height) / 2 for cast in casts]
        assert np.abs(logs).max() <= stretch + 1e-9
        assert np.abs(logs).max() >= 0.9 * stretch


def test_a_difficulty_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"difficulty = 1\.5"):
        SceneStyle(difficulty=1.5)


def test_a_sprite_fills_its_rectangle_and_is_premultiplied() -> None:
    for seed in range(30):
        recipe = SpriteRecipe.draw(np.random.default_rng(seed), 40, 30)
        sprite = recipe.picture()
        alpha = sprite[..., 3]
        assert sprite.shape == (36, 46, 4)
        assert (sprite[..., :3].max(axis=-1) <= alpha).all()
        left, top, width, height = _tight_box_xywh(alpha)
        assert left >= 1 and top >= 1 and left + width <= 45 and top + height <= 35  # nothing is cut off
        assert width > 20 and height > 15


def test_a_lookalike_keeps_the_outline_and_changes_the_colours() -> None:
    rng = np.random.default_rng(1)
    for seed in range(10):
        recipe = SpriteRecipe.draw(np.random.default_rng(seed), 40, 30)
        own, other = recipe.picture(), recipe.lookalike(rng).picture()
        np.testing.assert_array_equal(own[..., 3], other[..., 3])
        assert not np.array_equal(own, other)


def test_an_oscillation_stays_within_its_amplitudes_and_uses_them() -> None:
    amplitudes = np.array((3.0, 0.5))
    oscillation = Oscillation(np.random.default_rng(2), amplitudes.tolist(), (20, 30))
    values = np.abs([oscillation.at(time) for time in range(2000)])
    assert (values <= amplitudes).all()
    assert (values.max(axis=0) > 0.6 * amplitudes).all()


def test_an_excursion_is_elsewhere_between_its_ramps_only() -> None:
    offsets = [Oscillation(np.random.default_rng(seed), (reach,), (30, 30)) for seed, reach in enumerate((20, 9))]
    way = Wander(50, 60, *offsets)
    trip = Excursion(way, -40, 70, start=20, stop=60, ramp=10)
    for time_inside in (0, 5, 20, 60, 80):
        assert trip.at(time_inside) == pytest.approx(way.at(time_inside))
    for time_away in (30, 40, 50):
        assert trip.at(time_away) == pytest.approx((-40, 70))
