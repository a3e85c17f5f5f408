"""How a soft object changes its outline: its rows of pixels slide sideways, its columns up and down."""

import math

import cv2
import numpy as np

from lib.data.scene.motion import Oscillation

# Shares of a lean, and of two waves across the object; together 1, so the slide stays within the strength.
_LEAN, _WAVE = 0.4, 0.3
_PERIODS = (25, 90)


class Deformation:
    """Slides of rows and columns that change with time: the linear part is shear, the rest bends."""

    def __init__(self, rng: np.random.Generator, strength: float) -> None:
        """Draw the course of the changes.

        Args:
            rng: their source.
            strength: largest slide, as a share of half the object's side; 0 leaves it rigid.
        """
        self.strength = strength
        self._slides = Oscillation(rng, [strength * share for share in (_LEAN, _WAVE, _WAVE) * 2], _PERIODS)

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and the columns by which a picture grows on either side."""
        return math.ceil(self.strength * height / 2), math.ceil(self.strength * width / 2)

    def bend(self, picture: np.ndarray, time: float) -> np.ndarray:
        """Return an (H, W, C) picture as it is at a time in frames, with clear padding on all sides."""
        height, width = picture.shape[:2]
        pad_y, pad_x = self.padding(height, width)
        slides = self._slides.at(time)
        # From pixels of the bent picture to pixels of the straight one.
        y, x = np.mgrid[-pad_y : height + pad_y, -pad_x : width + pad_x].astype(np.float32)
        x += _slide(slides[:3], height, pad_y)[:, None] * np.float32(width / 2)
        y += _slide(slides[3:], width, pad_x) * np.float32(height / 2)
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0))


def _slide(weights: list[float], length: int, padding: int) -> np.ndarray:
    """Return how far each of `length + 2 * padding` lines slides, in shares of half the other side."""
    lean, wave, bow = weights
    # -1 to 1 over the picture; lines of the padding slide as the border does.
    place = (np.arange(-padding, length + padding, dtype=np.float32) * (2 / max(1, length - 1)) - 1).clip(-1, 1)
    return np.float32(lean) * place + np.float32(wave) * np.sin(np.pi * place) + np.float32(bow) * np.cos(np.pi * place)
