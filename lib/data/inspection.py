"""Looking at parts of a data set, in as many processes as wanted: are its boxes possible, are its frames there?"""

import functools
import os
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import CropDataset
from lib.data.datasets import open_dataset
from lib.data.datasets.annotation import has_area
from lib.data.datasets.listing import list_names
from lib.data.images.frames import ImageFiles
from lib.data.images.jpeg import find_damage
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.tree import TreePath, open_tree, read_file
from lib.data.synthetic.album import Album, Photograph, list_photographs
from lib.data.synthetic.record import SceneDataset

NUM_SAMPLED = 200  # sequences of a split whose frames are read, or photographs
NUM_SAMPLED_SCENES = 20  # a set that draws its videos has nothing that could be damaged
_CHUNK = 32  # sequences a worker looks at in one go
_CROP_SIZE = 64  # px; to see that a stored crop can be decoded


@dataclass(frozen=True)
class Share:
    """A share of a split, for one worker; it opens the data set by itself.

    Attributes:
        dataset, split, root: where it is.
        indices: its sequences, or photographs.
        sampled: those of them of which frames are read.
        full: read all frames of all of them.
        own: True for data that are nobody's publication, in which what looks strange is a mistake.
    """

    dataset: str
    split: str
    root: Path | None
    indices: tuple[int, ...]
    sampled: frozenset[int]
    full: bool
    own: bool


@dataclass
class Findings:
    """What was found.

    Attributes:
        num_frames: those that the annotation speaks of.
        num_read: frames that were read from disk and decoded.
        problems: a line each.
        remarks: what is strange but published so, a line each.
    """

    num_frames: int = 0
    num_read: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def split_into_parts(
    dataset: SequenceDataset, name: str, split: str, root: Path | None, full: bool, own: bool
) -> list[Share]:
    """Cut a split into parts; frames are read of an even sample, or of everything with `full`."""
    drawn = isinstance(dataset, SceneDataset)
    sampled = _even_sample(len(dataset), NUM_SAMPLED_SCENES if drawn else NUM_SAMPLED)
    indices = sampled if drawn else range(len(dataset))
    return [Share(name, split, root, part, frozenset(part) & frozenset(sampled), full and not drawn, own)
            for part in _chunks(indices)]  # fmt: skip


def split_photographs(num_photographs: int, root: Path, full: bool) -> list[Share]:
    """Cut a folder of photographs into parts, of an even sample or of all."""
    indices = range(num_photographs) if full else _even_sample(num_photographs, NUM_SAMPLED)
    return [Share("stills", "", root, part, frozenset(part), full, own=True) for part in _chunks(indices)]


def inspect(parts: list[Share], workers: int, title: str) -> Findings:
    """Look at parts, in this process or in several, with progress, and add up what was found."""
    total = Findings()
    unit, number = ("photograph" if title == "stills" else "sequence"), sum(len(part.indices) for part in parts)
    processes = ProcessPoolExecutor(min(workers, os.cpu_count() or 1)) if workers > 1 else nullcontext()
    with processes as pool, tqdm(desc=title, total=number, unit=unit, disable=None, leave=False) as progress:
        for part, found in zip(parts, (pool.map if pool else map)(_inspect, parts), strict=True):
            total.num_frames += found.num_frames
            total.num_read += found.num_read
            total.problems += found.problems
            total.remarks += found.remarks
            progress.update(len(part.indices))
    return total


