"""Augmentation keeps labels on the target."""

import numpy as np
import pytest

from lib.data.samples.augment import flip_crop, flip_crop_box, jitter_box, scale_brightness, to_grayscale


def bright_box(crop: np.ndarray) -> np.ndarray:
    """Return the box of the bright pixels, in fractions of the crop."""
    rows, columns = np.nonzero(crop.max(axis=2) > 100)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / crop.shape[0]


def test_flip_keeps_the_label_on_the_target():
    crop = np.zeros((64, 64, 3), dtype=np.uint8)
    crop[10:20, 4:30] = 255
    flipped_box = flip_crop_box(bright_box(crop))
    np.testing.assert_allclose(flipped_box, bright_box(flip_crop(crop)))
    np.testing.assert_allclose(flipped_box, [34 / 64, 10 / 64, 60 / 64, 20 / 64])


def test_flipping_twice_restores():
    crop = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    box = np.array([0.1, 0.2, 0.4, 0.9])
    np.testing.assert_array_equal(flip_crop(flip_crop(crop)), crop)
    np.testing.assert_allclose(flip_crop_box(flip_crop_box(box)), box)


def test_jitter_follows_its_formula():
    box = np.array([100.0, 50.0, 16.0, 4.0])
    rng = np.random.default_rng(5)
    jittered = jitter_box(box, np.random.default_rng(5), center_jitter=3.0, scale_jitter=0.25)
    width, height = 16 * np.exp(rng.standard_normal() * 0.25), 4 * np.exp(rng.standard_normal() * 0.25)
    center_x = 108 + np.sqrt(width * height) * 3 * (rng.random() - 0.5)
    center_y = 52 + np.sqrt(width * height) * 3 * (rng.random() - 0.5)
    np.testing.assert_allclose(jittered, [center_x - width / 2, center_y - height / 2, width, height])


def test_no_jitter_draws_nothing():
    rng = np.random.default_rng(7)
    box = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(jitter_box(box, rng, 0.0, 0.0), box)
    assert rng.random() == np.random.default_rng(7).random()


def test_brightness_saturates_instead_of_wrapping():
    crop = np.array([[[10, 100, 250]]], dtype=np.uint8)
    assert scale_brightness(crop, 1.2)[0, 0].tolist() == [12, 120, 255]


def test_grayscale_has_equal_channels_and_keeps_luminance():
    crop = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    gray = to_grayscale(crop)
    assert (gray[..., 0] == gray[..., 1]).all() and (gray[..., 1] == gray[..., 2]).all()
    assert gray[..., 0] == pytest.approx(crop @ [0.299, 0.587, 0.114], abs=1)
