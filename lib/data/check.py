"""Is a data set complete and readable? What `tracking/prepare.py check` finds out."""

import functools
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.config.suggest import suggest
from lib.data.datasets import DATASETS, SplitSize, open_dataset, stated_root
from lib.data.datasets.listing import list_names
from lib.data.frames import ImageFiles
from lib.data.sequence import SceneDataset, Sequence, SequenceDataset
from lib.data.tree import TreePath

NUM_SAMPLED = 200  # sequences of a split whose frames are read
NUM_SAMPLED_SCENES = 20  # a set that computes its videos has nothing that could be damaged but its sources
_CHUNK = 32  # sequences a worker looks at in one go


@dataclass(frozen=True)
class Selection:
    """What to check.

    Attributes:
        dataset: a key of `DATASETS`.
        split: one of its splits; None for all that together are the data set.
        root: its folder; None for the one that the environment or the paths file states.
    """

    dataset: str
    split: str | None = None
    root: Path | None = None


@dataclass(frozen=True)
class SplitReport:
    """What was found of one split.

    Attributes:
        dataset, split: its names; the split is empty where the data set itself was not found.
        root: its folder, or None when nothing states it.
        absent: why it could not be opened; empty when it was.
        broken: True when what was asked for is not there, not complete or not readable.
        size: what a complete split has.
        num_sequences, num_frames: what was found; the frames are those that the annotation speaks of.
        num_read: frames that were read from disk and decoded.
        problems: a line each.
    """

    dataset: str
    split: str
    root: Path | None
    absent: str = ""
    broken: bool = False
    size: SplitSize = SplitSize()
    num_sequences: int = 0
    num_frames: int = 0
    num_read: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Findings:
    """What was found of some sequences."""

    num_sequences: int
    num_frames: int
    num_read: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    """A part of a split, for one worker; it opens the data set by itself."""

    dataset: str
    split: str
    root: Path
    indices: tuple[int, ...]
    sampled: frozenset[int]
    full: bool


def parse_selection(text: str, root: Path | None = None) -> Selection:
    """Read `lasot` or `got10k:val`, or raise ValueError with a suggestion."""
    dataset, _, split = text.partition(":")
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}{suggest(dataset, DATASETS)}; known: {', '.join(DATASETS)}")
    entry = DATASETS[dataset]
    if split and not entry.has_split(split):
        raise ValueError(f"data set {dataset} has no split {split!r}{suggest(split, entry.splits)}; it has "
                         f"{', '.join(entry.splits)}")  # fmt: skip
    return Selection(dataset, split or None, root)


def check(
    selections: Iterable[Selection], paths_file: Path | None = None, full: bool = False, workers: int = 1
) -> Iterator[SplitReport]:
    """Check data sets, a report per split.

    The annotation of every sequence is read. In an even sample of 200 sequences, missing frames are looked for and
    three frames are read; in all of them, and all frames, with `full`.

    Args:
        selections: what to check; when empty, every data set whose folder is stated, and a report on each other one.
        paths_file: instead of `experiments/paths.yaml`.
        full: read every frame.
        workers: processes; with 1, this one.

    Raises:
        ValueError: the paths file is not valid.
    """
    asked = list(selections)
    for selection in asked or [Selection(name) for name, entry in DATASETS.items() if entry.stored]:
        name = selection.dataset
        entry = DATASETS[name]
        root = selection.root or (stated_root(name, paths_file) if entry.stored else Path())
        if root is None:
            why = f"no folder stated: set MMG_{name.upper()}, or write `{name}: DIR` into experiments/paths.yaml"
            yield SplitReport(name, selection.split or "", None, absent=why, broken=bool(asked))
        elif not root.is_dir():
            why = f"the folder {root} does not exist"
            yield SplitReport(name, selection.split or "", root, absent=why, broken=True)
        elif selection.split is not None:
            yield _check_split(name, selection.split, root, full, workers, must_exist=True)
        else:
            splits = list(entry.sizes) or [entry.splits[0]]
            found = False
            for position, split in enumerate(splits):
                is_last_hope = not found and position == len(splits) - 1
                report = _check_split(name, split, root, full, workers, must_exist=is_last_hope)
                found = found or not report.absent
                yield report


