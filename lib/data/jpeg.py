"""JPEG: the size without decoding, and no more pixels decoded than are asked for."""

import functools
import warnings
from dataclasses import dataclass

import cv2
import numpy as np

try:
    import simplejpeg
except ImportError:  # wheels exist for all common platforms; elsewhere OpenCV does the same, in twice the time
    simplejpeg = None

_START, _END = b"\xff\xd8", b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Frame headers of all kinds of JPEG; of those, the ones whose rows are stored from top to bottom, once.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset((0xC0, 0xC1))
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True)
class JpegHeader:
    """What the header of a JPEG states.

    Attributes:
        height, width: in pixels.
        height_at: offset in the data of the two bytes that hold the height.
        block_height: rows that are stored together, 8 or 16.
        from_the_top: True where all that is stored of a row comes before all that is stored of a lower one.
        scan_at: offset at which the first scan begins.
    """

    height: int
    width: int
    height_at: int
    block_height: int
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
        body, end = at + 4, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
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
                from_the_top=kind in _SEQUENTIAL and data[body] == components,
                scan_at=end,
            )
        at = end
    raise ValueError("its header is damaged")


def decode_jpeg(
    data: bytes, header: JpegHeader, reduction: int = 1, rows: int | None = None, buffer: np.ndarray | None = None
) -> np.ndarray:
    """Decode to RGB, at full size or reduced, the whole or from the top down to a row.

    Pixel (i, j) of a reduced picture stands for the `reduction` x `reduction` pixels of the block (i, j): about
    their mean, taken before decoding, which is what makes it fast. At full size the pixels are those of OpenCV.

    Args:
        data: the whole file.
        header: its header.
        reduction: 1, 2, 4 or 8.
        rows: rows of the full picture that are needed; all when None. More may be decoded.
        buffer: where the picture is put if it fits, one-dimensional uint8. It then has a fourth channel without
            meaning: crops are interpolated in less than half the time when a pixel has four bytes.

    Returns:
        (ceil(height / reduction), ceil(width / reduction), 3 or 4) uint8; fewer rows if not all were asked for.

    Raises:
        ValueError: the data end too early or cannot be decoded.
    """
    if data.rfind(_END, header.scan_at) < 0:
        raise ValueError("the file is cut off")
    if simplejpeg is None:
        return _decode_by_opencv(data, reduction)
    height = header.height
    if rows is not None and header.from_the_top:
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
        picture = simplejpeg.decode_jpeg(
            data,
            colorspace="RGBX" if fits else "RGB",
            min_height=rows_out,
            min_width=columns_out,
            strict=False,
            buffer=buffer if fits else None,
        )
    except ValueError:  # kinds that it does not know, such as those for print
        return _decode_by_opencv(data, reduction)
    return picture


@functools.cache
def warn_if_slow() -> None:
    """Say, once, that the fast decoder is not installed."""
    if simplejpeg is None:
        warnings.warn("simplejpeg is not installed: OpenCV decodes JPEG, in twice the time; pip install simplejpeg",
                      stacklevel=2)  # fmt: skip


def _decode_by_opencv(data: bytes, reduction: int) -> np.ndarray:
    # Boxes refer to the stored pixels: a rotation noted in the file is ignored.
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise ValueError("it cannot be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
