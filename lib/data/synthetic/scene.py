"""One drawn video: every frame and label is a function of the seed and the time alone."""

from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.crop import Rectangle
from lib.data.synthetic.cast import draw_cast
from lib.data.synthetic.looks import Backdrop, DrawnLooks, Looks
from lib.data.synthetic.motion import Oscillation
from lib.data.synthetic.style import SceneStyle

_BLUR_SIDE = 5
_GRAIN_SHIFT = 64
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


class DrawnFrame(NamedTuple):
    """A frame and its label.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: what is true of the target in it.
    """

    image: np.ndarray
    label: Label


class Scene:
    """A target in motion before a background, possibly among other objects.

    Frames may be asked for in any order. The same seed, style and length give the same bytes wherever the same
    versions of OpenCV and NumPy run. A pixel belongs to an object when it is covered by half or more; under motion
    blur the outline is that of the middle of the exposure.
    """

    def __init__(self, rng: np.random.Generator, style: SceneStyle, num_frames: int, looks: Looks) -> None:
        """Draw all parameters of a scene; pictures of objects and background are drawn when first needed."""
        self.num_frames = num_frames
        self._style = style = style.scaled()
        self._cast = draw_cast(rng, style, num_frames, looks)
        self._looks = looks
        self._backdrop_seed = int(rng.integers(2**62))
        swing = style.illumination_change
        self._light = Oscillation(rng, (swing * rng.random(), 12 * swing), (40, 160))
        self._motion_blur = bool(rng.random() < style.motion_blur_probability)
        self._defocus = rng.uniform(0.5, 1.4) if rng.random() < style.defocus_probability else 0.0
        self._grain = round(style.noise * rng.random())
        # Nothing is drawn at random where no scene follows, so that such scenes stay what they were.
        follows = style.following_probability > 0 and rng.random() < style.following_probability
        self._following = rng.uniform(0.7, 1.0) if follows else 0.0  # share of the target's way

    @classmethod
    def from_seed(
        cls,
        seed: int | tuple[int, ...],
        style: SceneStyle | None = None,
        num_frames: int = 100,
        looks: Looks | None = None,
    ) -> "Scene":
        """Draw the scene of a seed.

        Args:
            seed: entropy of a `numpy.random.SeedSequence`.
            style: how hard and varied the scene may be; the default style when None.
            num_frames: length of the video; events are planned within it.
            looks: what its objects and background look like; drawn as well when None.
        """
        style = SceneStyle() if style is None else style
        return cls(np.random.default_rng(seed), style, num_frames, DrawnLooks() if looks is None else looks)

    def render(self, index: int) -> DrawnFrame:
        """Draw one frame and its label."""
        height, width = self.frame_size
        canvas = self.draw(index, Rectangle(0, 0, width, height))
        return DrawnFrame(cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB), self.label(index))

    def draw(self, index: int, part: Rectangle) -> np.ndarray:
        """Draw a part of one frame, (h, w, 4) uint8: RGB as by `render`, but for rounding, and a fourth of no meaning.

        Args:
            index: of the frame.
            part: which of its pixels; none outside.
        """
        drawn = part.grown(_BLUR_SIDE // 2).inside(*self.frame_size)
        canvas = self._backdrop.render(index, drawn, self._drift(index))
        shift = self._backdrop.shake(index)
        for actor in (*self._cast.behind, self._cast.target, *self._cast.front):
            if actor.in_view(index, drawn, self._motion_blur):
                actor.layer(index, shift, self._motion_blur).paint(canvas, drawn.left, drawn.top)
        self._develop(canvas, index, drawn)
        return canvas[part.top - drawn.top : part.bottom - drawn.top, part.left - drawn.left : part.right - drawn.left]

    def _drift(self, index: int) -> tuple[float, float]:
        """Return how far the background has moved with the target since the first frame."""
        if not self._following:
            return 0.0, 0.0
        here, start = self._cast.target.pose(index), self._cast.target.pose(0)
        return self._following * (here.x - start.x), self._following * (here.y - start.y)

    def label(self, index: int) -> Label:
        """Return the label of one frame without drawing the picture; equal to that of `render`."""
        shift = self._backdrop.shake(index)
        target = self._cast.target.layer(index, shift)
        mask = np.zeros(self.frame_size, np.uint8)
        outline = target.outline
        inside, where = target.overlap(self.frame_size)
        mask[where] = outline[inside]
        left, top, width, height = cv2.boundingRect(mask[where])
        for actor in self._cast.front:
            if actor.touches(self._cast.target, index):
                cover = actor.layer(index, shift)
                cover_inside, hidden = cover.overlap(self.frame_size)
                mask[hidden] &= 1 - cover.outline[cover_inside]
        seen = cv2.countNonZero(mask[where])
        if seen == 0:
            return Label(np.full(4, np.nan), 0.0, mask.view(bool))
        rows, columns = where
        box_xywh = np.array((columns.start + left, rows.start + top, width, height), dtype=np.float64)
        return Label(box_xywh, seen / cv2.countNonZero(outline), mask.view(bool))

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        return self._style.frame_size

    @cached_property
    def _backdrop(self) -> Backdrop:
        return Backdrop(np.random.default_rng(self._backdrop_seed), self._style, self._looks)

    def _develop(self, canvas: np.ndarray, time: int, part: Rectangle) -> None:
        """Apply lens, light and sensor to the drawn part of a frame, in place."""
        if self._defocus:
            cv2.GaussianBlur(canvas, (_BLUR_SIDE, _BLUR_SIDE), self._defocus, canvas)
        gain, lift = self._light.at(time)
        cv2.convertScaleAbs(canvas, canvas, 1 + gain, max(0.0, lift - self._grain / 2))
        if self._grain:
            top, left = part.top + (time * 37) % _GRAIN_SHIFT, part.left + (time * 53) % _GRAIN_SHIFT
            height, width = canvas.shape[:2]
            cv2.add(canvas, _grain(*self.frame_size, self._grain)[top : top + height, left : left + width], canvas)


@lru_cache(maxsize=16)
def _grain(height: int, width: int, amplitude: int) -> np.ndarray:
    """Return the sensor's noise, 0 to `amplitude` in four equal uint8 channels, with room to shift it per frame."""
    rng = np.random.default_rng((height, width, amplitude))
    noise = rng.integers(0, amplitude + 1, (height + _GRAIN_SHIFT, width + _GRAIN_SHIFT), dtype=np.uint8)
    return cv2.merge((noise, noise, noise, noise))