def describe(report: SplitReport, max_problems: int = 20) -> str:
    """Return a report as text: a line, and below it the problems."""
    name = f"{report.dataset}:{report.split}" if report.split else report.dataset
    if report.absent:
        return f"{name:<18} {'MISSING' if report.broken else '-':<9} {report.absent}"
    sequences = _of(report.num_sequences, report.size.sequences)
    frames = _of(report.num_frames, report.size.frames)
    counts = f"{sequences} sequences, {frames} frames, {report.num_read:,} of them read; {report.root}"
    lines = [f"{name:<18} {'BROKEN' if report.broken else 'ok':<9} {counts}"]
    lines += [f"    {problem}" for problem in report.problems[:max_problems]]
    if len(report.problems) > max_problems:
        lines.append(f"    and {len(report.problems) - max_problems:,} more")
    return "\n".join(lines)


def find_problems(sequence: Sequence, frame_indices: Iterable[int]) -> tuple[list[str], int]:
    """Look at one sequence's annotation and at some of its frames.

    Returns:
        The problems, and how many frames could be read.
    """
    boxes_xywh = sequence.boxes_xywh
    problems = []
    broken_rows = np.isnan(boxes_xywh).any(axis=1) & ~np.isnan(boxes_xywh).all(axis=1)
    for rows, what in (
        (broken_rows, "has some numbers and some nan"),
        (np.isinf(boxes_xywh).any(axis=1), "is infinite"),
        ((boxes_xywh[:, 2:] < 0).any(axis=1), "has a negative size"),
    ):
        if rows.any():
            row = int(np.argmax(rows))
            box = ", ".join(f"{value:g}" for value in boxes_xywh[row])
            problems.append(f"box {row + 1} ({box}) {what}; {int(rows.sum())} such rows")
    if not sequence.visible.any():
        problems.append("the target is never visible")
    if len(boxes_xywh) not in {1, len(sequence)}:
        problems.append(f"{len(boxes_xywh)} boxes for {len(sequence)} frames")
    num_read, unreadable = 0, []
    for index in frame_indices:
        try:
            height, width = sequence.frames[index].shape[:2]
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
            continue
        num_read += 1
        if index < len(boxes_xywh) and sequence.visible[index]:
            left, top, box_width, box_height = boxes_xywh[index]
            if left >= width or top >= height or left + box_width <= 0 or top + box_height <= 0:
                problems.append(f"box {index + 1} lies outside its frame of {width} x {height} pixels")
    if unreadable:
        problems.append(f"{len(unreadable)} unreadable frames: {unreadable[0]}")
    return problems, num_read


def find_missing(sequence: Sequence) -> dict[int, TreePath]:
    """Return the frames whose files are not there; a photograph is only missed when it is read."""
    files = sequence.frames
    if not isinstance(files, ImageFiles) or len(files) == 1:
        return {}
    present = set(list_names(files.paths[0].parent))
    return {index: path for index, path in enumerate(files.paths) if path.name not in present}


