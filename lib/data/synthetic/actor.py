"""One object in motion, how it deforms, and its place in the frame's pixel grid."""

import math
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.crop import Rectangle
from lib.data.synthetic.looks import Recipe
from lib.data.synthetic.motion import Motion, Oscillation, Pose
from lib.data.synthetic.sprite import MARGIN

_SHUTTER = 0.5  # share of the time between two frames during which light falls on the sensor
_OPAQUE = 128
_SLACK = 8  # px: the shake, and the motion while the shutter is open
_KEPT = 3  # layers: a training sample asks for the labels of three frames, then for their pictures
_Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]
_Window = tuple[int, int, int, int]
# Shares of a lean, and of two waves across the object; together 1, so the slide stays within the strength.
_SHARES = (0.4, 0.3, 0.3)
_PERIODS = (25, 90)


class Layer(NamedTuple):
    """A sprite warped into its own small window of the frame's pixel grid.

    Attributes:
        left, top: corner of the window in the frame; may lie outside.
        picture: (h, w, 4) uint8, colours multiplied by alpha, then alpha.
    """

    left: int
    top: int
    picture: np.ndarray

    @property
    def outline(self) -> np.ndarray:
        """(h, w) uint8: 1 in the pixels that the object covers by half or more, else 0."""
        return cv2.threshold(cv2.extractChannel(self.picture, 3), _OPAQUE - 1, 1, cv2.THRESH_BINARY)[1]

    def overlap(self, frame_size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the part that lies in a frame: rows and columns of the layer, rows and columns of the frame."""
        rows, columns = self.picture.shape[:2]
        top, left = max(self.top, 0), max(self.left, 0)
        bottom = max(top, min(self.top + rows, frame_size[0]))
        right = max(left, min(self.left + columns, frame_size[1]))
        inside = (slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left))
        return inside, (slice(top, bottom), slice(left, right))

    def paint(self, canvas: np.ndarray, left: int, top: int) -> None:
        """Lay the object over an (h, w, 4) uint8 canvas, in place; the canvas' corner lies at `left`, `top`."""
        placed = self._replace(left=self.left - left, top=self.top - top)
        inside, where = placed.overlap((canvas.shape[0], canvas.shape[1]))
        picture = self.picture[inside]
        if picture.size == 0:
            return
        clear = cv2.bitwise_not(cv2.extractChannel(picture, 3))
        under = canvas[where]
        kept = cv2.multiply(under, cv2.merge((clear, clear, clear, clear)), scale=1 / 255)
        cv2.add(kept, picture, under)


class Deformation:
    """Slides of rows and columns that change with time: the linear part is shear, the rest bends."""

    def __init__(self, rng: np.random.Generator, strength: float) -> None:
        """Draw the course of the changes; `strength`: largest slide, as a share of half the side; 0: rigid."""
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


class Actor:
    """An object in motion. Its picture is drawn when it first comes into view."""

    def __init__(self, recipe: Recipe, motion: Motion, deformation: Deformation | None = None) -> None:
        self.motion = motion
        self._recipe = recipe
        self._deformation = deformation
        self._poses: dict[float, Pose] = {}  # of the times asked for: one frame asks several times
        self._layers: dict[tuple[float, tuple[float, float]], Layer] = {}  # the last: label and picture share them

    def pose(self, time: float) -> Pose:
        """Return where it stands at a time in frames."""
        pose = self._poses.get(time)
        if pose is None:
            pose = self._poses[time] = self.motion.at(time)
        return pose

    def reach(self, time: float) -> tuple[float, float]:
        """Return how far right (and left) and how far down (and up) of its centre the object can extend, in pixels."""
        pose = self.pose(time)
        cosine, sine = abs(math.cos(pose.angle)), abs(math.sin(pose.angle))
        half_width, half_height = self._half_sides(pose)
        return cosine * half_width + sine * half_height, sine * half_width + cosine * half_height

    def touches(self, other: "Actor", time: float) -> bool:
        """Tell whether the two objects could overlap, on the safe side."""
        own, its = self.pose(time), other.pose(time)
        return math.hypot(own.x - its.x, own.y - its.y) < self._radius(own) + other._radius(its)

    def in_view(self, time: float, part: Rectangle, blurred: bool = False) -> bool:
        """Tell whether any pixel of `layer` could lie in a part of the frame, on the safe side."""
        pose = self.pose(time)
        # It may turn, too, while the shutter is open.
        reach_x, reach_y = (self._radius(pose),) * 2 if blurred else self.reach(time)
        across = part.left - reach_x - _SLACK < pose.x < part.right + reach_x + _SLACK
        return across and part.top - reach_y - _SLACK < pose.y < part.bottom + reach_y + _SLACK

    def layer(self, time: float, shift: tuple[float, float], blurred: bool = False) -> Layer:
        """Warp the object into the frame's pixel grid.

        Args:
            time: in frames.
            shift: the camera's shake, subtracted from the centre.
            blurred: average over the time the shutter is open; the outline is then no longer that of one moment.
        """
        if not blurred:
            layer = self._layers.get((time, shift))
            if layer is None:
                layer = self._layers[time, shift] = _warp(self._sprite_at(time), self._matrix(time, shift))
                if len(self._layers) > _KEPT:
                    del self._layers[next(iter(self._layers))]
            return layer
        sprite = self._sprite_at(time)
        before, middle, after = (self._matrix(time + offset, shift) for offset in (-_SHUTTER / 2, 0, _SHUTTER / 2))
        lefts, tops, rights, bottoms = zip(
            *(_window(sprite, matrix) for matrix in (before, middle, after)), strict=True
        )
        window = min(lefts), min(tops), max(rights), max(bottoms)
        ends = cv2.addWeighted(_warp(sprite, before, window).picture, 0.5, _warp(sprite, after, window).picture, 0.5, 0)
        picture = cv2.addWeighted(ends, 2 / 3, _warp(sprite, middle, window).picture, 1 / 3, 0)
        return Layer(window[0], window[1], picture)

    @cached_property
    def _sprite(self) -> np.ndarray:
        return self._recipe.picture()

    def _sprite_at(self, time: float) -> np.ndarray:
        if self._deformation is None:
            return self._sprite
        return self._deformation.bend(self._sprite, time)

    def _radius(self, pose: Pose) -> float:
        return math.hypot(*self._half_sides(pose)) + 2

    def _half_sides(self, pose: Pose) -> tuple[float, float]:
        """Return half the width and height of the sprite in the frame, its margin included, before it is turned."""
        stretch = 1.0 if self._deformation is None else 1 + self._deformation.strength
        half_width = (self._recipe.width / 2 + MARGIN + 1) * stretch
        half_height = (self._recipe.height / 2 + MARGIN + 1) * stretch
        return half_width * pose.scale_x, half_height * pose.scale_y

    def _matrix(self, time: float, shift: tuple[float, float]) -> _Matrix:
        """Return the map from the sprite, about its middle, to the frame, in continuous coordinates."""
        pose = self.pose(time)
        cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
        return (
            (cosine * pose.scale_x, -sine * pose.scale_y, pose.x - shift[0]),
            (sine * pose.scale_x, cosine * pose.scale_y, pose.y - shift[1]),
        )


def _window(sprite: np.ndarray, matrix: _Matrix) -> _Window:
    """Return left, top, right, bottom of the pixels that the sprite can reach."""
    height, width = sprite.shape[:2]
    (xx, xy, x), (yx, yy, y) = matrix
    reach_x, reach_y = (abs(xx) * width + abs(xy) * height) / 2, (abs(yx) * width + abs(yy) * height) / 2
    return math.floor(x - reach_x), math.floor(y - reach_y), math.ceil(x + reach_x), math.ceil(y + reach_y)


def _warp(sprite: np.ndarray, matrix: _Matrix, window: _Window | None = None) -> Layer:
    left, top, right, bottom = _window(sprite, matrix) if window is None else window
    height, width = sprite.shape[:2]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    (xx, xy, x), (yx, yy, y) = matrix
    # OpenCV counts from the centres of pixels, in the sprite and in the window.
    centred = np.array(
        (
            (xx, xy, x - left - 0.5 - xx * middle_x - xy * middle_y),
            (yx, yy, y - top - 0.5 - yx * middle_x - yy * middle_y),
        )
    )
    return Layer(left, top, cv2.warpAffine(sprite, centred, (right - left, bottom - top)))


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
