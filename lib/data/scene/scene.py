"""One drawn video: every frame and label is a function of the seed and the time alone."""

import math
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.scene.backdrop import Backdrop
from lib.data.scene.motion import Companion, Excursion, Motion, Oscillation, Path, Pose, Straight, Wander
from lib.data.scene.sprite import SpriteRecipe, draw_sprite
from lib.data.scene.style import SceneStyle

_SHUTTER = 0.5
_GRAIN_SHIFT = 64
_OPAQUE = 128
_USABLE_VISIBILITY = 0.2
_USABLE_SIDE = 3.0


class Label(NamedTuple):
    """What is true of the target in one frame.

    Attributes:
        box_xywh: (4,) float64, tight around the outline's pixels inside the frame, hidden ones included; nan when
            no pixel of the target can be seen.
        visibility: seen pixels / all pixels of the outline, those outside the frame included; in [0, 1].
        mask: (H, W) bool, True on the target's seen pixels.
    """

    box_xywh: np.ndarray
    visibility: float
    mask: np.ndarray

    @property
    def visible(self) -> bool:
        """True where the frame can train a tracker: a fifth of the target seen, in a box of at least 3 x 3 pixels."""
        return self.visibility >= _USABLE_VISIBILITY and bool(self.box_xywh[2:].min() >= _USABLE_SIDE)


class RenderedFrame(NamedTuple):
    """A frame and its label.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: what is true of the target in it.
    """

    image: np.ndarray
    label: Label

    @property
    def box_xywh(self) -> np.ndarray:
        """(4,) float64, as in `Label`."""
        return self.label.box_xywh

    @property
    def visible(self) -> bool:
        """True where the frame can train a tracker, as in `Label`."""
        return self.label.visible


_Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]


class _Layer(NamedTuple):
    """A sprite warped into its own small window of the frame's pixel grid.

    Attributes:
        left, top: place of the window in the frame; may lie outside.
        picture: (h, w, 4) uint8 with premultiplied colours.
    """

    left: int
    top: int
    picture: np.ndarray

    @property
    def outline(self) -> np.ndarray:
        """(h, w) uint8: 1 at the pixels at least half covered, else 0."""
        return cv2.threshold(cv2.extractChannel(self.picture, 3), _OPAQUE - 1, 1, cv2.THRESH_BINARY)[1]


class _Actor:
    """An object in motion. Its sprite is drawn when it first comes into view."""

    def __init__(self, recipe: SpriteRecipe, motion: Motion) -> None:
        self._recipe = recipe
        self.motion = motion

    @cached_property
    def _sprite(self) -> np.ndarray:
        return draw_sprite(self._recipe)

    def radius(self, pose: Pose) -> float:
        """Return a bound of the distance from the centre to any pixel of the object."""
        half_width = (self._recipe.width / 2 + 3) * pose.scale_x
        return math.hypot(half_width, (self._recipe.height / 2 + 3) * pose.scale_y) + 2

    def touches(self, other: "_Actor", time: float) -> bool:
        """Tell whether the two objects could overlap, on the safe side."""
        own, its = self.motion.at(time), other.motion.at(time)
        return math.hypot(own.x - its.x, own.y - its.y) < self.radius(own) + other.radius(its)

    def in_view(self, time: float, frame_size: tuple[int, int]) -> bool:
        """Tell whether any pixel could lie in the frame, on the safe side."""
        pose = self.motion.at(time)
        reach = self.radius(pose) + 8
        return -reach < pose.x < frame_size[1] + reach and -reach < pose.y < frame_size[0] + reach

    def layer(self, time: float, shift: tuple[float, float], blurred: bool = False) -> _Layer:
        """Warp the object into the frame's pixel grid at a time.

        Args:
            time: in frames.
            shift: the camera's shake, added to the centre.
            blurred: average over the time the shutter is open; the outline is then no longer that of one moment.
        """
        if not blurred:
            return self._warp(self._matrix(time, shift))
        before, middle, after = (self._matrix(time + open_for, shift) for open_for in (-_SHUTTER / 2, 0, _SHUTTER / 2))
        window = _union([self._window(matrix) for matrix in (before, middle, after)])
        ends = cv2.addWeighted(self._warp(before, window).picture, 0.5, self._warp(after, window).picture, 0.5, 0)
        picture = cv2.addWeighted(ends, 2 / 3, self._warp(middle, window).picture, 1 / 3, 0)
        return _Layer(window[0], window[1], picture)

    def _matrix(self, time: float, shift: tuple[float, float]) -> _Matrix:
        """Return the map from the sprite, about its centre, to the frame, in continuous coordinates."""
        pose = self.motion.at(time)
        cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
        return (
            (cosine * pose.scale_x, -sine * pose.scale_y, pose.x - shift[0]),
            (sine * pose.scale_x, cosine * pose.scale_y, pose.y - shift[1]),
        )

    def _window(self, matrix: _Matrix) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of the frame's pixels that the sprite can reach."""
        height, width = self._sprite.shape[:2]
        (xx, xy, x), (yx, yy, y) = matrix
        reach_x, reach_y = (abs(xx) * width + abs(xy) * height) / 2, (abs(yx) * width + abs(yy) * height) / 2
        return math.floor(x - reach_x), math.floor(y - reach_y), math.ceil(x + reach_x), math.ceil(y + reach_y)

    def _warp(self, matrix: _Matrix, window: tuple[int, int, int, int] | None = None) -> _Layer:
        left, top, right, bottom = self._window(matrix) if window is None else window
        height, width = self._sprite.shape[:2]
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        (xx, xy, x), (yx, yy, y) = matrix
        # OpenCV counts from the centres of pixels, of the sprite and of the window.
        centred = np.array(
            (
                (xx, xy, x - left - 0.5 - xx * middle_x - xy * middle_y),
                (yx, yy, y - top - 0.5 - yx * middle_x - yy * middle_y),
            )
        )
        return _Layer(left, top, cv2.warpAffine(self._sprite, centred, (right - left, bottom - top)))


