"""Result files: `<sequence>.txt` holds boxes, `<sequence>_time.txt` seconds, `<sequence>_score.txt` scores.

A file that exists is complete: it is written aside, flushed to the disk and renamed.
"""

import itertools
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.table import read_table
from lib.files import whole_file

RECORD_NAME = "run.json"  # of the file that says whose the results of a folder are; see `lib.eval.record`
# A file of scores has a name of its own beside the boxes, as other tools have them: they read the boxes by name.
_SECONDS, _SCORES, _NON_FINITE = _BESIDE = "_time", "_score", "_nonfinite"
REPLACED = "replaced"


@dataclass(frozen=True)
class ResultFiles:
    """The files of one tracker on one sequence."""

    folder: Path
    sequence: str

    def __post_init__(self) -> None:
        """Raise ValueError for a name that would lead out of the folder, or could not be read in a list."""
        name = self.sequence
        if not name.isprintable() or name.startswith(".") or "/" in name or "\\" in name or not name:
            raise ValueError(f"the sequence {name[:80]!r} cannot name a result file: rename it")

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
    def scores(self) -> Path:
        """Exists where the tracker says how sure it is; in [0, 1], 1 for the first frame, whose box is given."""
        return self.folder / f"{self.sequence}{_SCORES}.txt"

    @property
    def all(self) -> tuple[Path, ...]:
        """The files that may be there, the boxes first: a result without them is none."""
        return self.boxes, self.seconds, self.scores, self.non_finite

    def remove(self) -> None:
        for path in self.all:
            path.unlink(missing_ok=True)

    def write(
        self, boxes_xywh: np.ndarray, seconds: np.ndarray, num_non_finite: int, scores: np.ndarray | None = None
    ) -> None:
        """Write (N, 4) boxes, (N,) seconds and scores; the boxes last, because their file means that all is there."""
        texts = {
            self.boxes: boxes_text(boxes_xywh),
            self.seconds: seconds_text(seconds),
            self.scores: "" if scores is None else "".join(f"{score:.6f}\n" for score in scores.tolist()),
            self.non_finite: f"{num_non_finite}\n" if num_non_finite else "",
        }
        with ExitStack() as stack:  # what is entered first takes its name last, when all are written
            for path, text in texts.items():
                if text:
                    stack.enter_context(whole_file(path)).write_text(text, encoding="utf-8")
                else:
                    path.unlink(missing_ok=True)

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
        number = read_table(self.non_finite, 1)[0, 0] if self.non_finite.is_file() else 0
        if not 0 <= number < 1e9:
            raise ValueError(f"{self.non_finite}: {number} is no number of boxes")
        return int(number)


def check_names(names: Collection[str]) -> None:
    """Raise ValueError where two sequences of these names would share result files."""
    for name, suffix in itertools.product(sorted(names), _BESIDE):
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
        for suffix in _BESIDE
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
    """Read a result file of any tool into (N, 4) float64; errors as in `read_table`.

    nan counts as a number here: `metrics.check_predictions` refuses it.
    """
    return read_table(path, 4)


def read_seconds(path: Path) -> np.ndarray:
    """Read a file of times, one number a row, into (N,) float64; errors as in `read_boxes`."""
    return read_table(path, 1)[:, 0]


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is there in full or not at all; errors as in `whole_file`."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _read_complete(path: Path, num_columns: int) -> np.ndarray | None:
    """Read a table, or return None when the file is missing, damaged or ends within a row."""
    try:
        return read_table(path, num_columns) if path.read_bytes().endswith(b"\n") else None
    except (FileNotFoundError, ValueError):
        return None


def set_aside(folder: Path, sequences: Iterable[str] | None) -> None:
    """Move results of sequences, or None for all, to a folder within: an interrupted run loses nothing.

    Each file is renamed, and a sequence's boxes go first: a result that lies half here, half there counts as none.
    """
    if sequences is None:
        with_boxes = result_names(folder)
        files = sorted(folder.glob("*.txt"), key=lambda path: path.stem not in with_boxes)
    else:
        files = [path for sequence in sequences for path in ResultFiles(folder, sequence).all if path.is_file()]
    if not files:
        return
    aside = folder / REPLACED
    aside.mkdir(exist_ok=True)
    # The record goes along; where results of another record lie already, none is true of all, and none is kept.
    source, target = folder / RECORD_NAME, aside / RECORD_NAME
    record = source.read_bytes() if source.is_file() else None
    if any(aside.glob("*.txt")) and not (target.is_file() and target.read_bytes() == record):
        record = None
    if record is None:
        target.unlink(missing_ok=True)
    else:
        with whole_file(target) as partial:
            partial.write_bytes(record)
    for path in files:
        path.replace(aside / path.name)


def forget_replaced(folder: Path, sequences: Iterable[str]) -> int:
    """Remove what was set aside of sequences whose new results are complete; return how many others are kept."""
    aside = folder / REPLACED
    if not aside.is_dir():
        return 0
    for sequence in sequences:
        ResultFiles(aside, sequence).remove()
    kept = result_names(aside)
    if not kept:
        shutil.rmtree(aside)
    return len(kept)


def check_writable(files: Mapping[str, Path | None], folders: Mapping[str, Path | None]) -> None:
    """Raise an error for the first path that could not be written, by the option that names it, such as "--csv".

    Nothing is created: missing folders are made later. ValueError for a folder where a file is wanted, a file where a
    folder is, or two options with one path; OSError for a place that cannot be written to.
    """
    taken: dict[Path, str] = {}
    for options, wants_folder in ((files, False), (folders, True)):
        for option, path in options.items():
            if path is None:
                continue
            if wants_folder and path.exists() and not path.is_dir():
                raise ValueError(f"{option} {path} is a file, but a folder is wanted")
            if not wants_folder and path.is_dir():
                raise ValueError(f"{option} {path} is a folder, but a file is wanted: name one in it")
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise ValueError(f"{other} and {option} are both {path}: one would replace the other")
            folder = (path if wants_folder else path.parent).absolute()
            while not folder.exists() and folder != folder.parent:  # missing ones would be made
                folder = folder.parent
            if not folder.is_dir():
                raise ValueError(f"{option} {path}: {folder} is a file, so nothing can be written below it")
            try:
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise OSError(f"{option} {path}: cannot write into {folder}: {error.strerror}") from error
