"""Pictures of a video in image files, of any kind that is read, or in memory."""

import struct
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from lib.data.crop import CropWindow
from lib.data.images.jpeg import START, Header, JpegImage, decode_by_opencv, decode_jpeg, read_jpeg_header, require_size
from lib.data.sequence import Frames
from lib.data.storage.tree import TreePath, read_file

_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
_TO_8_BITS = ((np.arange(2**16) + 128) // 257).astype(np.uint8)  # 65535 / 257 is 255; 128 is added to round
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
        self._kept: tuple[int, JpegImage | np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def size(self, index: int) -> tuple[int, int]:
        header = decoded(self.paths[index], read_header)
        return header.height, header.width

    def cut(self, index: int, window: CropWindow) -> np.ndarray | None:
        if self._kept is not None and self._kept[0] == index:
            return _cut(self._kept[1], window)
        picture, crop = decoded(self.paths[index], lambda data: _open_and_cut(data, self._keep, window))
        if self._keep:
            self._kept = index, picture
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
        mask = decoded(self.paths[index], decode_mask) > 0
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


def read_image(path: TreePath) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB; `decode_image` says what becomes of other kinds."""
    return decoded(path, decode_image)


def decoded(path: TreePath, decode: Callable[[bytes], Result]) -> Result:
    """Read an image file and return what `decode` makes of its bytes; its errors name the file."""
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"the image {path} does not exist") from None
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"{path} is not an image that can be read: {error}") from None


def _open_and_cut(data: bytes, keep: bool, window: CropWindow) -> tuple[JpegImage | np.ndarray, np.ndarray | None]:
    """Return a picture, of a JPEG what decodes no more than a crop needs, and a crop of it."""
    picture = JpegImage(data, keep) if data.startswith(START) else decode_image(data)
    return picture, _cut(picture, window)


def _cut(picture: JpegImage | np.ndarray, window: CropWindow) -> np.ndarray | None:
    return picture.cut(window) if isinstance(picture, JpegImage) else window.cut_visible(picture)


def decode_image(data: bytes, reduction: int = 1) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB; with a reduction, a JPEG to (ceil(H / reduction), ...).

    Grey is repeated into three channels, 16 bits are scaled to 8, alpha is dropped. A rotation noted in the file's
    EXIF block is ignored, because boxes refer to the stored pixels.

    Pixel (i, j) of a reduced picture stands for the `reduction` x `reduction` pixels of the block (i, j): about
    their mean, taken before decoding, which is what makes it fast. At full size the pixels are those of OpenCV.

    Args:
        data: the whole file.
        reduction: 1, 2, 4 or 8; 1 unless the header says that it is scalable.

    Raises:
        ValueError: why it cannot be decoded; the caller knows the name.
    """
    if data.startswith(START):
        return decode_jpeg(data, read_jpeg_header(data), reduction)
    picture = _decode_8bit(data)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in _TO_RGB:
        raise ValueError(f"it has {channels} channels; 1, 3 or 4 can be read")
    return cv2.cvtColor(picture, _TO_RGB[channels])


def decode_mask(data: bytes) -> np.ndarray:
    """Decode an image file to (H, W) uint8, the largest of its channels; alpha does not count."""
    picture = _decode_8bit(data)
    return picture if picture.ndim == 2 else picture[..., :3].max(axis=-1)


def _decode_8bit(data: bytes) -> np.ndarray:
    """Decode by OpenCV to (H, W) or (H, W, channels) uint8, with the channels that the file has."""
    picture = decode_by_opencv(data, read_header(data), cv2.IMREAD_UNCHANGED)
    if picture.dtype == np.uint16:
        picture = _TO_8_BITS[picture]
    if picture.dtype != np.uint8:
        raise ValueError(f"it holds {picture.dtype} values; images of 8 or 16 bits can be read")
    return picture


def read_header(data: bytes) -> Header:
    """Read the header of an image file.

    Raises:
        ValueError: there is no complete header of a kind that is read, or it states no size, or too large a one.
    """
    if data.startswith(START):
        return read_jpeg_header(data)
    try:
        header = Header(*_read_size(data))
    except (struct.error, IndexError):
        raise ValueError("its header is damaged") from None
    require_size(header.height, header.width)
    return header


def _read_size(data: bytes) -> tuple[int, int]:
    """Return height and width as a file of another kind states them."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
    elif data.startswith(b"BM"):
        old = data[14:18] == b"\x0c\0\0\0"
        width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    elif data[:4] == b"RIFF" and data[8:15] == b"WEBPVP8":
        if data[15:16] == b"X":
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        elif data[15:16] == b"L":
            bits = int.from_bytes(data[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        else:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif data[:4] in {b"II*\0", b"MM\0*"}:
        width, height = _read_tiff_size(data, "<" if data[:1] == b"I" else ">")
    else:
        raise ValueError("its contents are damaged or of no known kind")
    return abs(height), width  # a BMP of a negative height begins at the top


def _read_tiff_size(data: bytes, order: str) -> tuple[int, int]:
    """Return width and height, or those of its tiles where they are larger: a decoder makes room for one."""
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    width = height = 0
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in {256, 257, 322, 323}:
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
            width, height = (max(width, value), height) if tag in {256, 322} else (width, max(height, value))
    return width, height
