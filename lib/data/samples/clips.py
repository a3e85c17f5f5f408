"""One video as training sees it: which frames are drawn, with the target in them and without."""

from typing import NamedTuple

import numpy as np

from lib.config.schema import Data
from lib.data.crop_cache.cache import CropDataset
from lib.data.images.frames import ArrayFrames
from lib.data.sequence import Frames, Sequence, SequenceDataset
from lib.data.synthetic import Scene
from lib.data.synthetic.record import SceneDataset, SceneFrames

_LABELS_TRIED = 8  # frames of a scene in which an absent target is looked for
_MIDDLE = 1 / 8  # of the picture's sides: where a target that is not there is looked for; STARK's
MIN_FRAMES = 20
MIN_VISIBLE_FRAMES = 7  # more than twice the three frames of a sample


class View(NamedTuple):
    """One frame of a video, not read yet, and the target in it."""

    frames: Frames
    frame: int
    box_xywh: np.ndarray


def open_clip(dataset: SequenceDataset, index: int, difficulty: float) -> "Clip":
    """Return video `index` of a data set; `difficulty` concerns drawn ones."""
    if isinstance(dataset, SceneDataset):
        return SceneClip(dataset.scene(index, difficulty=difficulty))
    if dataset.images_only:
        return PhotographClip(dataset[index])
    return SequenceClip(dataset[index], has_absent_frames=not isinstance(dataset, CropDataset))


class SceneClip:
    """A drawn video: only the frames asked for are drawn. Every method may return None: the draw was not usable."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def draw_views(self, rng: np.random.Generator, data: Data) -> list[View] | None:
        """Draw initial template, online template and search frame, all with a visible target."""
        every_frame = np.ones(self._scene.num_frames, dtype=bool)
        triplet = draw_triplet(every_frame, rng, data.sampler, data.max_gap)
        if triplet is None:
            return None
        views = []
        for frame in triplet:
            label = self._scene.label(frame)
            if not label.visible:
                return None
            views.append(View(SceneFrames(self._scene), frame, label.box_xywh))
        return views

    def draw_view(self, rng: np.random.Generator) -> View | None:
        """Draw one frame with a visible target."""
        frame = int(rng.integers(self._scene.num_frames))
        label = self._scene.label(frame)
        return View(SceneFrames(self._scene), frame, label.box_xywh) if label.visible else None

    def draw_absent(self, rng: np.random.Generator) -> View | None:
        """Draw a frame in which the target is not, with a box in its middle, an eighth of the picture wide and high."""
        frames = rng.integers(self._scene.num_frames, size=_LABELS_TRIED)
        absent = next((int(frame) for frame in frames if np.isnan(self._scene.label(int(frame)).box_xywh).any()), None)
        if absent is None:
            return None
        image = self._scene.render(absent).image
        return View(ArrayFrames([image]), 0, middle_box(image))


class PhotographClip:
    """A single photograph, which stands for all three frames; its target is never absent. Methods as `SceneClip`'s."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence

    def draw_views(self, rng: np.random.Generator, data: Data) -> list[View] | None:
        view = self.draw_view(rng)
        return None if view is None else [view] * 3

    def draw_view(self, rng: np.random.Generator) -> View | None:
        sequence = self._sequence
        if not sequence.visible[0]:
            return None
        return View(sequence.frames, 0, sequence.boxes_xywh[0])

    def draw_absent(self, rng: np.random.Generator) -> View | None:
        return None


