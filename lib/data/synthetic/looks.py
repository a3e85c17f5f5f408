"""Where the pictures of a scene come from: drawn from seeds here, or cut from photographs; and its backdrop."""

import math
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from lib.data.crop import Rectangle
from lib.data.synthetic.motion import Oscillation
from lib.data.synthetic.sprite import SpriteRecipe, colourise, draw_shape, noise_field, palettes
from lib.data.synthetic.style import SHAKE, SceneStyle

# The plane is wider than the frame, and coarser: a background is less sharp than what the camera follows.
_MARGIN = 1.35
_PIXEL = 1.35
_MATERIAL = 64


class Recipe(Protocol):
    """What the picture of one object is made from; cheap to make and to copy, as many objects are never seen."""

    @property
    def width(self) -> float:
        """Width of the rectangle that the object's outline lies in, in pixels."""
        ...

    @property
    def height(self) -> float:
        """Height of that rectangle in pixels."""
        ...

    def lookalike(self, rng: np.random.Generator) -> "Recipe":
        """Draw an object that is easily mistaken for this one."""
        ...

    def sized(self, width: float, height: float) -> "Recipe":
        """Return the same object at another size."""
        ...

    def picture(self) -> np.ndarray:
        """Make the picture, (H, W, 4) uint8: red, green and blue multiplied by alpha, then alpha.

        The rectangle lies in its middle, surrounded by a margin of `sprite.MARGIN` clear pixels into which a smooth
        border may reach.
        """
        ...


class Plane(NamedTuple):
    """The picture before which a scene plays, wider than the frame.

    Attributes:
        picture: (H, W, 4) uint8 RGB and a fourth channel of no meaning (OpenCV warps four channels faster).
        pixel: side of one of its pixels, in pixels of the frame.
    """

    picture: np.ndarray
    pixel: float


class Looks(Protocol):
    """The look of everything in one scene."""

    def recipe(self, rng: np.random.Generator, width: float, height: float) -> Recipe:
        """Draw an object of its own kind."""
        ...

    def plane(self, rng: np.random.Generator, frame_size: tuple[int, int], detail: float) -> Plane:
        """Draw the background of a frame of (height, width); a detail of 0 leaves it smooth, 1 is all there is."""
        ...


class Backdrop:
    """A textured plane, wider than the frame, seen by a camera that pans, zooms and rolls."""

    def __init__(self, rng: np.random.Generator, style: SceneStyle, looks: Looks) -> None:
        height, width = style.frame_size
        self._frame_size = style.frame_size
        self._plane = looks.plane(rng, style.frame_size, style.background_detail)
        motion = style.camera_motion
        # Pan in x and y (the picture is mirrored beyond its borders), log zoom, roll.
        reach = (width * 0.5, height * 0.35, 0.14, 0.12)
        amplitudes = [motion * most * share**1.5 for most, share in zip(reach, rng.random(4).tolist(), strict=True)]
        self._camera = Oscillation(rng, amplitudes, (90, 220))
        self._shake = Oscillation(rng, [SHAKE * min(motion, 1) * rng.random() ** 2] * 2, (6, 14), waves=2)

    def shake(self, time: float) -> tuple[float, float]:
        """Return the tremble of the hand, which moves everything in the frame, in pixels."""
        x, y = self._shake.at(time)
        return x, y

    def render(self, time: float, part: Rectangle, drift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """Return a part of the empty scene, (h, w, 4) uint8; the fourth channel means nothing (four are warped faster).

        Args:
            time: in frames.
            part: which pixels of the frame.
            drift: how far the scene has moved right and down in the frame beside the camera's own motion, in pixels.
        """
        height, width = self._frame_size
        pan_x, pan_y, log_zoom, roll = self._camera.at(time)
        shake_x, shake_y = self.shake(time)
        picture, pixel = self._plane
        scale = math.exp(log_zoom) / pixel
        step_x, step_y = scale * math.cos(roll), scale * math.sin(roll)
        rows, columns = picture.shape[:2]
        # From pixels of the part to pixels of the picture, about the middle of both.
        x, y = (width - 1) / 2 + shake_x + drift[0] - part.left, (height - 1) / 2 + shake_y + drift[1] - part.top
        matrix = np.array(
            (
                (step_x, -step_y, (columns - 1) / 2 + pan_x / pixel - step_x * x + step_y * y),
                (step_y, step_x, (rows - 1) / 2 + pan_y / pixel - step_y * x - step_x * y),
            )
        )
        return cv2.warpAffine(
            picture,
            matrix,
            (part.right - part.left, part.bottom - part.top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )


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
