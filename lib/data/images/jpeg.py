"""JPEG, from the file's bytes to a crop: no more of a picture is decoded than the crop needs.

The header is read first: it says whether the picture is small enough, and which decoder may be asked. The fast ones are
believed only where they have no complaint, else OpenCV decides what the file holds. All give the same pixels.

By TurboJPEG 3, what is stored of the rows above a rectangle must be gone through, but only the blocks of the rectangle
are transformed into pixels.
"""

import ctypes
import functools
import os
import struct
import threading
import warnings
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.crop import CropWindow, Rectangle
from lib.data.images.turbojpeg import FACTORS, WHOLE, Region, find_library

try:
    import simplejpeg
except ImportError:  # wheels exist for all common platforms; elsewhere OpenCV does the same, in twice the time
    simplejpeg = None

# What the environment's MMG_JPEG may name, and what each does; `auto` is the first that is installed, but jpeg4py.
DECODERS = {
    "turbojpeg": "TurboJPEG 3, parts of a frame",
    "simplejpeg": "simplejpeg, whole frames (pip install turbojpeg decodes parts)",
    "jpeg4py": "jpeg4py, whole frames (pip install turbojpeg decodes parts)",
    "opencv": "OpenCV, whole frames (pip install simplejpeg turbojpeg decodes parts)",
}
MAX_PIXELS = 200_000_000  # of a picture, whatever decodes it; the environment's MMG_MAX_PIXELS is another limit
START, _END = b"\xff\xd8", b"\xff\xd9"  # of every JPEG
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
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
MEMORY = threading.local()  # of each thread: a buffer, and TurboJPEG's state

# Of TurboJPEG's header file, which jpeg4py binds as well.
_DECOMPRESS = 1  # TJINIT_DECOMPRESS
_RGB, _RGBX = 0, 2  # TJPF_RGB, TJPF_RGBX


