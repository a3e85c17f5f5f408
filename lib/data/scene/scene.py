"""One drawn video: every frame and label is a function of the seed and the time alone."""

import math
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.scene.backdrop import Backdrop
from lib.data.scene.motion import Companion, Excursion, Motion, Oscillation, Path, Straight, Wander
from lib.data.scene.sprite import SpriteRecipe, draw_sprite
from lib.data.scene.style import SceneStyle

_SHUTTER = 0.5
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
        """(h, w) bool: the pixels at least half covered."""
        return self.picture[..., 3] >= _OPAQUE


class _Actor:
    """An object in motion. Its sprite is drawn when it first comes into view."""

    def __init__(self, recipe: SpriteRecipe, motion: Motion) -> None:
        self._recipe = recipe
        self.motion = motion

    @cached_property
    def _sprite(self) -> np.ndarray:
        return draw_sprite(self._recipe)

    def radius(self, time: float) -> float:
        """Return a bound of the distance from the centre to any pixel of the object."""
        pose = self.motion.at(time)
        half_width = (self._recipe.width / 2 + 3) * pose.scale_x
        return math.hypot(half_width, (self._recipe.height / 2 + 3) * pose.scale_y) + 2

    def distance(self, other: "_Actor", time: float) -> float:
        """Return the distance between the two centres."""
        own, its = self.motion.at(time), other.motion.at(time)
        return math.hypot(own.x - its.x, own.y - its.y)

    def touches(self, other: "_Actor", time: float) -> bool:
        """Tell whether the two objects could overlap, on the safe side."""
        return self.distance(other, time) < self.radius(time) + other.radius(time)

    def in_view(self, time: float, frame_size: tuple[int, int]) -> bool:
        """Tell whether any pixel could lie in the frame, on the safe side."""
        pose, reach = self.motion.at(time), self.radius(time) + 8
        return -reach < pose.x < frame_size[1] + reach and -reach < pose.y < frame_size[0] + reach

    def layer(self, time: float, shift: tuple[float, float], blurred: bool = False) -> _Layer:
        """Warp the object into the frame's pixel grid at a time.

        Args:
            time: in frames.
            shift: the camera's shake, added to the centre.
            blurred: average over the time the shutter is open; the outline is then no longer that of one moment.
        """
        height, width = self._sprite.shape[:2]
        matrices = []
        for moment in (time - _SHUTTER / 2, time, time + _SHUTTER / 2) if blurred else (time,):
            pose = self.motion.at(moment)
            cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
            matrix = np.array(((cosine * pose.scale_x, -sine * pose.scale_y, pose.x - shift[0]),
                               (sine * pose.scale_x, cosine * pose.scale_y, pose.y - shift[1])))  # fmt: skip
            matrices.append(matrix)
        reach_x = max(abs(m[0, 0]) * width + abs(m[0, 1]) * height for m in matrices) / 2
        reach_y = max(abs(m[1, 0]) * width + abs(m[1, 1]) * height for m in matrices) / 2
        left = math.floor(min(m[0, 2] for m in matrices) - reach_x) - 1
        top = math.floor(min(m[1, 2] for m in matrices) - reach_y) - 1
        right = math.ceil(max(m[0, 2] for m in matrices) + reach_x) + 1
        bottom = math.ceil(max(m[1, 2] for m in matrices) + reach_y) + 1

        pictures = []
        for matrix in matrices:
            # From centres of the sprite's pixels to centres of the window's pixels.
            matrix[:, 2] -= matrix[:, :2] @ ((width - 1) / 2, (height - 1) / 2) + (left + 0.5, top + 0.5)
            pictures.append(cv2.warpAffine(self._sprite, matrix, (right - left, bottom - top)))
        if blurred:
            before, middle, after = pictures
            ends = cv2.addWeighted(before, 0.5, after, 0.5, 0)
            return _Layer(left, top, cv2.addWeighted(ends, 2 / 3, middle, 1 / 3, 0))
        return _Layer(left, top, pictures[0])