class Scene:
    """A target in motion before a background, possibly among other objects.

    Frames may be asked for in any order; the same seed, style and length give the same bytes.
    """

    def __init__(self, rng: np.random.Generator, style: SceneStyle, num_frames: int) -> None:
        """Draw all parameters of a scene; sprites and background are drawn when first needed."""
        self.style = style
        self.num_frames = num_frames
        style = style.scaled()
        self._backdrop_seed = int(rng.integers(2**62))
        self._scaled = style

        side = math.exp(rng.uniform(math.log(style.target_side[0]), math.log(style.target_side[1])))
        stretch = math.exp(rng.uniform(-0.4, 0.4))
        recipe = SpriteRecipe.draw(rng, side * stretch, side / stretch)
        step = side * rng.uniform(*style.speed)
        path: Path = self._wander(rng, 0.72 * side + 4, step)
        changes = self._changes(rng, 1.0)
        self._leaving: tuple[float, float] | None = None
        if rng.random() < style.leaving_probability:
            path = self._excursion(rng, path, side)
        spin = rng.uniform(-0.12, 0.12) if rng.random() < style.spin_probability else 0.0
        self._target = _Actor(recipe, Motion(path, changes, rng.normal(0, 0.25), spin))

        others: list[tuple[_Actor, bool]] = []
        if rng.random() < style.distractor_probability:
            for _ in range(int(rng.integers(1, style.max_distractors + 1))):
                others.append((self._distractor(rng, recipe, path, step), bool(rng.random() < 0.4)))
        if rng.random() < style.occlusion_probability:
            for _ in range(1 if rng.random() < 0.6 else 2):
                others.append((self._occluder(rng, side), True))
        # Whatever could hide the target in the first frame stays behind it for ever.
        self._front = [actor for actor, before in others if before and not actor.touches(self._target, 0)]
        self._behind = [actor for actor, _ in others if actor not in self._front]

        gain = style.illumination_change
        self._light = Oscillation(rng, (gain * rng.random(), 12 * gain), (40, 160))
        self._motion_blur = bool(rng.random() < style.motion_blur_probability)
        self._defocus = rng.uniform(0.5, 1.4) if rng.random() < style.defocus_probability else 0.0
        self._grain = round(style.noise * rng.random())

    @classmethod
    def from_seed(cls, seed: int | tuple[int, ...], style: SceneStyle | None = None, num_frames: int = 100) -> "Scene":
        """Draw the scene of a seed.

        Args:
            seed: entropy of a `numpy.random.SeedSequence`.
            style: how hard and varied the scene may be; the default style when None.
            num_frames: length of the video; events are planned within it.
        """
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        return cls(rng, SceneStyle() if style is None else style, num_frames)

    def render(self, index: int) -> RenderedFrame:
        """Draw one frame and its label."""
        canvas = self._backdrop.render(index)
        shift = self._backdrop.shake(index)
        target = self._target.layer(index, shift)
        for actor in self._behind:
            self._draw(canvas, actor, index, shift)
        if self._motion_blur:
            self._draw(canvas, self._target, index, shift)
        else:
            _paint(canvas, target)
        for actor in self._front:
            self._draw(canvas, actor, index, shift)
        return RenderedFrame(self._develop(canvas, index), self._label(target, index, shift))

    def label(self, index: int) -> Label:
        """Return the label of one frame without drawing the picture; equal to that of `render`."""
        shift = self._backdrop.shake(index)
        return self._label(self._target.layer(index, shift), index, shift)

    def _draw(self, canvas: np.ndarray, actor: _Actor, time: int, shift: tuple[float, float]) -> None:
        if actor.in_view(time, self._scaled.frame_size):
            _paint(canvas, actor.layer(time, shift, self._motion_blur))

    def _label(self, target: _Layer, time: int, shift: tuple[float, float]) -> Label:
        frame_size = self._scaled.frame_size
        mask = np.zeros(frame_size, np.uint8)
        outline = target.outline
        total = cv2.countNonZero(outline)
        target_view, frame_view = _overlap(target, frame_size)
        mask[frame_view] = outline[target_view]
        left, top, width, height = cv2.boundingRect(mask[frame_view])
        for actor in self._front:
            if actor.touches(self._target, time):
                cover = actor.layer(time, shift)
                cover_view, hidden_view = _overlap(cover, frame_size)
                mask[hidden_view] &= 1 - cover.outline[cover_view]
        seen = cv2.countNonZero(mask[frame_view])
        if seen == 0:
            return Label(np.full(4, np.nan), 0.0, mask.view(bool))
        rows, columns = frame_view
        box_xywh = np.array((columns.start + left, rows.start + top, width, height), dtype=np.float64)
        return Label(box_xywh, seen / total, mask.view(bool))

    @cached_property
    def _backdrop(self) -> Backdrop:
        return Backdrop(np.random.default_rng(self._backdrop_seed), self._scaled)

    def _develop(self, canvas: np.ndarray, time: int) -> np.ndarray:
        """Apply lens, light and sensor to the drawn frame, in place, and return its colours."""
        height, width = canvas.shape[:2]
        if self._defocus:
            cv2.GaussianBlur(canvas, (5, 5), self._defocus, canvas)
        gain, lift = self._light.at(time)
        cv2.convertScaleAbs(canvas, canvas, 1 + gain, max(0.0, lift - self._grain / 2))
        if self._grain:
            down, right = (time * 37) % _GRAIN_SHIFT, (time * 53) % _GRAIN_SHIFT
            cv2.add(canvas, _grain(height, width, self._grain)[down : down + height, right : right + width], canvas)
        return cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB)

    def _wander(self, rng: np.random.Generator, margin: float, step: float) -> Wander:
        """Draw a path over the whole frame less a margin, with a typical step per frame."""
        height, width = self._scaled.frame_size
        offsets = []
        for half in (width / 2, height / 2):
            reach = max(half - margin, 1.0)
            period = 2 * math.pi * reach / step
            offsets.append(Oscillation(rng, (reach,), (0.8 * period, 1.3 * period)))
        return Wander(width / 2, height / 2, *offsets)

    def _changes(self, rng: np.random.Generator, strength: float) -> Oscillation:
        """Draw changes of log scale, half log aspect ratio and angle."""
        style = self._scaled
        most = (style.scale_change, style.aspect_change / 2, style.rotation)
        return Oscillation(rng, [strength * value * rng.random() for value in most], (40, 140))

    def _excursion(self, rng: np.random.Generator, path: Path, side: float) -> Path:
        """Plan that the target leaves by the nearest border and comes back."""
        height, width = self._scaled.frame_size
        ramp_guess = 25.0
        away = rng.uniform(4, 16)
        start = rng.uniform(6, max(7.0, self.num_frames - 2 * ramp_guess - away))
        x, y = path.at(start)
        outside = 1.3 * side + 8
        exits = ((-outside, y), (width + outside, y), (x, -outside), (x, height + outside))
        exit_x, exit_y = min(exits, key=lambda place: math.hypot(place[0] - x, place[1] - y))
        ramp = max(6.0, math.hypot(exit_x - x, exit_y - y) / (0.2 * side + 1))
        return Excursion(path, exit_x, exit_y, start, start + 2 * ramp + away, ramp)

    def _distractor(self, rng: np.random.Generator, target: SpriteRecipe, path: Path, step: float) -> _Actor:
        """Draw another object, two times in three much like the target, near it or on its own way."""
        side = math.sqrt(target.width * target.height)
        if rng.random() < 0.67:
            size = math.exp(rng.uniform(-0.2, 0.2))
            recipe = target.lookalike(rng).sized(target.width * size, target.height * size)
        else:
            other_side, stretch = side * math.exp(rng.uniform(-0.5, 0.5)), math.exp(rng.uniform(-0.4, 0.4))
            recipe = SpriteRecipe.draw(rng, other_side * stretch, other_side / stretch)
        if rng.random() < 0.5:
            angle = rng.uniform(0, 2 * math.pi)
            far = side * rng.uniform(1.4, 3)
            drift = Oscillation(rng, [side * rng.uniform(0.2, 1.2)] * 2, (30, 90))
            way: Path = Companion(path, far * math.cos(angle), far * math.sin(angle), drift)
        else:
            way = self._wander(rng, 0.0, step)
        return _Actor(recipe, Motion(way, self._changes(rng, 1.0), rng.normal(0, 0.25)))

    def _occluder(self, rng: np.random.Generator, side: float) -> _Actor:
        """Draw an object that meets the target at a planned time, and hides a part or all of it."""
        time = rng.uniform(min(12.0, self.num_frames / 2), self.num_frames)
        size, stretch = side * math.exp(rng.uniform(-0.5, 0.45)), math.exp(rng.uniform(-0.7, 0.7))
        recipe = SpriteRecipe.draw(rng, size * stretch, size / stretch)
        x, y = self._target.motion.path.at(time)
        off_x, off_y = rng.normal(0, 0.25 * side, 2)
        start_x, start_y = self._target.motion.path.at(0)
        speed = (side + size) / rng.uniform(8, 24)
        angle = rng.uniform(0, 2 * math.pi)
        velocity_x, velocity_y = speed * math.cos(angle), speed * math.sin(angle)
        # Of the two ways along the line, come from the side farther from where the target starts.
        if (x - start_x) * velocity_x + (y - start_y) * velocity_y > 0:
            velocity_x, velocity_y = -velocity_x, -velocity_y
        return _Actor(
            recipe, Motion(Straight(x + off_x, y + off_y, velocity_x, velocity_y, time), self._changes(rng, 0.5))
        )


