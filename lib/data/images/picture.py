"""One frame of which only a crop is wanted: decode no more of it than the crop needs."""

import functools
import threading
import time
from typing import Protocol, cast, runtime_checkable

import cv2
import numpy as np

from lib.data.crop import CropWindow
from lib.data.images.decode import JpegHeader, decode_image, decode_jpeg, decode_part, is_jpeg, read_header
from lib.data.sequence import Frames, Scene
from lib.data.storage.tree import TreePath

_ATTEMPTS = 3
_BUFFER_BYTES = 4 * 1920 * 1088  # larger pictures do without
_MEMORY = threading.local()
PAUSE = 0.1  # seconds between attempts: a shared disk may recover


class UnreadableFrameError(ValueError):
    """A frame cannot be read or decoded, also not when tried again."""


class Picture(Protocol):
    """A frame that has not been read yet. It is read, then decoded, so that each can be timed and tried again."""

    def read(self, window: CropWindow) -> int:
        """Read what a window needs, if it has not been read; return the number of bytes, as far as it is known.

        Raises:
            OSError, ValueError, IndexError: it cannot be read; the message names it.
        """
        ...

    def decode(self, window: CropWindow) -> tuple[np.ndarray, CropWindow] | None:
        """Decode what a window needs; return it with the window in its pixels, None where the window lies beside.

        The picture is good until another one is decoded, and may have a fourth channel without meaning: `cut_decoded`
        cuts it.

        Raises:
            ValueError: it cannot be decoded; the message names it.
        """
        ...

    def forget(self) -> None:
        """Make the next `read` read again."""
        ...


@runtime_checkable
class PictureSource(Protocol):
    """Frames that can cut a crop without decoding all of a picture."""

    def picture(self, index: int, keep: bool = False) -> Picture:
        """Return a frame unread; `keep` where several crops of it are wanted."""
        ...


def open_picture(frames: Frames, index: int, keep: bool = False) -> Picture:
    """Return a frame, to be read when a crop of it is wanted.

    Args:
        frames: where it comes from.
        index: of the frame.
        keep: True where several crops of it are wanted: what was decoded for one serves the others.
    """
    if _gives_pictures(type(frames)):
        return cast(PictureSource, frames).picture(index, keep)
    return WholePicture(frames, index)


def cut_decoded(image: np.ndarray, window: CropWindow) -> np.ndarray:
    """Cut what `Picture.decode` returned as (size, size, 3) uint8 RGB."""
    crop = window.cut(image)
    return crop if crop.shape[2] == 3 else cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)


@functools.cache
def _gives_pictures(kind: type) -> bool:
    """Return whether frames of a class are a `PictureSource`; to ask each object takes as long as a small crop."""
    return issubclass(kind, PictureSource)


