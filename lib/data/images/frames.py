"""Where the pictures of a video come from: image files, a video file, or memory."""

import os
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from lib.data.crop import CropWindow
from lib.data.images.decode import EncodedImage, decode_image, decode_mask, read_header, require_size
from lib.data.sequence import Frames
from lib.data.storage.tree import TreePath, read_file

Result = TypeVar("Result")


@dataclass(frozen=True)
class NumberedFiles(abc.Sequence[TreePath]):
    """Files `first`, `first + 1`, ... of a folder, whether or not they exist; nothing is listed.

    Attributes:
        folder: where they are.
        first: number of the first one.
        num_files: how many there are.
        digits: with leading zeros up to this length; 1 for none.
        suffix: with its dot.
    """

    folder: TreePath
    first: int
    num_files: int
    digits: int = 8
    suffix: str = ".jpg"

    def __len__(self) -> int:
        return self.num_files

    def __getitem__(self, index: int) -> TreePath:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not -self.num_files <= index < self.num_files:
            raise IndexError(f"frame {index} of {self.num_files} in {self.folder}")
        return self.folder / f"{self.first + index % self.num_files:0{self.digits}d}{self.suffix}"


class ImageFiles(Frames):
    """Pictures in files, one per frame. With `keep`, for several crops of one photograph, the last is kept decoded."""

    def __init__(self, paths: abc.Sequence[TreePath], keep: bool = False) -> None:
        self.paths = paths
        self._keep = keep
        self._kept: tuple[int, EncodedImage] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def size(self, index: int) -> tuple[int, int]:
        header = _decoded(self.paths[index], read_header)
        return header.height, header.width

    def cut(self, index: int, window: CropWindow) -> np.ndarray | None:
        if self._kept is not None and self._kept[0] == index:
            return self._kept[1].cut(window)
        image, crop = _decoded(self.paths[index], lambda data: _cut(EncodedImage(data, self._keep), window))
        if self._keep:
            self._kept = index, image
        return crop


class MaskFiles(Frames):
    """Masks in files, one per frame; any value but zero is the target, and alpha does not count."""

    def __init__(self, paths: abc.Sequence[TreePath], frames: Frames | None = None) -> None:
        """Refer to files; with `frames`, a mask must be as large as its frame."""
        self.paths = paths
        self._frames = frames

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        mask = _decoded(self.paths[index], decode_mask) > 0
        if self._frames is not None:
            require_same_size(mask, str(self.paths[index]), self._frames, index)
        return mask


def require_same_size(mask: np.ndarray, name: str, frames: Frames, index: int) -> None:
    """Raise ValueError, naming both, where a mask (H, W) is not of the size of its frame."""
    height, width = frames.size(index)
    if mask.shape != (height, width):
        frame = frames.paths[index] if isinstance(frames, ImageFiles) else f"frame {index}"
        raise ValueError(f"the mask {name} has {mask.shape[1]} x {mask.shape[0]} pixels, its frame {frame} has "
                         f"{width} x {height}")  # fmt: skip


class ArrayFrames(Frames):
    """Pictures in memory: a list of (H, W, 3) uint8 RGB arrays, or one (N, H, W, 3) array."""

    def __init__(self, images: abc.Sequence[np.ndarray] | np.ndarray) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._images[index]


class VideoFile(Frames):
    """Frames of a video file by exact index.

    A codec cannot be trusted to seek to an exact frame, so going on is cheap and going back decodes from the start.
    `len` counts by walking through the file once, because containers state wrong numbers; a loop over the frames
    does without it. Training at random from long videos is slow: make image files of them first.
    """

    def __init__(self, path: Path) -> None:
        """Open a video.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be decoded or has no frames.
        """
        self.path = path
        self._length: int | None = None
        self._rewind()
        if not self._capture.grab():
            raise ValueError(f"the video {path} has no frames")
        self._rewind()

    def __len__(self) -> int:
        if self._length is None:
            capture = _opened(self.path)
            self._length = 0
            while capture.grab():
                self._length += 1
        return self._length

    def __getitem__(self, index: int) -> np.ndarray:
        if index < 0:
            index += len(self)
        # A decoder inherited by a forked process shares its file with the parent's; neither would stay exact.
        if index < self._next or self._process != os.getpid():
            self._rewind()
        while self._next <= index:
            if not self._capture.grab():
                raise IndexError(f"frame {index} of the video {self.path}, which has {self._next}")
            self._next += 1
        ok, picture = self._capture.retrieve()
        if not ok:
            raise ValueError(f"frame {index} of the video {self.path} cannot be decoded")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def size(self, index: int) -> tuple[int, int]:
        capture = self._capture
        return int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))

    def __getstate__(self) -> Path:
        """Travel to another process as a path: an open decoder cannot."""
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path
        self._length = None
        self._rewind()

    def _rewind(self) -> None:
        """Open the file anew; `_next` is the frame that the decoder gives next."""
        self._capture = _opened(self.path)
        self._process = os.getpid()
        self._next = 0


def read_image(path: TreePath) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB; `decode_image` says what becomes of other kinds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image, or is damaged.
    """
    return _decoded(path, decode_image)


def _decoded(path: TreePath, decode: Callable[[bytes], Result]) -> Result:
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"the image {path} does not exist") from None
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"{path} is not an image that can be read: {error}") from None


def _cut(image: EncodedImage, window: CropWindow) -> tuple[EncodedImage, np.ndarray | None]:
    return image, image.cut(window)


def _opened(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise FileNotFoundError(f"the video {path} does not exist")
    capture = cv2.VideoCapture(str(path.absolute()))  # the start of a bare `a:b.mp4` would be a protocol
    if not capture.isOpened():
        raise ValueError(f"{path} is not a video that can be decoded")
    try:
        require_size(int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
    except ValueError as error:
        raise ValueError(f"{path} is not a video that can be decoded: {error}") from None
    return capture
