"""Where the pictures of a video come from: image files, a video file, or memory."""

import os
from collections.abc import Sequence as Indexed
from pathlib import Path

import cv2
import numpy as np

_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


class ImageFiles:
    """Pictures in files, one per frame."""

    def __init__(self, paths: Indexed[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])


class MaskFiles:
    """Masks in files, one per frame; any value but zero is the target, and alpha does not count."""

    def __init__(self, paths: Indexed[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        picture = _read_8bit(self.paths[index])
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


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB.

    Grey is repeated into three channels, 16 bits are scaled to 8, alpha is dropped. A rotation noted in the file's
    EXIF block is ignored, because boxes refer to the stored pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image, or is damaged.
    """
    picture = _read_8bit(path)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in _TO_RGB:
        raise ValueError(f"{path} has {channels} channels; 1, 3 or 4 can be read")
    return cv2.cvtColor(picture, _TO_RGB[channels])


def _read_8bit(path: Path) -> np.ndarray:
    """Read an image file as (H, W) or (H, W, channels) uint8 in OpenCV's order of channels."""
    # Not cv2.imread: it does not tell a missing file from a damaged one.
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise FileNotFoundError(f"the image {path} does not exist") from None
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if picture is None:
        raise ValueError(f"{path} is not an image that can be read, or is damaged")
    if picture.dtype == np.uint16:
        # 65535 / 257 is 255; 128 is added to round.
        picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise ValueError(f"{path} holds {picture.dtype} values; images of 8 or 16 bits can be read")
    return picture


def _opened(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise FileNotFoundError(f"the video {path} does not exist")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(f"{path} is not a video that can be decoded")
    return capture
