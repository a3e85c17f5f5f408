"""One video as a sampler sees it: views with the target in them, and views without."""

import functools
import time
from typing import NamedTuple, Protocol, cast

import numpy as np

from lib.config.schema import Data
from lib.data.crop_cache.cache import RegionDataset
from lib.data.images.frames import ArrayFrames
from lib.data.images.picture import DrawnPicture, Picture, UnreadableFrameError, open_picture
from lib.data.sampler import draw_triplet, is_eligible
from lib.data.sequence import Frames, Scene, SceneDataset, Sequence, SequenceDataset

_ATTEMPTS = 3
_PAUSE = 0.1  # seconds between attempts: a shared disk may recover
_LABELS_TRIED = 8  # frames of a scene in which an absent target is looked for
_MIDDLE = 1 / 8  # of the picture's sides: where a target that is not there is looked for; STARK's


class View(NamedTuple):
    """One frame, not read yet, and the target in it."""

    picture: Picture
    box_xywh: np.ndarray


class Clip(Protocol):
    """A video of a training data set. Every method may return None: the draw was not usable."""

    def draw_views(self, rng: np.random.Generator, data: Data) -> list[View] | None:
        """Draw initial template, online template and search frame, all with a visible target."""
        ...

    def draw_view(self, rng: np.random.Generator) -> View | None:
        """Draw one frame with a visible target."""
        ...

    def draw_absent(self, rng: np.random.Generator) -> View | None:
        """Draw a frame in which the target is not, with a box in its middle, an eighth of the picture wide and high."""
        ...


def open_clip(dataset: SequenceDataset | SceneDataset, index: int, difficulty: float) -> Clip:
    """Return video `index` of a data set; `difficulty` concerns drawn ones."""
    if _draws_scenes(type(dataset)):
        return SceneClip(cast(SceneDataset, dataset).scene(index, difficulty=difficulty))
    sequences = cast(SequenceDataset, dataset)
    if sequences.images_only:
        return PhotographClip(sequences[index])
    return SequenceClip(sequences[index], has_absent_frames=not isinstance(sequences, RegionDataset))


@functools.cache
def _draws_scenes(kind: type) -> bool:
    """Return whether data sets of a class are a `SceneDataset`; to ask each time takes as long as a small crop."""
    return issubclass(kind, SceneDataset)


class SceneClip:
    """A drawn video: only the frames asked for are drawn."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def draw_views(self, rng: np.random.Generator, data: Data) -> list[View] | None:
        every_frame = np.ones(self._scene.num_frames, dtype=bool)
        triplet = draw_triplet(every_frame, rng, data.sampler, data.max_gap)
        if triplet is None:
            return None
        views = []
        for frame in triplet:
            label = self._scene.label(frame)
            if not label.visible:
                return None
            views.append(View(DrawnPicture(self._scene, frame), label.box_xywh))
        return views

    def draw_view(self, rng: np.random.Generator) -> View | None:
        frame = int(rng.integers(self._scene.num_frames))
        label = self._scene.label(frame)
        return View(DrawnPicture(self._scene, frame), label.box_xywh) if label.visible else None

    def draw_absent(self, rng: np.random.Generator) -> View | None:
        frames = rng.integers(self._scene.num_frames, size=_LABELS_TRIED)
        absent = next((int(frame) for frame in frames if np.isnan(self._scene.label(int(frame)).box_xywh).any()), None)
        if absent is None:
            return None
        image = self._scene.render(absent).image
        return _view_of_array(image, middle_box(image))


class PhotographClip:
    """A single photograph, which stands for all three frames; its target is never absent."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence

    def draw_views(self, rng: np.random.Generator, data: Data) -> list[View] | None:
        view = self.draw_view(rng)
        return None if view is None else [view] * 3

    def draw_view(self, rng: np.random.Generator) -> View | None:
        sequence = self._sequence
        if not sequence.visible[0]:
            return None
        return View(open_picture(sequence.frames, 0, keep=True), sequence.boxes_xywh[0])

    def draw_absent(self, rng: np.random.Generator) -> View | None:
        return None


class SequenceClip:
    """A stored video."""

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
        return [View(open_picture(sequence.frames, frame), sequence.boxes_xywh[frame]) for frame in triplet]

    def draw_view(self, rng: np.random.Generator) -> View | None:
        visible = np.flatnonzero(self._sequence.visible)
        if not len(visible):
            return None
        frame = int(rng.choice(visible))
        return View(open_picture(self._sequence.frames, frame), self._sequence.boxes_xywh[frame])

    def draw_absent(self, rng: np.random.Generator) -> View | None:
        absent = np.flatnonzero(self._sequence.absent)
        if not len(absent) or not self._has_absent_frames:
            return None
        image = _read(self._sequence.frames, int(rng.choice(absent)))
        return _view_of_array(image, middle_box(image))


def middle_box(image: np.ndarray) -> np.ndarray:
    """Return the box (4,) xywh in the middle of an (H, W, 3) picture, an eighth of it wide and high."""
    height, width = image.shape[:2]
    return np.array((width * (1 - _MIDDLE) / 2, height * (1 - _MIDDLE) / 2, width * _MIDDLE, height * _MIDDLE))


def _view_of_array(image: np.ndarray, box_xywh: np.ndarray) -> View:
    return View(open_picture(ArrayFrames([image]), 0), box_xywh)


def _read(frames: Frames, index: int) -> np.ndarray:
    """Read a whole frame, trying again a few times."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return frames[index]
        except (OSError, ValueError) as error:
            if attempt == _ATTEMPTS:
                raise UnreadableFrameError(f"{error} (tried {_ATTEMPTS} times)") from error
            time.sleep(_PAUSE)
    raise AssertionError