def cut_picture(picture: Picture, window: CropWindow) -> np.ndarray | None:
    """Cut a window as (size, size, 3) uint8 RGB; None where the picture has nothing of it.

    Raises:
        UnreadableFrameError: the picture cannot be read or decoded, also not when tried again a few times.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            picture.read(window)
            decoded = picture.decode(window)
        except (OSError, ValueError, IndexError) as error:
            if attempt == _ATTEMPTS:
                raise UnreadableFrameError(f"{error} (tried {_ATTEMPTS} times)") from error
            picture.forget()
            time.sleep(PAUSE)
        else:
            if decoded is None:
                return None
            return cut_decoded(*decoded)
    raise AssertionError


class WholePicture:
    """A frame that is read and decoded at once, such as one of a video file."""

    def __init__(self, frames: Frames, index: int) -> None:
        self._frames = frames
        self._index = index
        self._image: np.ndarray | None = None

    def read(self, window: CropWindow) -> int:
        if self._image is None:
            self._image = self._frames[self._index]
        return 0

    def decode(self, window: CropWindow) -> tuple[np.ndarray, CropWindow] | None:
        assert self._image is not None, "read it first"
        height, width = self._image.shape[:2]
        return (self._image, window) if window.covers_frame_share(height, width) > 0 else None

    def forget(self) -> None:
        self._image = None


class DrawnPicture:
    """A frame of a drawn video, of which no more is drawn than a crop needs."""

    def __init__(self, scene: Scene, index: int) -> None:
        self._scene = scene
        self._index = index

    def read(self, window: CropWindow) -> int:
        return 0

    def decode(self, window: CropWindow) -> tuple[np.ndarray, CropWindow] | None:
        if window.covers_frame_share(*self._scene.frame_size) == 0:
            return None
        part = window.needed().inside(*self._scene.frame_size)
        return self._scene.draw(self._index, part), window.relative_to(part.left, part.top)

    def forget(self) -> None:
        pass


class FilePicture:
    """An image file, in a folder or packed."""

    def __init__(self, path: TreePath, keep: bool = False) -> None:
        self.path = path
        self._keep = keep
        self._image: EncodedImage | None = None

    def read(self, window: CropWindow) -> int:
        if self._image is None:
            data = self.path.read_bytes()
            try:
                self._image = EncodedImage(data, self._keep)
            except ValueError as error:
                raise self._unreadable(error) from None
        return len(self._image.data)

    def decode(self, window: CropWindow) -> tuple[np.ndarray, CropWindow] | None:
        assert self._image is not None, "read it first"
        try:
            return self._image.decode(window)
        except ValueError as error:
            raise self._unreadable(error) from None

    def forget(self) -> None:
        self._image = None

    def _unreadable(self, error: ValueError) -> ValueError:
        return ValueError(f"{self.path} is not an image that can be read: {error}")


def _buffer() -> np.ndarray:
    """Return memory of this thread for one picture: to ask the system for it each time takes as long as to fill it."""
    if "buffer" not in _MEMORY.__dict__:
        _MEMORY.buffer = np.empty(_BUFFER_BYTES, np.uint8)
    return _MEMORY.buffer


class EncodedImage:
    """An image file in memory. Of a JPEG, no more is decoded than a crop needs.

    What lies beside the window is not decoded, as far as the decoder can leave it out. Where the window is at least
    twice as large as its crop, the picture is reduced by 2, 4 or 8 while it is decoded; each pixel of the crop is then
    interpolated between means of 2 x 2, 4 x 4 or 8 x 8 pixels instead of between single pixels, which is also free of
    aliasing. The geometry is the same, exactly.
    """

    def __init__(self, data: bytes, keep: bool = False) -> None:
        """Read the header.

        Args:
            data: the whole file.
            keep: decode all of it, and keep it for the next crop.

        Raises:
            ValueError: why it cannot be decoded.
        """
        self.data = data
        self._keep = keep
        self._decoded: dict[int, np.ndarray] = {}  # by reduction
        self._header: JpegHeader | None = None
        if is_jpeg(data):
            self._header = read_header(data)
            self.height, self.width = self._header.height, self._header.width
        else:
            self._decoded[1] = decode_image(data)
            self.height, self.width = self._decoded[1].shape[:2]

    def decode(self, window: CropWindow) -> tuple[np.ndarray, CropWindow] | None:
        """Decode what a window needs; return it with the window in its pixels, None where the window lies beside.

        The picture lies in memory that the next call of this thread uses again, unless it is kept.

        Raises:
            ValueError: why it cannot be decoded.
        """
        if window.covers_frame_share(self.height, self.width) == 0:
            return None
        if self._header is None:
            return self._decoded[1], window
        reduction = window.reduction()
        if reduction > 1:
            window = window.in_reduced(reduction)
        if reduction in self._decoded:
            return self._decoded[reduction], window
        if self._keep:
            self._decoded[reduction] = decode_jpeg(self.data, self._header, reduction)
            return self._decoded[reduction], window
        decoded = decode_part(self.data, self._header, reduction, window.needed(), _buffer())
        return decoded.image, window.relative_to(decoded.left, decoded.top)
