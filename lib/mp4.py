"""Write an mp4 that plays in browsers, and is complete once it has its name."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.images.video import VideoFile
from lib.draw import fit_into
from lib.files import text_path, whole_file

_PROBE = 1 << 16  # bytes
_QUALITY = "20"  # of H.264, where 18 can hardly be told from the picture and 23 is usual


@contextmanager
def write_mp4(path: Path, height: int, width: int, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield what appends an (H, W, 3) uint8 RGB frame to a video, which takes its name when it is whole.

    The frames are H.264 by PyAV. Without that package they are MPEG-4 by OpenCV, which browsers do not play, and a
    warning says so.

    Args:
        path: ends in .mp4; its folder exists.
        height, width: of the first frame; later frames of another size are scaled to fit.
        rate: frames per second.

    Raises:
        OSError: the file cannot be written to its end, or not at that size; nothing of it is left.
    """
    below, beside = height % 2, width % 2  # encoders want even sides: the last row and column are repeated
    with (
        whole_file(Path(text_path(path)), ".mp4") as partial,
        closing(_open_video(partial, height + below, width + beside, rate)) as video,
    ):

        def write(image: np.ndarray) -> None:
            if image.shape[:2] != (height, width):
                image, _, _ = fit_into(image, width, height)
            video.write(cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE))

        yield write


def _open_video(path: Path, height: int, width: int, rate: float) -> "_H264 | _Mpeg4":
    path.write_bytes(b"")  # says why where that cannot be done; PyAV would at the first frame, OpenCV never
    try:
        import av
    except ImportError:
        warnings.warn("without PyAV the video is MPEG-4, which browsers do not play: pip install av", stacklevel=5)
        return _Mpeg4(path, height, width, rate)
    return _H264(av, path, height, width, rate)


class _H264:
    """By PyAV, which brings an encoder."""

    def __init__(self, av: Any, path: Path, height: int, width: int, rate: float) -> None:
        self._av = av
        # The index goes to the front, so that a page plays what it has not yet loaded.
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"  # the one that every player knows
        self._stream.options = {"crf": _QUALITY, "preset": "veryfast"}

    def write(self, image: np.ndarray) -> None:
        frame = self._av.VideoFrame.from_ndarray(image, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


class _Mpeg4:
    """By OpenCV, which says nothing when a frame cannot be written: the file is read back."""

    def __init__(self, path: Path, height: int, width: int, rate: float) -> None:
        self._path = path
        self._written = 0
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        if not self._writer.isOpened():
            raise OSError(f"this build of OpenCV writes no mp4 of {width} x {height} pixels")

    def write(self, image: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._written += 1

    def close(self) -> None:
        self._writer.release()
        try:
            readable = len(VideoFile(self._path))
        except (FileNotFoundError, ValueError):
            readable = 0
        if readable != self._written:
            with self._path.open("ab") as file:  # on a full disk this is the error that OpenCV kept to itself
                file.write(bytes(_PROBE))
            raise OSError(f"could not write a video: {readable} of its {self._written} frames can be read back; the "
                          "disk was full for a while, or the codec refused them")  # fmt: skip
