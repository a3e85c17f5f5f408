"""The one place where the bytes of an image file become a picture; of a JPEG, no more pixels than a crop needs.

The header is read first: it says whether the picture is small enough, and which decoder may be asked. The fast ones are
believed only where they have no complaint, else OpenCV decides what the file holds.
"""

import functools
import os
import struct
import threading
import warnings
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.crop import CropWindow, Rectangle
from lib.data.images.turbojpeg import region_decoder

try:
    import simplejpeg
except ImportError:  # wheels exist for all common platforms; elsewhere OpenCV does the same, in twice the time
    simplejpeg = None

MAX_PIXELS = 200_000_000  # of a picture, whatever decodes it; the environment's MMG_MAX_PIXELS is another limit
_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
_TO_8_BITS = ((np.arange(2**16) + 128) // 257).astype(np.uint8)  # 65535 / 257 is 255; 128 is added to round
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_START, _END = b"\xff\xd8", b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Frame headers of all kinds of JPEG; those that the fast decoders scale; those with each row stored once, from the top.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCALABLE = frozenset((0xC0, 0xC1, 0xC2))
_SEQUENTIAL = frozenset((0xC0, 0xC1))
# What may stand before a scan: tables, notes and the frame header. All state their length.
_SEGMENTS = _FRAME_HEADERS | {0xC4, 0xCC, _START_OF_SCAN, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
# Columns beside a part that are decoded with it: colours stored at half the width are interpolated with those beside
# them, and a part has none at its edge.
_MARGIN = 1
_BUFFER_BYTES = 4 * 1920 * 1088  # larger pictures do without
MEMORY = threading.local()


class Header(NamedTuple):
    """What the header of an image file states.

    Attributes:
        height, width: in pixels.
        is_jpeg: True for a JPEG.
        scalable: True for a JPEG that can be reduced while it is decoded.
        from_the_top: True for one of which all that is stored of a row comes before all that is stored of a lower one.
        block_width: pixels of a row that it stores together, mostly 8 or 16.
    """

    height: int
    width: int
    is_jpeg: bool = False
    scalable: bool = False
    from_the_top: bool = False
    block_width: int = 1


def read_header(data: bytes) -> Header:
    """Read the header of an image file.

    Raises:
        ValueError: there is no complete header of a kind that is read, or it states no size, or too large a one.
    """
    try:
        header = _read_jpeg_header(data) if data.startswith(_START) else Header(*_read_size(data))
    except (struct.error, IndexError):
        raise ValueError("its header is damaged") from None
    require_size(header.height, header.width)
    return header


def require_size(height: int, width: int) -> None:
    """Refuse, by a ValueError, a picture without pixels, or with so many that it would fill the memory."""
    stated = os.environ.get("MMG_MAX_PIXELS", str(MAX_PIXELS))
    if not stated.isdecimal():
        raise ValueError(f"MMG_MAX_PIXELS is {stated!r}; it must be a number of pixels")
    if height <= 0 or width <= 0:
        raise ValueError(f"its header is damaged: it states {width} x {height} pixels")
    if height * width > int(stated):
        raise ValueError(f"it has {width} x {height} pixels, more than {int(stated):,}; MMG_MAX_PIXELS=N allows more")


def _read_jpeg_header(data: bytes) -> Header:
    """Walk through the segments before the picture, as strictly as needed to find what a decoder will find."""
    at, frame = 2, None
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a marker may be preceded by any number of fill bytes
            at += 1
            continue
        length = 256 * data[at + 2] + data[at + 3]
        if marker not in _SEGMENTS or length < 2 or (marker in _FRAME_HEADERS and frame is not None):
            break
        if marker in _FRAME_HEADERS:
            frame = marker, at + 4
        if marker == _START_OF_SCAN and frame is not None:
            kind, start = frame
            precision, height, width, components = struct.unpack_from(">BHHB", data, start)
            samplings = data[start + 7 : start + 6 + 3 * components : 3]
            if data.rfind(_END, at + 2 + length) < 0:
                raise ValueError("the file is cut off")
            scalable = kind in _SCALABLE and precision == 8 and components in {1, 3}
            return Header(
                height,
                width,
                is_jpeg=True,
                scalable=scalable,
                from_the_top=scalable and kind in _SEQUENTIAL and data[at + 4] == components,
                block_width=8 * max((sampling >> 4 for sampling in samplings), default=1),
            )
        at += 2 + length
    raise ValueError("its header is damaged")


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
    header = read_header(data)
    if header.is_jpeg:
        return _decode_jpeg(data, header, reduction)
    picture = _decode_8bit(data, header)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in _TO_RGB:
        raise ValueError(f"it has {channels} channels; 1, 3 or 4 can be read")
    return cv2.cvtColor(picture, _TO_RGB[channels])


def decode_mask(data: bytes) -> np.ndarray:
    """Decode an image file to (H, W) uint8, the largest of its channels; alpha does not count.

    Raises:
        ValueError: why it cannot be decoded.
    """
    picture = _decode_8bit(data, read_header(data))
    return picture if picture.ndim == 2 else picture[..., :3].max(axis=-1)


def _decode_8bit(data: bytes, header: Header) -> np.ndarray:
    """Decode by OpenCV to (H, W) or (H, W, channels) uint8, with the channels that the file has."""
    picture = _decode_by_opencv(data, header, cv2.IMREAD_UNCHANGED)
    if picture.dtype == np.uint16:
        picture = _TO_8_BITS[picture]
    if picture.dtype != np.uint8:
        raise ValueError(f"it holds {picture.dtype} values; images of 8 or 16 bits can be read")
    return picture


def _decode_by_opencv(data: bytes, header: Header, flags: int, reduction: int = 1) -> np.ndarray:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses it: {' '.join(str(error).split())}") from error
    if picture is None:
        raise ValueError("its contents are damaged or of no known kind")
    if picture.shape[:2] != (-(-header.height // reduction), -(-header.width // reduction)):
        raise ValueError(f"its header states {header.width} x {header.height} pixels, it holds others")
    return picture


def _decode_jpeg(data: bytes, header: Header, reduction: int, buffer: np.ndarray | None = None) -> np.ndarray:
    """Decode to RGB, or to four channels, the last without meaning, where that fits into a buffer."""
    assert header.scalable or reduction == 1
    if simplejpeg is not None and header.scalable:
        rows, columns = -(-header.height // reduction), -(-header.width // reduction)
        fits = buffer is not None and buffer.size >= 4 * rows * columns
        try:
            return simplejpeg.decode_jpeg(
                data,
                colorspace="RGBX" if fits else "RGB",
                min_height=rows,
                min_width=columns,
                buffer=buffer if fits else None,
            )
        except ValueError:  # it has a complaint, which may be harmless
            pass
    # Boxes refer to the stored pixels: a rotation noted in the file is ignored.
    picture = _decode_by_opencv(data, header, _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION, reduction)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def find_damage(data: bytes) -> str | None:
    """Return what is wrong with a JPEG that can be decoded all the same, None where nothing is known to be."""
    if simplejpeg is None or not read_header(data).scalable:
        return None
    try:
        simplejpeg.decode_jpeg(data)
    except ValueError as error:
        return str(error)
    return None


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
        self._data = data
        self._header = read_header(data)
        self._keep = keep or not self._header.is_jpeg
        self._decoded: dict[int, np.ndarray] = {}  # by reduction

    def cut(self, window: CropWindow) -> np.ndarray | None:
        """Cut a window as (size, size, 3) uint8 RGB; None where the picture has nothing of it.

        Raises:
            ValueError: why it cannot be decoded.
        """
        header = self._header
        if window.covers_frame_share(header.height, header.width) == 0:
            return None
        reduction = window.reduction() if header.scalable else 1
        if reduction > 1:
            window = window.in_reduced(reduction)
        if self._keep and reduction not in self._decoded:
            self._decoded[reduction] = decode_image(self._data, reduction)
        if reduction in self._decoded:
            return window.cut_rgb(self._decoded[reduction])
        part = decode_part(self._data, header, reduction, window.needed())
        return window.relative_to(part.left, part.top).cut_rgb(part.image)


class DecodedPart(NamedTuple):
    """What was decoded, three or four bytes a pixel, and where it lies in the picture."""

    image: np.ndarray
    left: int
    top: int


def decode_part(data: bytes, header: Header, reduction: int, wanted: Rectangle) -> DecodedPart:
    """Decode a rectangle of a JPEG; its pixels are those of `decode_image`.

    With TurboJPEG 3 it is no larger than cannot be avoided, else it is the whole picture.

    Args:
        data: the whole file.
        header: its header.
        reduction: 1, 2, 4 or 8; 1 unless it is scalable.
        wanted: in pixels of the reduced picture; it may reach over its border. Of one that lies beside, the nearest
            pixels are decoded.

    Returns:
        It may lie in memory that the next call of this thread uses again, with a fourth channel without meaning: crops
        are interpolated in less than half the time when a pixel has four bytes.

    Raises:
        ValueError: why it cannot be decoded.
    """
    if "buffer" not in MEMORY.__dict__:  # to ask the system for memory each time takes as long as to fill it
        MEMORY.buffer = np.empty(_BUFFER_BYTES, np.uint8)
    buffer: np.ndarray = MEMORY.buffer
    decoder = region_decoder()
    if decoder is not None and header.from_the_top:
        height, width = -(-header.height // reduction), -(-header.width // reduction)
        block = max(1, header.block_width // reduction)
        left = min(max(0, wanted.left - _MARGIN), width - 1) // block * block
        top = min(max(0, wanted.top), height - 1)
        right = max(left + 1, min(width, wanted.right + _MARGIN))
        bottom = max(top + 1, min(height, wanted.bottom))
        size = 4 * (bottom - top) * (right - left)
        image = (buffer[:size] if size <= buffer.size else np.empty(size, np.uint8)).reshape(bottom - top, -1, 4)
        image.fill(0)
        try:
            decoder.decode(data, left, top, reduction, image)
        except ValueError:  # it has a complaint, which may be harmless
            pass
        else:
            return DecodedPart(image, left, top)
    return DecodedPart(_decode_jpeg(data, header, reduction, buffer), 0, 0)


def describe_decoder() -> str:
    """Say in a line what decodes JPEG here."""
    if region_decoder() is not None:
        return "TurboJPEG 3, parts of a frame"
    if simplejpeg is not None:
        return "simplejpeg, whole frames (pip install turbojpeg decodes parts)"
    return "OpenCV, whole frames (pip install simplejpeg turbojpeg decodes parts)"


@functools.cache
def warn_if_slow() -> None:
    """Say, once, which fast decoder is not installed."""
    if simplejpeg is None:
        warnings.warn("simplejpeg is not installed: OpenCV decodes JPEG, in twice the time; pip install simplejpeg",
                      stacklevel=2)  # fmt: skip
    elif region_decoder() is None:
        warnings.warn("the library TurboJPEG 3 was not found: JPEG frames are decoded whole and not in parts, in about "
                      "twice the time; pip install turbojpeg", stacklevel=2)  # fmt: skip
