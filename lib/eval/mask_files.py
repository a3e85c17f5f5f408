"""Masks beside the boxes they were made from: `masks/<name>/<sequence>/00000001.png`, 255 on the target.

A sequence's folder that exists is complete: it is written aside and renamed.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lib.config.text import record_from_json
from lib.data.images.frames import MaskFiles
from lib.eval.results import ResultFiles, write_whole

_FOLDER = "masks"  # within a folder of results
_BOXES = "boxes.txt"
_RECORD = "masks.json"


@dataclass(frozen=True)
class MaskRecord:
    """Whose masks a folder holds: a key of `MASK_BACKENDS`, the hash of its weights, if any, and of what makes masks.

    The threshold is one that was asked for instead of the checkpoint's own. Records of earlier versions have no code.
    """

    backend: str
    checkpoint_sha256: str | None
    threshold: float | None
    code: str | None = None


@dataclass(frozen=True)
class SequenceMasks:
    """The masks of one result on one sequence; `results` is the folder of the boxes, `name` that of the masks."""

    results: Path
    name: str
    sequence: str

    @property
    def folder(self) -> Path:
        return masks_folder(self.results, self.name) / self.sequence

    def is_complete(self, num_frames: int) -> bool:
        """Tell whether there is a mask per frame, and they were made from the boxes that are there now."""
        if not self.folder.is_dir() or len(list(self.folder.glob("*.png"))) != num_frames:
            return False
        boxes = ResultFiles(self.results, self.sequence).boxes
        return boxes.is_file() and (self.folder / _BOXES).read_bytes() == boxes.read_bytes()

    def write(self, masks: Iterable[np.ndarray]) -> None:
        """Write (H, W) bool masks, one per frame, and the boxes that they were made from; replaces what is there."""
        partial = self.folder.with_name(f".{self.sequence}.partial")
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        for number, mask in enumerate(masks, start=1):
            # Not cv2.imwrite: it gives no reason when it fails.
            _, data = cv2.imencode(".png", mask.astype(np.uint8) * 255)
            (partial / f"{number:08d}.png").write_bytes(data.tobytes())
        (partial / _BOXES).write_bytes(ResultFiles(self.results, self.sequence).boxes.read_bytes())
        self.remove()
        partial.rename(self.folder)

    def remove(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def open(self) -> MaskFiles:
        """Return the masks, read when asked for."""
        return MaskFiles(sorted(self.folder.glob("*.png")))


def masks_folder(results: Path, name: str) -> Path:
    """Return where the masks of a name lie within a folder of results."""
    return results / _FOLDER / name


def mask_names(results: Path) -> list[str]:
    """Return the names of the masks in a folder of results, sorted."""
    folder = results / _FOLDER
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def claim_masks(results: Path, name: str, record: MaskRecord, overwrite: bool) -> str | None:
    """Make `masks/<name>` ready for masks of `record`, never mixing them with another's, which `overwrite` removes.

    Returned is a remark for the user, when earlier masks stay that were made by a version whose code cannot be
    compared. Raises ValueError when the folder holds masks of another backend, checkpoint, threshold or code.
    """
    folder = masks_folder(results, name)
    file = folder / _RECORD
    if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()):
        present = None
        with suppress(ValueError):  # else nobody knows whose they are
            present = record_from_json(MaskRecord, file.read_bytes(), gone=("code_sha256",)) if file.is_file() else None
        if not overwrite and present == dataclasses.replace(record, code=None):
            return f"{folder}: earlier masks there are of a version whose code cannot be compared with today's"
        if present != record:
            if not overwrite:
                raise ValueError(f"{folder} holds masks of other weights, another threshold or older code, or its "
                                 f"{_RECORD} is damaged: give --overwrite to replace them, or another --results-dir "
                                 "to keep both")  # fmt: skip
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(dataclasses.asdict(record), indent=2) + "\n")
    return None
