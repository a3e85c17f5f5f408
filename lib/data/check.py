"""Is a data set complete and readable? What `tracking/prepare.py check` finds out."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lib.data.datasets import DATASETS, SplitSize, find_entry, open_dataset, published_size, stated_root
from lib.data.datasets.coco import CocoDataset
from lib.data.datasets.folder import LeftOutWarning
from lib.data.datasets.index import IndexNotKeptWarning
from lib.data.datasets.listing import MissingSequencesWarning
from lib.data.datasets.stills import StillsDataset
from lib.data.datasets.trackingnet import NUM_SHARDS, TrackingNetDataset
from lib.data.inspection import inspect, split_into_parts, split_photographs
from lib.data.sequence import SequenceDataset
from lib.data.storage.tree import is_lmdb, open_tree, require_intact
from lib.data.synthetic.album import list_photographs
from lib.data.synthetic.record import SceneDataset


class Selection(NamedTuple):
    """What to check: a data set; one of its splits, None for all; its folder, None for the stated one."""

    dataset: str
    split: str | None = None
    root: Path | None = None


@dataclass(frozen=True)
class SplitReport:
    """What was found of one split.

    Attributes:
        dataset, split: its names; the split is empty where the data set itself was not found.
        root: its folder, or None when nothing states it, or nothing is stored.
        absent: why it could not be opened; empty when it was.
        broken: True when what was asked for is not there, not complete or not readable.
        size: what a complete split has; None for data that are nobody's publication.
        num_sequences, num_frames: what was found; the frames are those that the annotation speaks of.
        num_read: frames that were read from disk and decoded.
        photographs: True when its frames are photographs; its sequences, if any, are the objects in them.
        problems: a line each.
        remarks: what is worth knowing but no fault, a line each.
    """

    dataset: str
    split: str
    root: Path | None
    absent: str = ""
    broken: bool = False
    size: SplitSize | None = None
    num_sequences: int = 0
    num_frames: int = 0
    num_read: int = 0
    photographs: bool = False
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def parse_selection(text: str, root: Path | None = None) -> Selection:
    """Read `lasot` or `got10k:val`, or raise ValueError with a suggestion."""
    dataset, _, split = text.partition(":")
    find_entry(dataset, split or None)
    return Selection(dataset, split or None, root)


def check(
    selections: Iterable[Selection], paths_file: Path | None = None, full: bool = False, workers: int = 1
) -> Iterator[SplitReport]:
    """Check data sets, a report per split.

    The annotation of every sequence is read. In an even sample of 200 sequences, missing frames are looked for and
    three frames are read; in all of them, and all frames, with `full`. Of photographs without labels, 200 are read, or
    all.

    Args:
        selections: what to check; when empty, every data set whose folder is stated, and a report on each other one.
        paths_file: instead of `experiments/paths.yaml`.
        full: read every frame.
        workers: processes; with 1, this one.
    """
    asked = list(selections)
    for selection in asked or [Selection(name) for name, entry in DATASETS.items() if entry.stored]:
        name = selection.dataset
        entry = DATASETS[name]
        root = selection.root or (stated_root(name, paths_file) if entry.stored else None)
        if entry.stored and (why := _why_absent(name, root)):
            broken = bool(asked) or root is not None
            yield SplitReport(name, selection.split or "", root, absent=why, broken=broken)
        elif name == "stills" and root is not None:
            yield _check_photographs(selection.split, root, full, workers)
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


def _why_absent(name: str, root: Path | None) -> str:
    """Say why a data set's folder cannot be opened, nothing where it can."""
    if root is None:
        return f"no folder stated: set MMG_{name.upper()}, or write `{name}: DIR` into experiments/paths.yaml"
    if not root.is_dir():
        return f"the folder {root} does not exist"
    try:
        if is_lmdb(root):
            require_intact(root)  # to open a damaged one may kill
    except ValueError as error:
        return str(error)
    return ""


def describe(report: SplitReport, max_problems: int = 20) -> str:
    """Return a report as text: a line, and below it the problems, then the remarks."""
    name = f"{report.dataset}:{report.split}" if report.split else report.dataset
    if report.absent:
        return f"{name:<18} {'MISSING' if report.broken else '-':<9} {report.absent}"
    place = report.root or "drawn, not stored"
    counts = f"{_describe_counts(report)}, {report.num_read:,} of them read; {place}"
    lines = [f"{name:<18} {'BROKEN' if report.broken else 'ok':<9} {counts}"]
    for found, mark in ((report.problems, ""), (report.remarks, "note: ")):
        lines += [f"    {mark}{line}" for line in found[:max_problems]]
        if len(found) > max_problems:
            lines.append(f"    {mark}and {len(found) - max_problems:,} more")
    return "\n".join(lines)


