"""Write an mp4 that is complete once it has its name."""

import os
from pathlib import Path

import cv2
import numpy as np

from lib.data.images.frames import VideoFile
from lib.draw import fit_into

_PROBE = 1 << 16  # bytes


class Mp4Writer:
    """A context manager that writes frames to a temporary file, which takes its name when all can be read back."""

    def __init__(self, path: Path, height: int, width: int, rate: float) -> None:
        """Open the file.

        Args:
            path: ends in .mp4; its folder exists.
            height, width: of the first frame; later frames of another size are scaled to fit.
            rate: frames per second.

        Raises:
            OSError: the file cannot be written, or not at that size.
        """
        self._path = path
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
        self._height, self._width = height, width
        self._written = 0
        # Some encoders want even sides: the last row and column are repeated where they are odd.
        self._padding = height % 2, width % 2
        try:
            _append_zeros(self._partial, path)
            self._writer = open_writer(self._partial, height + height % 2, width + width % 2, rate)
        except OSError:
            self._partial.unlink(missing_ok=True)
            raise

    def write(self, image: np.ndarray) -> None:
        """Append an (H, W, 3) uint8 RGB frame."""
        if image.shape[:2] != (self._height, self._width):
            image, _, _ = fit_into(image, self._width, self._height)
        below, beside = self._padding
        image = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE)
        level = _set_log_level(0)  # A full disk would be told once a frame; it is told at the end.
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        _set_log_level(level)
        self._written += 1

    def __enter__(self) -> "Mp4Writer":
        return self

    def __exit__(self, error_type: type[BaseException] | None, error: object, traceback: object) -> None:
        """Finish the file; after an error, or when it is not whole, remove it.

        Raises:
            OSError: not all frames can be read back.
        """
        self._writer.release()
        try:
            if error_type is None:
                self._check()
                self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _check(self) -> None:
        # OpenCV says nothing when a frame cannot be written.
        try:
            readable = len(VideoFile(self._partial))
        except (FileNotFoundError, ValueError):
            readable = 0
        if readable == self._written:
            return
        _append_zeros(self._partial, self._path)
        raise OSError(f"could not write {self._path}: {readable} of its {self._written} frames can be read back; the "
                      "disk was full for a while, or the codec refused them")  # fmt: skip


def _append_zeros(partial: Path, path: Path) -> None:
    """Write to the end of a file; raise the OSError that OpenCV keeps to itself, with the name the file will have."""
    try:
        with partial.open("ab") as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; could not write", str(path)) from error


def open_writer(path: Path, height: int, width: int, rate: float) -> cv2.VideoWriter:
    """Prefer H.264, which browsers play; few builds of OpenCV can write it, all can write MPEG-4."""
    level = _set_log_level(0)  # A codec that is not there would be reported as an error.
    try:
        for codec in ("avc1", "mp4v"):
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
            if writer.isOpened():
                return writer
    finally:
        _set_log_level(level)
    raise OSError(f"no mp4 codec in this build of OpenCV takes frames of {width} x {height} pixels")


def _set_log_level(level: int) -> int:
    """Set how much OpenCV prints (0: nothing) and return the level before."""
    if "setLogLevel" in vars(cv2):  # OpenCV 4; the next version moved it.
        return vars(cv2)["setLogLevel"](level)
    return cv2.utils.logging.setLogLevel(level)