@lru_cache(maxsize=16)
def _grain(height: int, width: int, amplitude: int) -> np.ndarray:
    """Return the sensor's noise of one frame, with room to shift it: uint8 in four channels, 0 to `amplitude`."""
    rng = np.random.default_rng((height, width, amplitude))
    noise = rng.integers(0, amplitude + 1, (height + _GRAIN_SHIFT, width + _GRAIN_SHIFT), dtype=np.uint8)
    return cv2.merge((noise, noise, noise, noise))


def _union(windows: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    lefts, tops, rights, bottoms = zip(*windows, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _overlap(layer: _Layer, frame_size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of a layer that lies in the frame: as slices of the layer, and of the frame."""
    rows, columns = layer.picture.shape[:2]
    top, left = max(layer.top, 0), max(layer.left, 0)
    bottom, right = min(layer.top + rows, frame_size[0]), min(layer.left + columns, frame_size[1])
    bottom, right = max(bottom, top), max(right, left)
    inside = (slice(top - layer.top, bottom - layer.top), slice(left - layer.left, right - layer.left))
    return inside, (slice(top, bottom), slice(left, right))


def _paint(canvas: np.ndarray, layer: _Layer) -> None:
    """Lay premultiplied colours over the canvas in place."""
    inside, where = _overlap(layer, (canvas.shape[0], canvas.shape[1]))
    picture = layer.picture[inside]
    if picture.size == 0:
        return
    clear = cv2.bitwise_not(picture[..., 3])
    kept = cv2.multiply(canvas[where], cv2.merge((clear, clear, clear, clear)), scale=1 / 255)
    canvas[where] = cv2.add(kept, picture)
