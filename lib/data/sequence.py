"""One annotated video, the small contract that every data set fulfils, and names that cost little memory."""

from collections.abc import Iterable
from collections.abc import Sequence as Indexed
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from lib.data.crop import Part


class Frames(Protocol):
    """Random access to the pictures of one video, or to its masks."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Return frame `index`: (H, W, 3) uint8 RGB, or for masks (H, W) bool, True on the target."""
        ...


@dataclass(frozen=True)
class Sequence:
    """A video with one target.

    Attributes:
        name: unique within its data set; also the name of its result file.
        frames: the pictures.
        boxes_xywh: (N, 4) float64 in pixels of the frame; nan in a row without annotation. A test set that
            publishes the first box only has N = 1 with more frames.
        visible: (N,) bool; True where the target can be seen and its box is usable for training.
        absent: (N,) bool; True where the benchmark labels the target as not in the picture.
        masks: (H, W) bool pictures, True on the target, or None where the data set has none.
        attributes: names of the benchmark's attributes that this sequence carries.
        labels: per-frame labels of one benchmark, by name, such as GOT-10k's `cover`.
    """

    name: str
    frames: Frames
    boxes_xywh: np.ndarray
    visible: np.ndarray
    absent: np.ndarray
    masks: Frames | None = None
    attributes: tuple[str, ...] = ()
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        boxes = self.boxes_xywh
        assert boxes.ndim == 2 and boxes.shape[1] == 4 and boxes.dtype == np.float64, (self.name, boxes.shape)
        assert self.visible.shape == self.absent.shape == (len(boxes),), self.name

    def __len__(self) -> int:
        return len(self.frames)


class SequenceDataset(Protocol):
    """A named collection of sequences, opened lazily: listing one must not read its frames."""

    @property
    def names(self) -> Indexed[str]:
        """The names of all sequences, in a fixed order."""
        ...

    @property
    def images_only(self) -> bool:
        """True when a "sequence" is a single photograph that a sampler may repeat."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sequence: ...


class FrameLabel(Protocol):
    """What is true of the target in one frame."""

    @property
    def box_xywh(self) -> np.ndarray:
        """(4,) float64; nan where nothing of the target can be seen."""
        ...

    @property
    def visible(self) -> bool:
        """True where the box is usable for training."""
        ...


class RenderedFrame(FrameLabel, Protocol):
    """One frame drawn on demand, with exact labels."""

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        ...


class Scene(Protocol):
    """A video that is computed, not stored: any frame, in any order, always the same."""

    @property
    def num_frames(self) -> int: ...

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        ...

    def render(self, index: int) -> RenderedFrame: ...

    def draw(self, index: int, part: Part) -> np.ndarray:
        """Draw a part of a frame, (h, w, 4) uint8: RGB as by `render`, but for rounding, and a fourth of no meaning."""
        ...

    def label(self, index: int) -> FrameLabel:
        """Return what `render` would say of the target, without drawing."""
        ...


@runtime_checkable
class SceneDataset(Protocol):
    """A data set that computes its videos; a training sample renders three frames and no more."""

    def __len__(self) -> int: ...

    def scene(self, index: int, difficulty: float = 1.0) -> Scene:
        """Return scene `index`; `difficulty` in [0, 1] lets a curriculum start with easier ones."""
        ...


class Names(Indexed[str]):
    """Names in one block of memory, which processes share after a fork; a list of strings would be copied by each."""

    def __init__(self, names: Iterable[str] | np.ndarray) -> None:
        """Take names, or an array of UTF-8 bytes such as `array` returns."""
        self.array = names if isinstance(names, np.ndarray) else np.array([name.encode() for name in names], dtype="S")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return bytes(self.array[index]).decode()
