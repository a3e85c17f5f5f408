"""Result files: `<sequence>.txt` holds boxes, `<sequence>_time.txt` seconds, `run.json` says whose they are.

A file that exists is complete: it is written aside, flushed to the disk and renamed.
"""

import dataclasses
import hashlib
import json
import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.table import read_table

_RECORD_NAME = "run.json"


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
        return self.folder / f"{self.sequence}_time.txt"

    @property
    def non_finite(self) -> Path:
        """Exists where the tracker's own output was not finite on some frames; holds their number."""
        return self.folder / f"{self.sequence}_nonfinite.txt"

    def write(self, boxes_xywh: np.ndarray, seconds: np.ndarray, num_non_finite: int) -> None:
        """Write (N, 4) boxes and (N,) seconds; the boxes come last, because their file means that all is there."""
        texts = {
            self.seconds: "".join(f"{value:.8f}\n" for value in seconds.tolist()),
            self.boxes: "".join(f"{x:.4f},{y:.4f},{w:.4f},{h:.4f}\n" for x, y, w, h in boxes_xywh.tolist()),
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
        return bool(np.isfinite(boxes_xywh).all() and np.abs(boxes_xywh[0] - first_box_xywh).max() < 1e-3)

    def num_non_finite(self) -> int:
        """Return how many boxes stand in for output that was not finite."""
        return int(read_table(self.non_finite, 1)[0, 0]) if self.non_finite.is_file() else 0


@dataclass(frozen=True)
class RunRecord:
    """Whose results a folder holds.

    Attributes:
        tracker, config, benchmark: the names that make up the folder's path.
        checkpoint_sha256: of the file with the weights; None for a tracker without.
        settings: the config's `track` section; None for a tracker without.
        versions: of the packages that boxes depend on.
    """

    tracker: str
    config: str
    benchmark: str
    checkpoint_sha256: str | None
    settings: dict[str, Any] | None
    versions: dict[str, str]


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


def read_record(folder: Path) -> RunRecord | None:
    """Return what the folder's `run.json` says, or None when it has none.

    Raises:
        ValueError: it cannot be understood.
    """
    path = folder / _RECORD_NAME
    if not path.is_file():
        return None
    try:
        return RunRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: not the record of a run ({error}); give --overwrite to start anew") from error


def package_versions() -> dict[str, str]:
    """Return the versions of what boxes depend on."""
    versions = {"python": platform.python_version(), "opencv": cv2.__version__}
    versions.update({package: metadata.version(package) for package in ("numpy", "torch", "timm")})
    return versions


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def claim_folder(folder: Path, record: RunRecord, overwrite: bool) -> str | None:
    """Make the folder ready for the results of `record`, never mixing them with another's.

    Args:
        folder: made when missing.
        record: of the run that starts now.
        overwrite: remove another run's results instead of refusing.

    Returns:
        A remark for the user, when earlier results were made with other versions of the packages.

    Raises:
        ValueError: the folder holds results of another tracker, config, benchmark or checkpoint, or of nobody knows
            whom.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remark = None
    try:
        present = read_record(folder)
        conflict = _conflict(folder, present, record)
    except ValueError as error:
        present, conflict = None, str(error)
    if conflict and not overwrite:
        raise ValueError(conflict)
    if conflict:
        for path in folder.glob("*.txt"):
            path.unlink()
    elif present and present.versions != record.versions:
        changed = sorted(name for name in record.versions if present.versions.get(name) != record.versions[name])
        remark = f"{folder}: earlier results there were made with other versions of {', '.join(changed)}"
    if conflict or present is None:
        write_whole({folder / _RECORD_NAME: json.dumps(dataclasses.asdict(record), indent=2) + "\n"})
    return remark


def write_whole(texts: dict[Path, str]) -> None:
    """Write text files so that each is there in full or not at all, whenever the process or the machine stops.

    All of them are on the disk before the first takes its name; they take their names in the order given.
    """
    asides = {path: path.with_name(path.name + ".tmp") for path in texts}
    try:
        for path, aside in asides.items():
            with aside.open("w", encoding="utf-8", newline="\n") as file:
                file.write(texts[path])
                file.flush()
                os.fsync(file.fileno())
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


def _conflict(folder: Path, present: RunRecord | None, record: RunRecord) -> str | None:
    """Say why results of `record` must not go into the folder, or None when they may."""
    cure = "give --overwrite to replace them, or another --config or --results-dir to keep both"
    if present is None:
        if any(folder.glob("*.txt")):
            return f"{folder} holds result files but no {_RECORD_NAME} that says whose they are: {cure}"
        return None
    before, now = dataclasses.asdict(present), dataclasses.asdict(record)
    for key in ("tracker", "config", "benchmark", "checkpoint_sha256", "settings"):
        if before[key] != now[key]:
            return f"{folder} holds results of another run ({key} {before[key]}, now {now[key]}): {cure}"
    return None
