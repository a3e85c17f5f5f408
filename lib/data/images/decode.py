"""From the bytes of an image file to an array; of a JPEG, no more pixels decoded than are asked for."""

import functools
import warnings
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.crop import Part
from lib.data.images.turbojpeg import region_decoder

_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


try:
    import simplejpeg
except ImportError:  # wheels exist for all common platforms; elsewhere OpenCV does the same, in twice the time
    simplejpeg = None


_START, _END = b"\xff\xd8", b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Frame headers of all kinds of JPEG; of those, the ones whose rows are stored from top to bottom, once.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset((0xC0, 0xC1))
# Columns beside a part that are decoded with it: colours stored at half the width are interpolated with those beside
# them, and a part has none at its edge.
_MARGIN = 1
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class JpegHeader(NamedTuple):
    """What the header of a JPEG states.

    Attributes:
        height, width: in pixels.
        height_at: offset in the data of the two bytes that hold the height.
        block_height, block_width: pixels that are stored together, mostly 8 or 16.
        from_the_top: True where all that is stored of a row comes before all that is stored of a lower one.
        scan_at: offset at which the first scan begins.
    """

    height: int
    width: int
    height_at: int
    block_height: int
    block_width: int
    from_the_top: bool
    scan_at: int


def is_jpeg(data: bytes) -> bool:
    """Return whether data begin as a JPEG does."""
    return data.startswith(_START)


def read_header(data: bytes) -> JpegHeader:
    """Walk through the segments before the picture.

    Raises:
        ValueError: there is no complete header.
    """
    at, frame = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a marker may be preceded by any number of fill bytes
            at += 1
            continue
        body, end = at + 4, at + 2 + 256 * data[at + 2] + data[at + 3]
        if marker in _FRAME_HEADERS and body + 6 <= len(data):
            frame = marker, body
        if marker == _START_OF_SCAN and frame is not None:
            kind, start = frame
            components = data[start + 5]
            samplings = data[start + 7 : start + 6 + 3 * components : 3]
            return JpegHeader(
                height=int.from_bytes(data[start + 1 : start + 3], "big"),
                width=int.from_bytes(data[start + 3 : start + 5], "big"),
                height_at=start + 1,
                block_height=8 * max((sampling & 15 for sampling in samplings), default=1),
                block_width=8 * max((sampling >> 4 for sampling in samplings), default=1),
                from_the_top=kind in _SEQUENTIAL and data[body] == components,
                scan_at=end,
            )
        at = end
    raise ValueError("its header is damaged")


class DecodedPart(NamedTuple):
    """What was decoded, three or four bytes a pixel, and where it lies in the picture."""

    image: np.ndarray
    left: int
    top: int


def decode_jpeg(data: bytes, header: JpegHeader, reduction: int = 1) -> np.ndarray:
    """Decode to RGB, at full size or reduced.

    Pixel (i, j) of a reduced picture stands for the `reduction` x `reduction` pixels of the block (i, j): about
    their mean, taken before decoding, which is what makes it fast. At full size the pixels are those of OpenCV.

    Args:
        data: the whole file.
        header: its header.
        reduction: 1, 2, 4 or 8.

    Returns:
        (ceil(height / reduction), ceil(width / reduction), 3) uint8.

    Raises:
        ValueError: the data end too early or cannot be decoded.
    """
    _require_end(data, header)
    return _decode_rows(data, header, reduction, header.height, None)


