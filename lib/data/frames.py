"""Where the pictures of a video come from: image files, a video file, or memory."""

from collections.abc import Sequence as Indexed
from pathlib import Path

import cv2
import numpy as np


class ImageFiles:
    """Pictures in files, one per frame."""

    def __init__(self, paths: Indexed[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])


class MaskFiles:
    """Masks in files, one per frame; any value but zero is the target."""

    def __init__(self, paths: Indexed[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(read_image(self.paths[index]).any(axis=-1))


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
    The frames are counted once, by walking through the file, because containers state wrong counts.
    """

    def __init__(self, path: Path) -> None:
        """Open a video.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be decoded or has no frames.
        """
        if not path.is_file():
            raise FileNotFoundError(f"the video {path} does not exist")
        self.path = path
        self._capture = _opened(path)
        self._next = 0
        self._length: int | None = None
        if not self._capture.grab():
            raise ValueError(f"the video {path} has no frames")
        self._rewind()

    def __len__(self) -> int:
        if self._length is None:
            while self._capture.grab():
                self._next += 1
            self._length = self._next
            self._rewind()
        return self._length

    def __getitem__(self, index: int) -> np.ndarray:
        if index < 0:
            index += len(self)
        if index < self._next:
            self._rewind()
        while self._next < index:
            self._advance(index)
        self._advance(index)
        ok, picture = self._capture.retrieve()
        if not ok:
            raise ValueError(f"frame {index} of the video {self.path} cannot be decoded")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def __getstate__(self) -> Path:
        """Travel to another process as a path: an open decoder cannot."""
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)

    def _advance(self, wanted: int) -> None:
        if not self._capture.grab():
            raise IndexError(f"frame {wanted} of the video {self.path}, which has {self._next}")
        self._next += 1

    def _rewind(self) -> None:
        self._capture.release()
        self._capture = _opened(self.path)
        self._next = 0


def read_image(path: Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 RGB.

    Grey pictures are repeated into three channels, 16-bit ones are scaled to 8 bits, alpha is dropped. A rotation
    noted in the file's EXIF block is ignored, because the boxes of a data set refer to the stored pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a picture, or is damaged.
    """
    try:
        # Not cv2.imread: it prints a warning and says nothing of the reason, and fails on some file names on Windows.
        data = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise FileNotFoundError(f"the image {path} does not exist") from None
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if picture is None:
        raise ValueError(f"{path} is not a picture that can be read, or is damaged")
    return _as_rgb8(picture, path)


def _as_rgb8(picture: np.ndarray, path: Path) -> np.ndarray:
    if picture.dtype == np.uint16:
        picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise ValueError(f"{path} holds {picture.dtype} values; 8-bit and 16-bit pictures can be read")
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in _TO_RGB:
        raise ValueError(f"{path} has {channels} channels; 1, 3 or 4 can be read")
    return cv2.cvtColor(picture, _TO_RGB[channels])


_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


def _opened(path: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(f"{path} is not a video that can be decoded")
    return capture
