"""Where the pictures of a video come from: image files, a video file, or memory."""

import os
from collections.abc import Callable
from collections.abc import Sequence as Indexed
from pathlib import Path

import cv2
import numpy as np

from lib.data.images.decode import decode_8bit, decode_image
from lib.data.images.picture import FilePicture
from lib.data.storage.tree import TreePath


class ImageFiles:
    """Pictures in files, one per frame."""

    def __init__(self, paths: Indexed[TreePath]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def picture(self, index: int, keep: bool = False) -> FilePicture:
        """Return a frame unread, for crops of it."""
        return FilePicture(self.paths[index], keep)


class MaskFiles:
    """Masks in files, one per frame; any value but zero is the target, and alpha does not count."""

    def __init__(self, paths: Indexed[TreePath]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        path = self.paths[index]
        picture = _decoded(path, decode_8bit)
        return (picture if picture.ndim == 2 else picture[..., :3].max(axis=-1)) > 0


class ArrayFrames:
    """Pictures in memory: a list of (H, W, 3) uint8 RGB arrays, or one (N, H, W, 3) array."""

    def __init__(self, images: Indexed[np.ndarray] | np.ndarray) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._images[index]


class VideoFile:
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


def _decoded(path: TreePath, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    # Not cv2.imread: it does not tell a missing file from a damaged one.
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"the image {path} does not exist") from None
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"{path} is not an image that can be read: {error}") from None


def _opened(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise FileNotFoundError(f"the video {path} does not exist")
    capture = cv2.VideoCapture(str(path.absolute()))  # the start of a bare `a:b.mp4` would be a protocol
    if not capture.isOpened():
        raise ValueError(f"{path} is not a video that can be decoded")
    return capture