class Header(NamedTuple):
    """What the header of an image file states.

    Attributes:
        height, width: in pixels.
        scalable: True for a JPEG that can be reduced while it is decoded.
        from_the_top: True for one of which all that is stored of a row comes before all that is stored of a lower one.
        block_width: pixels of a row that it stores together, mostly 8 or 16.
    """

    height: int
    width: int
    scalable: bool = False
    from_the_top: bool = False
    block_width: int = 1

    def reduced(self, reduction: int) -> tuple[int, int]:
        """Return height and width of the picture when it is reduced."""
        return -(-self.height // reduction), -(-self.width // reduction)


def require_size(height: int, width: int) -> None:
    """Refuse, by a ValueError, a picture without pixels, or with so many that it would fill the memory."""
    stated = os.environ.get("MMG_MAX_PIXELS", str(MAX_PIXELS))
    if not stated.isdecimal():
        raise ValueError(f"MMG_MAX_PIXELS is {stated!r}; it must be a number of pixels")
    if height <= 0 or width <= 0:
        raise ValueError(f"its header is damaged: it states {width} x {height} pixels")
    if height * width > int(stated):
        raise ValueError(f"it has {width} x {height} pixels, more than {int(stated):,}; MMG_MAX_PIXELS=N allows more")


def read_jpeg_header(data: bytes) -> Header:
    """Walk through the segments before the picture, as strictly as needed to find what a decoder will find.

    Raises:
        ValueError: there is no complete header, or it states no size, or too large a one, or the file is cut off.
    """
    at, frame = 2, None
    try:
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
                require_size(height, width)
                scalable = kind in _SCALABLE and precision == 8 and components in {1, 3}
                from_the_top = scalable and kind in _SEQUENTIAL and data[at + 4] == components
                block_width = 8 * max((sampling >> 4 for sampling in samplings), default=1)
                return Header(height, width, scalable, from_the_top, block_width)
            at += 2 + length
    except (struct.error, IndexError):
        pass
    raise ValueError("its header is damaged")


class JpegImage:
    """A JPEG in memory, of which no more is decoded than a crop needs.

    What lies beside the window is not decoded, as far as the decoder can leave it out. Where the window is at least
    twice as large as its crop, the picture is reduced by 2, 4 or 8 while it is decoded; each pixel of the crop is then
    interpolated between means of 2 x 2, 4 x 4 or 8 x 8 pixels instead of between single pixels, which is also free of
    aliasing. The geometry is the same, exactly.
    """

    def __init__(self, data: bytes, keep: bool = False) -> None:
        """Read the header; with `keep`, all of the picture is decoded and kept for the next crop.

        Raises:
            ValueError: why it cannot be decoded; `cut` raises it as well.
        """
        self._data = data
        self._header = read_jpeg_header(data)
        self._keep = keep
        self._decoded: dict[int, np.ndarray] = {}  # by reduction

    def cut(self, window: CropWindow) -> np.ndarray | None:
        """Cut a window as (size, size, 3) uint8 RGB; None where the picture has nothing of it."""
        header = self._header
        if window.covers_frame_share(header.height, header.width) == 0:
            return None
        reduction = window.reduction() if header.scalable else 1
        if reduction > 1:
            window = window.in_reduced(reduction)
        if not self._keep:
            part = decode_part(self._data, header, reduction, window.needed())
            return window.relative_to(part.left, part.top).cut_rgb(part.image)
        if reduction not in self._decoded:
            self._decoded[reduction] = decode_jpeg(self._data, header, reduction)
        return window.cut_rgb(self._decoded[reduction])


class DecodedPart(NamedTuple):
    """What was decoded, three or four bytes a pixel, and where it lies in the picture."""

    image: np.ndarray
    left: int
    top: int


def decode_part(data: bytes, header: Header, reduction: int, wanted: Rectangle) -> DecodedPart:
    """Decode a rectangle of a JPEG; its pixels are those of `decode_jpeg`.

    By TurboJPEG 3 it is no larger than cannot be avoided, else it is the whole picture.

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
    if not header.from_the_top or chosen_decoder() != "turbojpeg":
        return DecodedPart(decode_jpeg(data, header, reduction, buffer), 0, 0)
    height, width = header.reduced(reduction)
    block = max(1, header.block_width // reduction)
    left = min(max(0, wanted.left - _MARGIN), width - 1) // block * block
    top = min(max(0, wanted.top), height - 1)
    right = max(left + 1, min(width, wanted.right + _MARGIN))
    bottom = max(top + 1, min(height, wanted.bottom))
    size = 4 * (bottom - top) * (right - left)
    image = (buffer[:size] if size <= buffer.size else np.empty(size, np.uint8)).reshape(bottom - top, -1, 4)
    image.fill(0)
    try:
        _turbojpeg().decode(data, left, top, reduction, image)
    except ValueError:  # it has a complaint, which may be harmless
        return DecodedPart(decode_jpeg(data, header, reduction, buffer), 0, 0)
    return DecodedPart(image, left, top)


def decode_jpeg(data: bytes, header: Header, reduction: int, buffer: np.ndarray | None = None) -> np.ndarray:
    """Decode to RGB, or to four channels, the last without meaning, where that fits into a buffer."""
    assert header.scalable or reduction == 1
    decoder = chosen_decoder()
    if decoder != "opencv" and header.scalable:
        height, width = header.reduced(reduction)
        size = 4 * height * width
        if buffer is not None and size <= buffer.size:
            image = buffer[:size].reshape(height, width, 4)
        else:
            image = np.empty((height, width, 3), np.uint8)
        try:
            _fill(image, data, reduction, decoder)
        except ValueError:  # it has a complaint, which may be harmless
            pass
        else:
            return image
    # Boxes refer to the stored pixels: a rotation noted in the file is ignored.
    picture = decode_by_opencv(data, header, _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION, reduction)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def decode_by_opencv(data: bytes, header: Header, flags: int, reduction: int = 1) -> np.ndarray:
    """Decode an image file of any kind as OpenCV's flags say, or raise ValueError."""
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses it: {' '.join(str(error).split())}") from error
    if picture is None:
        raise ValueError("its contents are damaged or of no known kind")
    if picture.shape[:2] != header.reduced(reduction):
        raise ValueError(f"its header states {header.width} x {header.height} pixels, it holds others")
    return picture


def find_damage(data: bytes) -> str | None:
    """Return what is wrong with an image file that can be decoded all the same, None where nothing is known to be."""
    decoder = chosen_decoder()
    if decoder == "opencv" or not data.startswith(START) or not (header := read_jpeg_header(data)).scalable:
        return None
    try:
        _fill(np.empty((header.height, header.width, 3), np.uint8), data, 1, decoder)
    except ValueError as error:
        return str(error)
    return None


def chosen_decoder() -> str:
    """Return which of `DECODERS` the environment's MMG_JPEG names, or the fastest that is installed.

    Raises:
        ValueError: it is none of them, or not installed.
    """
    return resolve_decoder(os.environ.get("MMG_JPEG", "auto"))


@functools.cache
def resolve_decoder(name: str) -> str:
    """Return a decoder by its name, or the best for `auto`; errors as in `chosen_decoder`."""
    if name not in {"auto", *DECODERS}:
        raise ValueError(f"MMG_JPEG is {name!r}; it must be one of auto, {', '.join(DECODERS)}")
    cures = {}
    if find_library() is None:
        cures["turbojpeg"] = "the library TurboJPEG 3 was not found: pip install turbojpeg"
    if simplejpeg is None:
        cures["simplejpeg"] = "simplejpeg is not installed: pip install simplejpeg"
    if name == "jpeg4py":
        try:
            import jpeg4py  # pyright: ignore[reportMissingImports]

            jpeg4py.initialize()
        except (ImportError, OSError) as error:
            cures["jpeg4py"] = f"jpeg4py cannot be used: {error}; pip install jpeg4py, and the system's libturbojpeg"
    if name in cures:
        raise ValueError(f"MMG_JPEG is {name}, but {cures[name]}; or MMG_JPEG=auto")
    return next(each for each in ("turbojpeg", "simplejpeg", "opencv") if each not in cures) if name == "auto" else name


@functools.cache
def warn_if_slow() -> None:
    """Say, once, which fast decoder is not installed; ValueError where MMG_JPEG asks for one that is not."""
    if chosen_decoder() == "turbojpeg" or os.environ.get("MMG_JPEG", "auto") != "auto":
        return
    if simplejpeg is None:
        warnings.warn("simplejpeg is not installed: OpenCV decodes JPEG, in twice the time; pip install simplejpeg",
                      stacklevel=2)  # fmt: skip
    else:
        warnings.warn("the library TurboJPEG 3 was not found: JPEG frames are decoded whole and not in parts, in about "
                      "twice the time; pip install turbojpeg", stacklevel=2)  # fmt: skip


def _fill(image: np.ndarray, data: bytes, reduction: int, decoder: str) -> None:
    """Fill an (H, W, 3 or 4) array of the reduced picture's size with a file's pixels; ValueError for any complaint."""
    height, width, channels = image.shape
    if decoder == "turbojpeg":
        _turbojpeg().decode(data, 0, 0, reduction, image)
    elif decoder == "simplejpeg":
        assert simplejpeg is not None
        colours = "RGBX" if channels == 4 else "RGB"
        simplejpeg.decode_jpeg(data, colorspace=colours, min_height=height, min_width=width, buffer=image.reshape(-1))
    else:
        import jpeg4py  # pyright: ignore[reportMissingImports]

        try:
            jpeg4py.JPEG(np.frombuffer(data, np.uint8)).decode(image, _RGBX if channels == 4 else _RGB)
        except jpeg4py.JPEGRuntimeError as error:
            raise ValueError(str(error)) from None


class _TurboJpeg:
    """Decodes rectangles. One for each thread: it holds the library's state."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._handle = library.tj3Init(_DECOMPRESS)
        if not self._handle:
            raise MemoryError("TurboJPEG cannot be started")

    def __del__(self) -> None:
        self._library.tj3Destroy(self._handle)

    def decode(self, data: bytes, left: int, top: int, reduction: int, out: np.ndarray) -> None:
        """Fill an array with the pixels from a corner on.

        Args:
            data: the whole file.
            left, top: corner in pixels of the reduced picture; `left` a multiple of the width of the blocks that are
                stored together, there. Its column may differ from that of the whole picture, where colours are stored
                at half the width.
            reduction: 1, 2, 4 or 8.
            out: (height, width, 3 or 4) uint8, contiguous; a fourth channel is without meaning. The rectangle must lie
                inside the picture.

        Raises:
            ValueError: the library has a complaint. It may be harmless, or hide that the decoder gave up: after a
                warning, it reports no worse one.
        """
        assert out.flags.c_contiguous and out.dtype == np.uint8 and out.shape[2] in {3, 4}
        library, handle = self._library, self._handle
        height, width, channels = out.shape
        colours = _RGBX if channels == 4 else _RGB
        self._check(library.tj3SetCroppingRegion(handle, WHOLE))  # else the last one limits the header
        self._check(library.tj3DecompressHeader(handle, data, len(data)))
        self._check(library.tj3SetScalingFactor(handle, FACTORS[reduction]))
        self._check(library.tj3SetCroppingRegion(handle, Region(left, top, width, height)))
        self._check(library.tj3Decompress8(handle, data, len(data), out.ctypes.data, 0, colours))

    def _check(self, status: int) -> None:
        if status:
            raise ValueError(self._library.tj3GetErrorStr(self._handle).decode(errors="replace"))


def _turbojpeg() -> _TurboJpeg:
    """Return the decoder of this thread."""
    if "turbojpeg" not in MEMORY.__dict__:
        library = find_library()
        assert library is not None
        MEMORY.turbojpeg = _TurboJpeg(library)
    return MEMORY.turbojpeg
