"""Result files: `<sequence>.txt` holds boxes, `<sequence>_time.txt` seconds.

A file that exists is complete: it is written aside, flushed to the disk and renamed.
"""

import itertools
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.table import read_table

RECORD_NAME = "run.json"  # of the file that says whose the results of a folder are; see `lib.eval.record`
ASIDE = ".tmp"  # what a file that is being written ends in
_SECONDS, _NON_FINITE = "_time", "_nonfinite"


@dataclass(frozen=True)
class ResultFiles:
    """The files of one tracker on one sequence."""

    folder: Path
    sequence: str

    @property
    def boxes(self) -> Path:
        return self.folder / f"{self.sequence}.txt"

    @property
    def seconds(self) -> Path:
        return self.folder / f"{self.sequence}{_SECONDS}.txt"

    @property
    def non_finite(self) -> Path:
        """Exists where the tracker's own output was not finite on some frames; holds their number."""
        return self.folder / f"{self.sequence}{_NON_FINITE}.txt"

    @property
    def all(self) -> tuple[Path, Path, Path]:
        """The files that may be there, the boxes first: a result without them is none."""
        return self.boxes, self.seconds, self.non_finite

    def remove(self) -> None:
        """Remove what is there."""
        for path in self.all:
            path.unlink(missing_ok=True)

    def write(self, boxes_xywh: np.ndarray, seconds: np.ndarray, num_non_finite: int) -> None:
        """Write (N, 4) boxes and (N,) seconds; the boxes come last, because their file means that all is there.

        Raises:
            OSError: as `write_whole`.
        """
        texts = {
            self.seconds: seconds_text(seconds),
            self.boxes: boxes_text(boxes_xywh),
        }
        if num_non_finite:
            texts = {self.non_finite: f"{num_non_finite}\n", **texts}
        else:
            self.non_finite.unlink(missing_ok=True)
        write_whole(texts)

    def is_complete(self, num_frames: int, first_box_xywh: np.ndarray) -> bool:
        """Tell whether boxes and seconds are there to the last byte, one row per frame, from the given first box.

        The first box is compared because a data set may change under the same names.
        """
        boxes_xywh, seconds = _read_complete(self.boxes, 4), _read_complete(self.seconds, 1)
        if boxes_xywh is None or seconds is None or len(boxes_xywh) != num_frames or len(seconds) != num_frames:
            return False
        if self.non_finite.is_file() and _read_complete(self.non_finite, 1) is None:
            return False
        return bool(np.isfinite(boxes_xywh).all() and np.abs(boxes_xywh[0] - first_box_xywh).max() < 1e-3)

    def num_non_finite(self) -> int:
        """Return how many boxes stand in for output that was not finite."""
        return int(read_table(self.non_finite, 1)[0, 0]) if self.non_finite.is_file() else 0


def check_names(names: Collection[str]) -> None:
    """Raise ValueError where two sequences of these names would share result files."""
    for name, suffix in itertools.product(sorted(names), (_SECONDS, _NON_FINITE)):
        if f"{name}{suffix}" in names:
            raise ValueError(f"the sequences {name!r} and {name}{suffix} would share result files: rename one")


def result_names(folder: Path) -> set[str]:
    """Return the names of the sequences of which a folder holds boxes.

    A file that may be either is taken for the boxes of `lap_time`, not the seconds of a `lap` without boxes, if there
    are seconds for it in turn.
    """
    stems = {path.stem for path in folder.glob("*.txt")}
    beside = {
        stem
        for stem in stems
        for suffix in (_SECONDS, _NON_FINITE)
        if stem.endswith(suffix) and (stem.removesuffix(suffix) in stems or f"{stem}{_SECONDS}" not in stems)
    }
    return stems - beside


def boxes_text(boxes_xywh: np.ndarray) -> str:
    """Return (N, 4) boxes as they are written: x,y,w,h to a ten-thousandth of a pixel, a row each."""
    return "".join(f"{x:.4f},{y:.4f},{w:.4f},{h:.4f}\n" for x, y, w, h in boxes_xywh.tolist())


def seconds_text(seconds: np.ndarray) -> str:
    """Return (N,) times as they are written, a row each."""
    return "".join(f"{value:.8f}\n" for value in seconds.tolist())


def read_boxes(path: Path) -> np.ndarray:
    """Read a result file of any tool into (N, 4) float64: comma, semicolon, tab or space, any line end.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row is not four numbers; the message names file, row and text. nan counts as a number here:
            `metrics.check_predictions` refuses it.
    """
    return read_table(path, 4)


def read_seconds(path: Path) -> np.ndarray:
    """Read a file of times, one number a row, into (N,) float64; errors as in `read_boxes`."""
    return read_table(path, 1)[:, 0]


def write_whole(texts: dict[Path, str]) -> None:
    """Write text files so that each is there in full or not at all, whenever the process or the machine stops.

    All of them are on the disk before the first takes its name; they take their names in the order given.

    Raises:
        OSError: a file cannot be written, because the disk is full, say; the message names it.
    """
    # The number of the process, because two runs may share a folder.
    asides = {path: path.with_name(f"{path.name}.{os.getpid()}{ASIDE}") for path in texts}
    try:
        for path, aside in asides.items():
            try:
                with aside.open("w", encoding="utf-8", newline="\n") as file:
                    file.write(texts[path])
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror}; could not write", str(path)) from error
        for path, aside in asides.items():
            aside.replace(path)
    finally:
        for aside in asides.values():
            aside.unlink(missing_ok=True)


def _read_complete(path: Path, num_columns: int) -> np.ndarray | None:
    """Read a table, or return None when the file is missing, damaged or ends within a row."""
    try:
        return read_table(path, num_columns) if path.read_bytes().endswith(b"\n") else None
    except (FileNotFoundError, ValueError):
        return None
