"""One annotated video, the small contract that every data set fulfils, and names that cost little memory."""

import time
from abc import ABC, abstractmethod
from collections import abc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from lib.data.crop import CropWindow

_ATTEMPTS = 3
PAUSE = 0.1  # seconds between attempts: a shared disk may recover
Read = TypeVar("Read")


class UnreadableFrameError(ValueError):
    """A frame cannot be read or decoded, also not when tried again."""


class Frames(ABC):
    """Random access to the pictures of one video, or to its masks."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> np.ndarray:
        """Return frame `index`: (H, W, 3) uint8 RGB, or for masks (H, W) bool, True on the target."""

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of a frame."""
        return self[index].shape[:2]

    def cut(self, index: int, window: CropWindow) -> np.ndarray | None:
        """Cut a window of a frame as (size, size, 3) uint8 RGB; None where the frame has nothing of it."""
        return window.cut_visible(self[index])

    def read(self, index: int) -> np.ndarray:
        """Return a frame; what cannot be read is tried again a few times.

        Raises:
            UnreadableFrameError: it cannot be read; the message names it.
        """
        return _try_again(lambda: self[index])

    def read_crop(self, index: int, window: CropWindow) -> np.ndarray | None:
        """Cut a window of a frame as `cut` does; errors as in `read`."""
        return _try_again(lambda: self.cut(index, window))


def _try_again(read: Callable[[], Read]) -> Read:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return read()
        except (OSError, ValueError, IndexError, MemoryError) as error:
            if attempt == _ATTEMPTS:
                what = str(error) or "out of memory"
                raise UnreadableFrameError(f"{what} (tried {_ATTEMPTS} times)") from error
            time.sleep(PAUSE)
    raise AssertionError


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


class SequenceDataset(ABC):
    """Sequences by their names, in a fixed order. Each is read when it is asked for, and its errors name the file."""

    names: abc.Sequence[str]
    images_only = False  # True when a "sequence" is a single photograph that a sampler may repeat

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def __getitem__(self, index: int) -> Sequence: ...


class MadeNames(abc.Sequence[str]):
    """Names that are made when asked for: a training set may have millions."""

    def __init__(self, number: int, name: Callable[[int], str]) -> None:
        self._number = number
        self._name = name

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not -self._number <= index < self._number:
            raise IndexError(f"sequence {index} of {self._number}")
        return self._name(index % self._number)


class Names(abc.Sequence[str]):
    """Names in one block of memory, which processes share after a fork; a list of strings would be copied by each."""

    def __init__(self, names: Iterable[str] | np.ndarray) -> None:
        """Take names, or an array of UTF-8 bytes such as `array` returns."""
        self.array = names if isinstance(names, np.ndarray) else np.array([name.encode() for name in names], dtype="S")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return bytes(self.array[index]).decode()
