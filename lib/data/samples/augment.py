"""Random changes to boxes and crops; every function takes its randomness as an argument."""

import math

import cv2
import numpy as np


def jitter_box(box_xywh: np.ndarray, rng: np.random.Generator, center_jitter: float, scale_jitter: float) -> np.ndarray:
    """Move and scale the box that a crop is centred on, so that the target is not always in its middle.

    Args:
        box_xywh: (4,) in pixels of the frame, with positive sides.
        center_jitter: range of the centre's shift, in units of the jittered box's sqrt(area).
        scale_jitter: standard deviation of the logarithm of each side.

    Returns:
        (4,) box; nothing is drawn from `rng` for a jitter of zero.

    Source: Bhat et al., "Learning Discriminative Model Prediction for Tracking" (DiMP), 2019, training details.
    """
    left, top, width, height = box_xywh.tolist()
    center_x, center_y = left + width / 2, top + height / 2
    if scale_jitter > 0:
        width *= math.exp(rng.standard_normal() * scale_jitter)
        height *= math.exp(rng.standard_normal() * scale_jitter)
    if center_jitter > 0:
        reach = math.sqrt(width * height) * center_jitter
        center_x += reach * (rng.random() - 0.5)
        center_y += reach * (rng.random() - 0.5)
    return np.array((center_x - width / 2, center_y - height / 2, width, height), dtype=np.float64)


def flip_crop(crop: np.ndarray) -> np.ndarray:
    """Mirror an (S, S, 3) crop left to right."""
    return cv2.flip(crop, 1)


def flip_crop_box(crop_box_xyxy: np.ndarray) -> np.ndarray:
    """Mirror a (4,) box in fractions of the crop; exact, since a crop covers [0, 1] continuously."""
    left, top, right, bottom = crop_box_xyxy
    return np.array((1 - right, top, 1 - left, bottom), dtype=crop_box_xyxy.dtype)


def to_grayscale(crop: np.ndarray) -> np.ndarray:
    """Replace the colours of an (S, S, 3) uint8 RGB crop by their luminance."""
    return cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def scale_brightness(crop: np.ndarray, factor: float) -> np.ndarray:
    """Multiply an (S, S, 3) uint8 crop by a factor, saturating at 255."""
    return cv2.convertScaleAbs(crop, alpha=factor)