def find_problems(sequence: Sequence, frame_indices: Iterable[int]) -> tuple[list[str], list[str], int]:
    """Look at one sequence's annotation and at some of its frames.

    Returns:
        Problems, what is strange about its boxes, a line each, and how many frames were read.
    """
    boxes_xywh = sequence.boxes_xywh
    problems, oddities = [], []
    broken_rows = np.isnan(boxes_xywh).any(axis=1) & ~np.isnan(boxes_xywh).all(axis=1)
    for lines, rows, what in (
        (problems, broken_rows, "has some numbers and some nan"),
        (problems, np.isinf(boxes_xywh).any(axis=1), "is infinite"),
        (oddities, (boxes_xywh[:, 2:] < 0).any(axis=1), "has a negative size"),
    ):
        if rows.any():
            row = int(np.argmax(rows))
            box = ", ".join(f"{value:g}" for value in boxes_xywh[row])
            lines.append(f"box {row + 1} ({box}) {what}; {int(rows.sum())} such rows")
    if not sequence.visible.any():
        oddities.append("the target is never visible")
    elif not has_area(boxes_xywh[:1]).all():
        box = ", ".join(f"{value:g}" for value in boxes_xywh[0])
        oddities.append(f"cannot be tested, only trained on: row 1 must be a box to start from, not ({box})")
    if len(boxes_xywh) not in {1, len(sequence)}:
        problems.append(f"{len(boxes_xywh)} boxes for {len(sequence)} frames")
    num_read, unreadable, damaged = 0, [], []
    for index in frame_indices:
        try:
            height, width = sequence.frames[index].shape[:2]
            path = sequence.frames.paths[index] if isinstance(sequence.frames, ImageFiles) else None
            damage = None if path is None else find_damage(read_file(path))
            if sequence.masks is not None:
                sequence.masks[index]
        except (OSError, ValueError, MemoryError) as error:
            unreadable.append(str(error))
            continue
        num_read += 1
        if damage is not None:
            damaged.append(f"{path}: {damage}")
        if index < len(boxes_xywh) and sequence.visible[index]:
            left, top, box_width, box_height = boxes_xywh[index]
            if left >= width or top >= height or left + box_width <= 0 or top + box_height <= 0:
                oddities.append(f"box {index + 1} lies outside its frame of {width} x {height} pixels")
    if unreadable:
        problems.append(f"{len(unreadable)} unreadable frames: {unreadable[0]}")
    if damaged:
        oddities.append(f"{len(damaged)} damaged frames, decoded as far as possible: {damaged[0]}")
    return problems, oddities, num_read


def find_crop_problems(sequence: Sequence, frame_indices: Iterable[int]) -> tuple[list[str], list[str], int]:
    """Look as `find_problems` at frames of which only the surroundings of the target are stored."""
    num_read, unreadable = 0, []
    for index in frame_indices:
        window = CropWindow.around(sequence.boxes_xywh[index], 1.0, _CROP_SIZE)
        try:
            crop = sequence.frames.read_crop(index, window)
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
            continue
        num_read += 1
        if crop is None:
            unreadable.append(f"frame {index} does not hold its target")
    problems = [f"{len(unreadable)} unreadable crops: {unreadable[0]}"] if unreadable else []
    return problems, [], num_read


def find_missing(sequence: Sequence) -> dict[int, TreePath]:
    """Return the frames whose files are not there; a photograph is only missed when it is read."""
    files = sequence.frames
    if not isinstance(files, ImageFiles) or len(files) == 1:
        return {}
    present = set(list_names(files.paths[0].parent))
    return {index: path for index, path in enumerate(files.paths) if path.name not in present}


def _inspect(part: Share) -> Findings:
    dataset = _opened(part.dataset, part.split, part.root)
    crops_only = isinstance(dataset, CropDataset)
    found = Findings()
    for index in part.indices:
        try:
            sequence = dataset[index]
        except (OSError, ValueError) as error:
            found.problems.append(f"{dataset.names[index]}: {error}")
            continue
        if isinstance(sequence, Photograph):  # which is decoded by now
            found.num_read += 1
            continue
        found.num_frames += len(sequence)
        frames: list[int] = []
        if part.full or index in part.sampled:
            missing = find_missing(sequence)
            if missing:
                path = missing[min(missing)]
                found.problems.append(
                    f"{sequence.name}: {len(missing)} of {len(sequence)} frames are missing, such as {path}"
                )
            wanted = np.flatnonzero(sequence.visible).tolist() if crops_only else range(len(sequence))
            if wanted and not part.full:
                wanted = sorted({wanted[0], wanted[(len(wanted) - 1) // 2], wanted[-1]})
            frames = [frame for frame in wanted if frame not in missing]
        problems, oddities, num_read = (find_crop_problems if crops_only else find_problems)(sequence, frames)
        found.num_read += num_read
        found.problems += [f"{sequence.name}: {line}" for line in problems]
        (found.problems if part.own else found.remarks).extend(f"{sequence.name}: {line}" for line in oddities)
    return found


@functools.lru_cache(maxsize=1)
def _opened(name: str, split: str, root: Path | None) -> SequenceDataset | Album:
    """Open a data set once in each worker; what it warns of has been said by the process that started the workers."""
    if name == "stills" and root is not None:
        tree = open_tree(root)
        return Album(tree, *list_photographs(tree), memory=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_dataset(name, split, root)


def _even_sample(total: int, num_wanted: int) -> list[int]:
    return np.unique(np.linspace(0, total - 1, min(total, num_wanted)).astype(int)).tolist()


def _chunks(indices: "list[int] | range") -> list[tuple[int, ...]]:
    return [tuple(indices[start : start + _CHUNK]) for start in range(0, len(indices), _CHUNK)]
