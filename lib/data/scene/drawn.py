"""The look of a scene that is drawn from seeds alone: objects, and the ground they move over."""

import math

import cv2
import numpy as np

from lib.data.scene.looks import Plane
from lib.data.scene.shape import draw_shape
from lib.data.scene.sprite import SpriteRecipe
from lib.data.scene.texture import colourise, noise_field, palettes

# The plane is wider than the frame, and coarser: a background is less sharp than what the camera follows.
_MARGIN = 1.35
_PIXEL = 1.35
_MATERIAL = 64


class DrawnLooks:
    """Objects and background of no photograph; see `looks.Looks`."""

    def recipe(self, rng: np.random.Generator, width: float, height: float) -> SpriteRecipe:
        return SpriteRecipe.draw(rng, width, height)

    def plane(self, rng: np.random.Generator, frame_size: tuple[int, int], detail: float) -> Plane:
        height, width = frame_size
        rows, columns = round(height * _MARGIN / _PIXEL), round(width * _MARGIN / _PIXEL)
        return Plane(_draw_plane(rng, rows, columns, detail), _PIXEL)


def _draw_plane(rng: np.random.Generator, height: int, width: int, detail: float) -> np.ndarray:
    """Draw ground, often a second region, and clutter, as (H, W, 4) uint8.

    One noise field is coloured by up to four palettes: its values fill a quarter of the range of a byte, and the two
    high bits say which material a pixel is made of.
    """
    field = noise_field(rng, height, width, rng.uniform(0.4, 0.4 + 0.45 * detail), top=_MATERIAL - 1)
    material = np.zeros((height, width), np.uint8)
    if rng.random() < 0.55:
        cv2.fillConvexPoly(material, _region(rng, height, width), _MATERIAL)
    clutter: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for _ in range(int(rng.integers(0, 1 + round(8 * detail)))):
        side = math.exp(rng.uniform(2.3, 4.4)) / _PIXEL
        centre = rng.random(2) * (width, height)
        for index, outline in enumerate(draw_shape(rng)):
            clutter[index % 2].append((outline * (side / 2) + centre).astype(np.int32))
    for index, outlines in enumerate(clutter):
        for outline in outlines:
            cv2.fillPoly(material, [outline], _MATERIAL * (2 + index))
    colours = palettes(rng, 256 // _MATERIAL, _MATERIAL).reshape(256, 3)
    return colourise(cv2.add(field, material), colours)


def _region(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw what lies beyond a horizon, or a band such as a road or a wall, as the corners of a convex polygon."""
    angle = rng.normal(0, 0.35) + (math.pi / 2 if rng.random() < 0.3 else 0)
    along = np.array((math.cos(angle), math.sin(angle)))
    across = np.array((-along[1], along[0]))
    far = 2.0 * (height + width)
    middle = np.array((width, height)) / 2 + across * (rng.uniform(-0.25, 0.25) * height)
    depth = far if rng.random() < 0.6 else rng.uniform(0.15, 0.5) * height
    near_edge = middle - along * far, middle + along * far
    return np.array((*near_edge, near_edge[1] + across * depth, near_edge[0] + across * depth)).astype(np.int32)