class Scene:
    """A target in motion before a background, possibly among other objects.

    Frames may be asked for in any order; the same seed, style and length give the same bytes.
    """

    def __init__(self, rng: np.random.Generator, style: SceneStyle, num_frames: int) -> None:
        """Draw all parameters of a scene; sprites and background are drawn when first needed."""
        self.style = style
        self.num_frames = num_frames
        style = style.scaled()
        self._backdrop_seed, self._noise_seed = rng.integers(2**62, size=2).tolist()
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
        spin = rng.choice((-1, 1)) * rng.uniform(0.02, 0.12) if rng.random() < style.spin_probability else 0.0
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
        self._light = Oscillation(rng, np.array((gain * rng.random(), 12 * gain)), rng.uniform(40, 160, 2))
        self._motion_blur = bool(rng.random() < style.motion_blur_probability)
        self._defocus = rng.uniform(0.5, 1.4) if rng.random() < style.defocus_probability else 0.0
        self._grain = style.noise * rng.random()

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
        time = index
        frame_size = self._scaled.frame_size
        canvas = self._backdrop.render(time)
        shift = self._backdrop.shake(time)
        for actor in self._behind:
            if actor.in_view(time, frame_size):
                _paint(canvas, actor.layer(time, shift, self._motion_blur))
        if self._target.in_view(time, frame_size):
            _paint(canvas, self._target.layer(time, shift, self._motion_blur))
        for actor in self._front:
            if actor.in_view(time, frame_size):
                _paint(canvas, actor.layer(time, shift, self._motion_blur))
        return RenderedFrame(self._develop(canvas, time), self.label(time))

    def label(self, index: int) -> Label:
        """Return the label of one frame without drawing the picture; equal to that of `render`."""
        time = index
        frame_size = self._scaled.frame_size
        mask = np.zeros(frame_size, dtype=bool)
        shift = self._backdrop.shake(time)
        layer = self._target.layer(time, shift)
        outline = layer.outline
        total = np.count_nonzero(outline)
        target_view, frame_view = _overlap(layer, frame_size)
        mask[frame_view] = outline[target_view]
        left, top, width, height = cv2.boundingRect(mask[frame_view].view(np.uint8))
        for actor in self._front:
            if actor.touches(self._target, time):
                cover = actor.layer(time, shift)
                cover_view, hidden_view = _overlap(cover, frame_size)
                mask[hidden_view] &= ~cover.outline[cover_view]
        seen = np.count_nonzero(mask[frame_view])
        if seen == 0:
            return Label(np.full(4, np.nan), 0.0, mask)
        rows, columns = frame_view
        box_xywh = np.array((columns.start + left, rows.start + top, width, height), dtype=np.float64)
        return Label(box_xywh, seen / total, mask)

    @cached_property
    def _backdrop(self) -> Backdrop:
        return Backdrop(np.random.default_rng(self._backdrop_seed), self._scaled)

    @cached_property
    def _noise_tile(self) -> np.ndarray:
        """Grain of one frame and a border, so that it can be shifted from frame to frame."""
        height, width = self._scaled.frame_size
        rng = np.random.default_rng(self._noise_seed)
        tile = (rng.random((97, 89), dtype=np.float32) * self._grain).astype(np.uint8)
        grain = cv2.repeat(tile, height // 97 + 2, width // 89 + 2)
        return cv2.merge((grain, grain, grain, grain))

    def _develop(self, canvas: np.ndarray, time: int) -> np.ndarray:
        """Apply lens, light and sensor to the drawn frame."""
        height, width = canvas.shape[:2]
        if self._defocus:
            canvas = cv2.GaussianBlur(canvas, (5, 5), self._defocus)
        gain, lift = self._light.at(time)
        canvas = cv2.convertScaleAbs(canvas, alpha=1 + gain, beta=max(0.0, lift - self._grain / 2))
        if self._grain >= 1:
            down, right = (time * 37) % 97, (time * 53) % 89
            cv2.add(canvas, self._noise_tile[down : down + height, right : right + width], canvas)
        return cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB)

    def _wander(self, rng: np.random.Generator, margin: float, step: float) -> Wander:
        """Draw a path over the whole frame less a margin, with a typical step per frame."""
        height, width = self._scaled.frame_size
        reach = np.array((max(width / 2 - margin, 1), max(height / 2 - margin, 1)))
        centre = np.array((width / 2, height / 2))
        return Wander(
            centre[0], centre[1], Oscillation(rng, reach, 2 * math.pi * reach / step * rng.uniform(0.8, 1.3, 2))
        )

    def _changes(self, rng: np.random.Generator, strength: float) -> Oscillation:
        """Draw changes of log scale, half log aspect ratio and angle."""
        style = self._scaled
        reach = np.array((style.scale_change, style.aspect_change / 2, style.rotation)) * strength * rng.random(3)
        return Oscillation(rng, reach, rng.uniform(40, 140, 3))

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
            drift = Oscillation(rng, np.full(2, side * rng.uniform(0.2, 1.2)), rng.uniform(30, 90, 2))
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