def decode_part(data: bytes, header: JpegHeader, reduction: int, part: Part, buffer: np.ndarray) -> DecodedPart:
    """Decode a rectangle and no more around it than cannot be avoided; its pixels are those of `decode_jpeg`.

    With TurboJPEG 3 that is a rectangle a little larger; else all rows from the first to the last that is wanted.

    Args:
        data: the whole file.
        header: its header.
        reduction: 1, 2, 4 or 8.
        part: in pixels of the reduced picture; it may reach over its border. Of one that lies beside, the nearest
            pixels are decoded.
        buffer: where the picture is put if it fits, one-dimensional uint8. It then has a fourth channel without
            meaning: crops are interpolated in less than half the time when a pixel has four bytes.

    Raises:
        ValueError: the data end too early or cannot be decoded.
    """
    _require_end(data, header)
    decoder = region_decoder()
    if decoder is not None and header.from_the_top:
        height, width = -(-header.height // reduction), -(-header.width // reduction)
        block = max(1, header.block_width // reduction)
        left = min(max(0, part.left - _MARGIN), width - 1) // block * block
        top = min(max(0, part.top), height - 1)
        right = max(left + 1, min(width, part.right + _MARGIN))
        bottom = max(top + 1, min(height, part.bottom))
        size = 4 * (bottom - top) * (right - left)
        image = (buffer[:size] if size <= buffer.size else np.empty(size, np.uint8)).reshape(bottom - top, -1, 4)
        try:
            decoder.decode(data, left, top, reduction, image)
        except ValueError:  # kinds that it does not know, such as those for print
            pass
        else:
            return DecodedPart(image, left, top)
    rows = min(header.height, reduction * max(1, part.bottom))
    return DecodedPart(_decode_rows(data, header, reduction, rows, buffer), 0, 0)


def _require_end(data: bytes, header: JpegHeader) -> None:
    if data.rfind(_END, header.scan_at) < 0:
        raise ValueError("the file is cut off")


def _decode_rows(data: bytes, header: JpegHeader, reduction: int, rows: int, buffer: np.ndarray | None) -> np.ndarray:
    """Decode the first `rows` rows of the full picture, or more."""
    if simplejpeg is None:
        return _decode_by_opencv(data, reduction)
    height = header.height
    if header.from_the_top:
        # The decoder stops where the header says that the picture ends. One more row of blocks than is needed: the
        # colours of the last rows are interpolated with those of the next.
        shortened = (-(-rows // header.block_height) + 1) * header.block_height
        if shortened < height:
            height = shortened
            data = data[: header.height_at] + height.to_bytes(2, "big") + data[header.height_at + 2 :]
    try:
        # Not strict: it would refuse data after the last row, and harmless oddities that OpenCV accepts.
        rows_out, columns_out = -(-height // reduction), -(-header.width // reduction)
        fits = buffer is not None and buffer.size >= 4 * rows_out * columns_out
        return simplejpeg.decode_jpeg(
            data,
            colorspace="RGBX" if fits else "RGB",
            min_height=rows_out,
            min_width=columns_out,
            strict=False,
            buffer=buffer if fits else None,
        )
    except ValueError:  # kinds that it does not know, such as those for print
        return _decode_by_opencv(data, reduction)


def describe_decoder() -> str:
    """Say in a line what decodes JPEG here."""
    if region_decoder() is not None:
        return "TurboJPEG 3, parts of a frame"
    if simplejpeg is not None:
        return "simplejpeg, a frame from its top to the last row needed (pip install turbojpeg decodes parts)"
    return "OpenCV, whole frames (pip install simplejpeg turbojpeg decodes parts)"


@functools.cache
def warn_if_slow() -> None:
    """Say, once, which fast decoder is not installed."""
    if simplejpeg is None:
        warnings.warn("simplejpeg is not installed: OpenCV decodes JPEG, in twice the time; pip install simplejpeg",
                      stacklevel=2)  # fmt: skip
    elif region_decoder() is None:
        warnings.warn("the library TurboJPEG 3 was not found: JPEG frames are decoded from the top down and not in "
                      "parts, in about 1.4 times the time; pip install turbojpeg", stacklevel=2)  # fmt: skip


def _decode_by_opencv(data: bytes, reduction: int) -> np.ndarray:
    # Boxes refer to the stored pixels: a rotation noted in the file is ignored.
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise ValueError("it cannot be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB.

    Grey is repeated into three channels, 16 bits are scaled to 8, alpha is dropped. A rotation noted in the file's
    EXIF block is ignored, because boxes refer to the stored pixels.

    Raises:
        ValueError: why it cannot be decoded; the caller knows the name.
    """
    if is_jpeg(data):
        return decode_jpeg(data, read_header(data))
    picture = decode_8bit(data)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in _TO_RGB:
        raise ValueError(f"it has {channels} channels; 1, 3 or 4 can be read")
    return cv2.cvtColor(picture, _TO_RGB[channels])


def decode_8bit(data: bytes) -> np.ndarray:
    """Decode an image file to (H, W) or (H, W, channels) uint8, with the channels that it has, in OpenCV's order.

    Raises:
        ValueError: why it cannot be decoded.
    """
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:  # more pixels than OpenCV takes
        raise ValueError(f"OpenCV refuses it: {' '.join(str(error).split())}") from error
    if picture is None:
        raise ValueError("its contents are damaged or of no known kind")
    if picture.dtype == np.uint16:
        # 65535 / 257 is 255; 128 is added to round.
        picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise ValueError(f"it holds {picture.dtype} values; images of 8 or 16 bits can be read")
    return picture
