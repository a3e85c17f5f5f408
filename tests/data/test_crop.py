"""The crop window: exact inverse, exact labels, black outside the frame."""

import math

import cv2
import numpy as np
import pytest

from lib.data.crop import AveragedWindow, CropWindow, WholePixelWindow

WIDTH, HEIGHT = 200, 120

# Inside, across each border, on each corner, larger than the frame.
PLACES = {
    "inside": (90, 50, 20, 16), "left": (-8, 50, 20, 16), "right": (190, 50, 20, 16), "top": (90, -9, 20, 16),
    "bottom": (90, 112, 20, 16), "corner": (192, 113, 30, 30), "larger": (-40, -30, 300, 200),
    "far outside": (500, -300, 10, 10),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_round_trip_is_exact(place):
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = np.array(PLACES[place], dtype=np.float64) + rng.normal(size=4)
        window = CropWindow.around(box + rng.normal(size=4) * 0.3, factor=float(rng.uniform(1, 6)), size=128)
        np.testing.assert_allclose(window.to_image(window.to_crop(box)), box, atol=1e-6, rtol=0)


def test_window_has_the_stated_side_and_centre():
    window = CropWindow.around(np.array([10.0, 20.0, 9.0, 4.0]), factor=4.0, size=64)
    assert window.side == pytest.approx(4 * 6)
    np.testing.assert_allclose(window.to_crop(np.array([14.5 - 12, 22.0 - 12, 24.0, 24.0])), [0, 0, 1, 1], atol=1e-12)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, float("nan"), 5), (float("inf"), 0, 5, 5)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(ValueError, match="cannot centre a crop"):
        CropWindow.around(np.array(box, dtype=np.float64), 2.0, 64)


def test_pixels_land_where_labels_say():
    """A bright rectangle is found in the crop where `to_crop` puts its box, to a tenth of a pixel."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        left, top = (int(value) for value in rng.integers(20, 60, size=2))
        width, height = (int(value) for value in rng.integers(16, 40, size=2))
        image = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        image[top : top + height, left : left + width] = 200
        box = np.array([left, top, width, height], dtype=np.float64)
        window = CropWindow.around(box + rng.uniform(-6, 6, size=4), factor=3.0, size=128)
        crop = window.cut(image).astype(np.float64)
        columns, rows = crop.sum(axis=0), crop.sum(axis=1)
        centre = [((np.arange(128) + 0.5) * share).sum() / share.sum() for share in (columns, rows)]
        expected = window.to_crop(box) * 128
        assert centre[0] == pytest.approx((expected[0] + expected[2]) / 2, abs=0.1)
        assert centre[1] == pytest.approx((expected[1] + expected[3]) / 2, abs=0.1)
        area = crop.sum() / 200
        assert area == pytest.approx((expected[2] - expected[0]) * (expected[3] - expected[1]), rel=0.02)


def test_outside_the_frame_is_black():
    image = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    crop = CropWindow.around(np.array([-20.0, 50.0, 20.0, 20.0]), factor=2.0, size=64).cut(image)
    assert crop[:, :46].max() == 0
    assert crop[:, 50:].min() == 255


def test_crop_at_scale_one_is_the_frame_itself():
    image = np.random.default_rng(2).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    crop = CropWindow(left=30, top=20, side=64, size=64).cut(image)
    np.testing.assert_array_equal(crop, image[20:84, 30:94])


def test_crop_agrees_with_resizing_the_window():
    image = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 3)
    crop = CropWindow(left=40, top=30, side=32, size=64).cut(image)
    resized = cv2.resize(image[30:62, 40:72], (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(crop.astype(int) - resized)[2:-2, 2:-2].max() <= 2


@pytest.mark.parametrize(("left", "share"), [(10.0, 1.0), (-16.0, 0.5), (-40.0, 0.0)])
def test_covered_share(left, share):
    assert CropWindow(left, 10.0, 32.0, 64).covers_frame_share(HEIGHT, WIDTH) == pytest.approx(share)


@pytest.mark.parametrize("place", PLACES)
def test_a_window_of_whole_pixels_copies_them(place):
    """At a size equal to its side nothing is interpolated: pixels are the frame's, black outside."""
    image = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    box = np.array(PLACES[place]) + np.array((0.3, 0.6, 0.2, -0.4))
    side = math.ceil(2.0 * math.sqrt(box[2] * box[3]))
    window = WholePixelWindow.around(box, 2.0, side)
    left, top = round(box[0] + box[2] / 2 - side / 2), round(box[1] + box[3] / 2 - side / 2)
    crop = window.cut(image)
    # Where the window crosses the right or lower border, the frame's last column or row is black, too.
    right, bottom = (limit - (first + side >= limit) for first, limit in ((left, WIDTH), (top, HEIGHT)))
    for row, column in np.random.default_rng(1).integers(0, side, (500, 2)):
        y, x = top + row, left + column
        inside = 0 <= y < bottom and 0 <= x < right
        assert (crop[row, column] == (image[y, x] if inside else 0)).all()
    assert window.side == side and window.left + side / 2 == pytest.approx(box[0] + box[2] / 2)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (-21, 10), (100.5, 81.25), (-300, -300)])
def test_an_averaged_window_skips_no_pixel(left, top):
    """Stripes of one pixel come out grey, and a ramp stays where it is; a crop that is not coarser is the same."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ramp = (rows + columns * 0.5).astype(np.float32)
    window = AveragedWindow(left, top, 100, 24)
    inside = CropWindow(left, top, 100, 24).cut(np.ones((HEIGHT, WIDTH), np.float32)) == 1
    inside &= AveragedWindow(left, top, 100, 24).cut(np.ones((HEIGHT, WIDTH), np.float32)) == 1
    stripes = window.cut((columns % 2 * 255).astype(np.float32))
    np.testing.assert_allclose(stripes[inside], 127.5, atol=0.01)
    np.testing.assert_allclose(window.cut(ramp)[inside], CropWindow(left, top, 100, 24).cut(ramp)[inside], atol=0.05)
    finer = (left, top, 100, 64)
    np.testing.assert_array_equal(AveragedWindow(*finer).cut(ramp), CropWindow(*finer).cut(ramp))
