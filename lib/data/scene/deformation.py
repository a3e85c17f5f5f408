"""How a soft object changes its outline: its rows of pixels slide sideways, its columns up and down."""

import math
from functools import lru_cache

import cv2
import numpy as np

from lib.data.scene.motion import Oscillation

# Shares of a lean, and of two waves across the object; together 1, so the slide stays within the strength.
_SHARES = (0.4, 0.3, 0.3)
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
        self._slides = Oscillation(rng, [strength * share for share in _SHARES * 2], _PERIODS)

    def bend(self, picture: np.ndarray, time: float) -> np.ndarray:
        """Return an (H, W, C) picture as it is at a time in frames, in its middle, with clear padding on all sides."""
        height, width = picture.shape[:2]
        pad_y, pad_x = math.ceil(self.strength * height / 2), math.ceil(self.strength * width / 2)
        slides = np.array(self._slides.at(time), dtype=np.float32)
        # From pixels of the bent picture to pixels of the straight one.
        rows, columns = _waves(height, pad_y), _waves(width, pad_x)
        x = np.add.outer(slides[:3] @ rows * np.float32(width / 2), _places(width, pad_x))
        y = np.add.outer(_places(height, pad_y), slides[3:] @ columns * np.float32(height / 2))
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0))


@lru_cache(maxsize=512)
def _places(length: int, padding: int) -> np.ndarray:
    """Return the coordinates of a line's pixels, its padding's included."""
    return np.arange(-padding, length + padding, dtype=np.float32)


@lru_cache(maxsize=512)
def _waves(length: int, padding: int) -> np.ndarray:
    """Return (3, length + 2 * padding) float32: a lean and two waves over the length, within [-1, 1]."""
    # Lines of the padding slide as the border does.
    place = (_places(length, padding) * (2 / max(1, length - 1)) - 1).clip(-1, 1)
    return np.stack((place, np.sin(np.pi * place), np.cos(np.pi * place))).astype(np.float32)