class SequenceClip:
    """A stored video. Methods as `SceneClip`'s."""

    def __init__(self, sequence: Sequence, *, has_absent_frames: bool) -> None:
        """Refer to a video; `has_absent_frames` is False where frames without a target are not kept."""
        self._sequence = sequence
        self._has_absent_frames = has_absent_frames

    def draw_views(self, rng: np.random.Generator, data: Data) -> list[View] | None:
        sequence = self._sequence
        if not is_eligible(sequence.visible):
            return None
        triplet = draw_triplet(sequence.visible, rng, data.sampler, data.max_gap)
        if triplet is None:
            return None
        return [View(sequence.frames, frame, sequence.boxes_xywh[frame]) for frame in triplet]

    def draw_view(self, rng: np.random.Generator) -> View | None:
        visible = np.flatnonzero(self._sequence.visible)
        if not len(visible):
            return None
        frame = int(rng.choice(visible))
        return View(self._sequence.frames, frame, self._sequence.boxes_xywh[frame])

    def draw_absent(self, rng: np.random.Generator) -> View | None:
        absent = np.flatnonzero(self._sequence.absent)
        if not len(absent) or not self._has_absent_frames:
            return None
        image = self._sequence.frames.read(int(rng.choice(absent)))
        return View(ArrayFrames([image]), 0, middle_box(image))


Clip = SceneClip | PhotographClip | SequenceClip


def middle_box(image: np.ndarray) -> np.ndarray:
    """Return the box (4,) xywh in the middle of an (H, W, 3) picture, an eighth of it wide and high."""
    height, width = image.shape[:2]
    return np.array((width * (1 - _MIDDLE) / 2, height * (1 - _MIDDLE) / 2, width * _MIDDLE, height * _MIDDLE))


class Triplet(NamedTuple):
    """Frame indices of one sample."""

    template: int
    online_template: int
    search: int


def is_eligible(visible: np.ndarray) -> bool:
    """Return whether a video with these (N,) visible frames is long enough to draw from."""
    return len(visible) >= MIN_FRAMES and int(np.count_nonzero(visible)) >= MIN_VISIBLE_FRAMES


def draw_triplet(visible: np.ndarray, rng: np.random.Generator, mode: str, max_gap: int) -> Triplet | None:
    """Draw three visible frames.

    Args:
        visible: (N,) bool.
        mode: `trident`: template and search are any two visible frames, the online template lies within `max_gap` of
            the search frame on the template's side. `ordered`: three distinct frames, the online template between the
            other two, reversed half of the time (CTTrack). `causal`: a base frame, the online template within
            `max_gap` before it and the search frame within `max_gap` after it (STARK); it puts the online template
            farther from the search frame than the template, and is here for comparison only.
        max_gap: frames.

    Returns:
        The indices, or None when the draw found no frames that fit; the caller draws again, a bounded number of times.
    """
    candidates = np.flatnonzero(visible)
    if len(candidates) < 3:
        return None
    if mode == "trident":
        template, search = rng.choice(candidates, 2, replace=False).tolist()
        near = _before(candidates, search, max_gap) if template < search else _after(candidates, search, max_gap)
        return Triplet(template, _any(near, rng), search) if len(near) else None
    if mode == "ordered":
        frames = np.sort(rng.choice(candidates, 3, replace=False))
        if rng.random() < 0.5:
            frames = frames[::-1]
        return Triplet(*(int(frame) for frame in frames))
    if mode == "causal":
        base = _any(candidates, rng)
        before, after = _before(candidates, base, max_gap), _after(candidates, base, max_gap)
        if not len(before) or not len(after):
            return None
        return Triplet(base, _any(before, rng), _any(after, rng))
    raise ValueError(f"unknown sampler {mode!r}: use trident, ordered or causal")


def _before(frames: np.ndarray, frame: int, max_gap: int) -> np.ndarray:
    """Return those of the ascending frames that lie at most `max_gap` before one."""
    return frames[frames.searchsorted(frame - max_gap) : frames.searchsorted(frame)]


def _after(frames: np.ndarray, frame: int, max_gap: int) -> np.ndarray:
    """Return those of the ascending frames that lie at most `max_gap` after one."""
    return frames[frames.searchsorted(frame, "right") : frames.searchsorted(frame + max_gap, "right")]


def _any(frames: np.ndarray, rng: np.random.Generator) -> int:
    # The draw of `rng.choice`, which takes five times as long.
    return int(frames[rng.integers(len(frames))])