def _check_split(name: str, split: str, root: Path, full: bool, workers: int, must_exist: bool) -> SplitReport:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            dataset = open_dataset(name, split, root)
        except (FileNotFoundError, ValueError) as error:
            broken = must_exist or not isinstance(error, FileNotFoundError)
            return SplitReport(name, split, root, absent=str(error), broken=broken)
    problems = [str(warning.message) for warning in caught]
    if not isinstance(dataset, SceneDataset):  # that one numbers its names
        problems += _repeated_names(dataset)
    tasks = list(_tasks(dataset, name, split, root, full))
    num_found = num_frames = num_read = 0
    total = sum(len(task.indices) for task in tasks)
    with tqdm(desc=f"{name}:{split}", total=total, unit="sequence", disable=None, leave=False) as progress:
        for findings in _run(tasks, workers):
            num_found += findings.num_sequences
            num_frames += findings.num_frames
            num_read += findings.num_read
            problems += findings.problems
            progress.update(findings.num_sequences)
    size = DATASETS[name].sizes.get(split, SplitSize())
    # A missing sequence has been named already by the reader's warning, if there is a list of them.
    if size.sequences is not None and len(dataset) != size.sequences and not caught:
        problems.append(f"{len(dataset):,} sequences where {size.sequences:,} are published")
    if size.frames is not None and num_frames != size.frames and len(dataset) == size.sequences:
        problems.append(f"{num_frames:,} frames where {size.frames:,} are published")
    return SplitReport(
        dataset=name,
        split=split,
        root=root,
        broken=bool(problems),
        size=size,
        num_sequences=len(dataset),
        num_frames=num_frames,
        num_read=num_read,
        problems=tuple(problems),
    )


def _repeated_names(dataset: SequenceDataset) -> list[str]:
    """Name what two sequences are called: they would share a result file."""
    repeated = sorted(name for name, count in Counter(dataset.names).items() if count > 1)
    return [f"{len(repeated)} names belong to several sequences, such as {repeated[0]}"] if repeated else []


def _tasks(dataset: SequenceDataset, name: str, split: str, root: Path, full: bool) -> Iterator[_Task]:
    """Cut a split into parts."""
    computed = isinstance(dataset, SceneDataset)
    num_sampled = min(len(dataset), NUM_SAMPLED_SCENES if computed else NUM_SAMPLED)
    sampled = np.unique(np.linspace(0, len(dataset) - 1, num_sampled).astype(int)).tolist()
    indices = sampled if computed else range(len(dataset))
    for start in range(0, len(indices), _CHUNK):
        part = tuple(indices[start : start + _CHUNK])
        yield _Task(name, split, root, part, frozenset(part) & frozenset(sampled), full and not computed)


def _run(tasks: list[_Task], workers: int) -> Iterator[_Findings]:
    if workers <= 1:
        yield from map(_inspect, tasks)
        return
    with ProcessPoolExecutor(min(workers, os.cpu_count() or 1)) as pool:
        yield from pool.map(_inspect, tasks)


def _inspect(task: _Task) -> _Findings:
    dataset = _opened(task.dataset, task.split, task.root)
    num_frames = num_read = 0
    problems: list[str] = []
    for index in task.indices:
        try:
            sequence = dataset[index]
        except (OSError, ValueError) as error:
            problems.append(f"{dataset.names[index]}: {error}")
            continue
        num_frames += len(sequence)
        last = len(sequence) - 1
        frames: Iterable[int] = ()
        if task.full or index in task.sampled:
            missing = find_missing(sequence)
            if missing:
                path = missing[min(missing)]
                problems.append(
                    f"{sequence.name}: {len(missing)} of {len(sequence)} frames are missing, such as {path}"
                )
            wanted = range(len(sequence)) if task.full else sorted({0, last // 2, last})
            frames = [frame for frame in wanted if frame not in missing]
        found, num_readable = find_problems(sequence, frames)
        num_read += num_readable
        problems += [f"{sequence.name}: {problem}" for problem in found]
    return _Findings(len(task.indices), num_frames, num_read, tuple(problems))


@functools.lru_cache(maxsize=1)
def _opened(name: str, split: str, root: Path) -> SequenceDataset:
    """Open a data set once in each worker; what it warns of has been said by the process that started the workers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_dataset(name, split, root)


def _of(found: int, expected: int | None) -> str:
    return f"{found:,}" if expected is None or found == expected else f"{found:,} of {expected:,}"