def _describe_counts(report: SplitReport) -> str:
    size = report.size or SplitSize()
    frames = _of(report.num_frames, size.frames)
    frames += " photographs" if report.photographs else " frames"
    if report.size is not None and size.frames is None:
        frames += " (no published total)"
    if report.photographs and not report.num_sequences:
        return frames
    sequences = _of(report.num_sequences, size.sequences)
    return f"{sequences} objects in {frames}" if report.photographs else f"{sequences} sequences, {frames}"


def _check_split(name: str, split: str, root: Path | None, full: bool, workers: int, must_exist: bool) -> SplitReport:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        try:
            dataset = open_dataset(name, split, root)
        except (FileNotFoundError, ValueError) as error:
            broken = must_exist or not isinstance(error, FileNotFoundError)
            return SplitReport(name, split, root, absent=str(error), broken=broken)
    own = not DATASETS[name].sizes
    size = None if own else published_size(name, split, dataset)
    no_fault = (IndexNotKeptWarning, LeftOutWarning)
    problems = [str(warning.message) for warning in caught if not issubclass(warning.category, no_fault)]
    remarks = [str(warning.message) for warning in caught if issubclass(warning.category, no_fault)]
    if not isinstance(dataset, SceneDataset):  # that one numbers its names
        problems += _repeated_names(dataset)
    found = inspect(split_into_parts(dataset, name, split, root, full, own), workers, f"{name}:{split}")
    problems += found.problems
    num_frames = found.num_frames
    if isinstance(dataset, CocoDataset):
        num_frames = dataset.num_images
        if missing := dataset.missing_images():
            problems.append(f"{len(missing):,} of {num_frames:,} photographs are missing, such as {missing[0]}")
    if size is not None:
        nouns = ("objects", "photographs") if dataset.images_only else ("sequences", "frames")
        # Where there is a list of sequences, the reader has named the missing ones.
        named = any(issubclass(warning.category, MissingSequencesWarning) for warning in caught)
        if size.sequences is not None and len(dataset) != size.sequences and not named:
            problems.append(f"{len(dataset):,} {nouns[0]} where {size.sequences:,} are published")
        if size.frames is not None and num_frames != size.frames and len(dataset) == size.sequences:
            problems.append(f"{num_frames:,} {nouns[1]} where {size.frames:,} are published")
    return SplitReport(
        dataset=name,
        split=split,
        root=root,
        broken=bool(problems),
        size=size,
        num_sequences=len(dataset),
        num_frames=num_frames,
        num_read=found.num_read,
        photographs=dataset.images_only,
        problems=tuple(problems),
        remarks=(*remarks, *_shards_at_hand(dataset), *found.remarks),
    )


def _check_photographs(split: str | None, root: Path, full: bool, workers: int) -> SplitReport:
    """Check a folder of photographs, all of them whatever the split: each belongs to one by a hash of its name."""
    report = SplitReport("stills", split or "", root, photographs=True)
    try:
        names, _ = list_photographs(open_tree(root))
        StillsDataset(open_tree(root), split or "train")
    except (FileNotFoundError, ValueError) as error:
        return replace(report, absent=str(error), broken=True)
    found = inspect(split_photographs(len(names), root, full), workers, "stills")
    return replace(report, broken=bool(found.problems), num_frames=len(names), num_read=found.num_read,
                   problems=tuple(found.problems))  # fmt: skip


def _shards_at_hand(dataset: SequenceDataset) -> list[str]:
    """Say which shards of TrackingNet are there where not all are; any of them may be trained on."""
    if not isinstance(dataset, TrackingNetDataset) or dataset.is_test or len(dataset.shard_names) == NUM_SHARDS:
        return []
    return [f"{len(dataset.shard_names)} of {NUM_SHARDS} shards: {', '.join(dataset.shard_names)}"]


def _repeated_names(dataset: SequenceDataset) -> list[str]:
    """Name what two sequences are called: they would share a result file."""
    repeated = sorted(name for name, count in Counter(dataset.names).items() if count > 1)
    return [f"{len(repeated)} names belong to several sequences, such as {repeated[0]}"] if repeated else []


def _of(found: int, expected: int | None) -> str:
    return f"{found:,}" if expected is None or found == expected else f"{found:,} of {expected:,}"
