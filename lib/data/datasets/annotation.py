"""What readers take from files: boxes, flags, numbers, which boxes can be used, and the lists in `splits/`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.sequence import Frames, Sequence
from lib.data.storage.tree import TreePath, read_file
from lib.data.table import is_numeric, read_table

_FARTHEST, _SMALLEST = 1e9, 1e-6  # pixels; beyond, areas and integers overflow, or are divided by
_FOLDER = Path(__file__).parent / "splits"


def read_boxes(path: TreePath) -> np.ndarray:
    """Read (N, 4) float64 boxes x, y, w, h as published; nan in rows without annotation. Sizes are not judged here."""
    return read_table(path, 4)


def read_flags(path: TreePath, num_rows: int) -> np.ndarray:
    """Read (N,) bool from ones and zeros, in rows or all in one row."""
    return read_numbers(path, num_rows) != 0


def read_numbers(path: TreePath, num_rows: int) -> np.ndarray:
    """Read (N,) float64, a number per frame; ValueError where there are not `num_rows`, or a word is none."""
    data = read_file(path).strip()
    characters = np.frombuffer(data, dtype=np.uint8)
    digits, separators = characters[::2] - ord("0"), characters[1::2]
    if (digits <= 9).all() and ((separators == ord(",")) | (separators == ord("\n"))).all():
        numbers = digits.astype(np.float64)  # the usual file, one digit per frame, a hundred times faster
    else:
        try:
            if not is_numeric(data):
                raise ValueError("they hold other characters")
            numbers = np.array(data.replace(b",", b" ").split(), dtype="S").astype(np.float64)
        except ValueError as error:
            raise ValueError(f"{path}: expected numbers, one per frame: {error}") from error
    if len(numbers) != num_rows:
        raise ValueError(f"{path} has {len(numbers)} numbers, but the boxes beside it have {num_rows} rows")
    return numbers


def has_area(boxes_xywh: np.ndarray) -> np.ndarray:
    """Return (N,) bool, True where a box is annotated, of positive size, and of numbers that can be reckoned with."""
    possible = np.abs(boxes_xywh) < _FARTHEST  # False for nan
    return np.all(possible, axis=1) & np.all(boxes_xywh[:, 2:] > _SMALLEST, axis=1)


def annotated(
    name: str,
    frames: Frames,
    boxes_xywh: np.ndarray,
    *,
    absent: np.ndarray | None = None,
    hidden: np.ndarray | None = None,
    masks: Frames | None = None,
    attributes: tuple[str, ...] = (),
    labels: Mapping[str, np.ndarray] | None = None,
) -> Sequence:
    """Return a sequence whose target is visible where its box has an area and it is neither absent nor hidden."""
    nowhere = np.zeros(len(boxes_xywh), dtype=bool)
    absent, hidden = (nowhere if rows is None else rows for rows in (absent, hidden))
    visible = has_area(boxes_xywh) & ~absent & ~hidden
    return Sequence(name, frames, boxes_xywh, visible, absent, masks, attributes, dict(labels or {}))


@dataclass(frozen=True)
class SplitFile:
    """One list.

    Attributes:
        rows: the words of each line.
        attributes: full name of each attribute by its short one, where the list states attributes.
    """

    rows: tuple[tuple[str, ...], ...]
    attributes: dict[str, str]

    def spell_out(self, short_names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the full names of attributes."""
        return tuple(self.attributes[name] for name in short_names)


def read_split_file(name: str) -> SplitFile:
    """Read `splits/<name>.txt`: words in lines, comments from `#`, and lines `attribute SHORT FULL NAME`."""
    rows, attributes = [], {}
    for line in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words and words[0] == "attribute":
            attributes[words[1]] = " ".join(words[2:])
        elif words:
            rows.append(tuple(words))
    return SplitFile(tuple(rows), attributes)


def parse_range(text: str) -> range:
    """Return the numbers of `7` or `3-9`, both ends included."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
