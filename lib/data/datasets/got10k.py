"""GOT-10k, with the two ways to leave out the videos that the VOT challenge forbids to train on.

Public training lists (`vottrain`, `votval`) are said to leave out the 1,000 forbidden videos. They count from 1, but
all code indexes `list.txt` with them from 0, so that every entry means the video after the intended one: 765 of the
7,086 videos of `vottrain` and 125 of the 1,249 of `votval` are forbidden. `vottrain` and `votval` here are what that
code trains on and published numbers come from; the strict ones are what was intended: all that is not forbidden, in one
or the other. Anything entered into the VOT challenge must be trained on a strict one.

Source: Huang et al., "GOT-10k: A Large High-Diversity Benchmark for Generic Object Tracking in the Wild", TPAMI 2021.
"""

import re

import numpy as np

from lib.data.datasets.annotation import annotated, parse_range, read_boxes, read_flags, read_numbers, read_split_file
from lib.data.datasets.listing import keep_present, list_names, list_pictures
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.tree import TreePath, read_file

GOT10K_SPLITS = ("train", "vottrain", "vottrain_strict", "votval", "votval_strict", "val", "test")
NUM_TRAIN = 9335
NUM_VAL = 180  # and of test

_LAYOUT = "{train,val,test}/GOT-10k_Train_000001/{00000001.jpg, groundtruth.txt, absence.label, cover.label}"
_PARTS = re.compile(r"GOT-10k_Train_split_\d+")  # the training download comes in 19 of them
_RESOLUTION = re.compile(r"resolution\s*[:=]\s*\(\s*([1-9][0-9]{0,8})\s*,\s*([1-9][0-9]{0,8})\s*\)")


class Got10kDataset(SequenceDataset):
    """One split. `test` has the first box only; `val` has the labels that its toolkit's AO needs."""

    def __init__(self, split: str, root: TreePath) -> None:
        """List which sequences of the split are there."""
        self._split = split
        subset = split if split in {"val", "test"} else "train"
        wanted = [f"GOT-10k_{subset.capitalize()}_{number:06d}" for number in split_numbers(split)]
        self._folders = [folder for name in (subset, f"{subset}_data") for folder in _with_parts(root / name)]
        place_of = {name: place for place, folder in enumerate(self._folders) for name in list_names(folder)}
        self.names = keep_present(f"GOT-10k {split}", wanted, place_of, root, _LAYOUT)
        self._places = np.array([place_of[name] for name in self.names], dtype=np.int16)

    def __getitem__(self, index: int) -> Sequence:
        """Read a sequence's annotation."""
        name = self.names[index]
        folder = self._folders[self._places[index]] / name
        boxes_xywh = read_boxes(folder / "groundtruth.txt")
        num_rows = len(boxes_xywh)
        if self._split == "test":
            num_frames = max(len(list_pictures(folder)), num_rows)
            return annotated(name, ImageFiles(NumberedFiles(folder, 1, num_frames)), boxes_xywh)
        absent = read_flags(folder / "absence.label", num_rows)
        cover = read_numbers(folder / "cover.label", num_rows)
        labels = {"cover": cover}
        if self._split == "val":
            labels["frame_size"] = _read_frame_size(folder)
        files = ImageFiles(NumberedFiles(folder, 1, num_rows))
        return annotated(name, files, boxes_xywh, absent=absent, hidden=~(cover > 0), labels=labels)


def split_numbers(split: str) -> list[int]:
    """Return the numbers of a split's videos, in order."""
    if split in {"val", "test"}:
        return list(range(1, NUM_VAL + 1))
    everything = range(1, NUM_TRAIN + 1)
    if split == "train":
        return list(everything)
    rows = read_split_file("got10k").rows
    forbidden, validation = (
        {number for key, *ranges in rows if key == wanted for text in ranges for number in parse_range(text)}
        for wanted in ("forbidden", "validation")
    )
    strict = validation if split.startswith("votval") else set(everything) - forbidden - validation
    if split.endswith("_strict"):
        return sorted(strict)
    # Every video stands for the next one; the last, as position -1 + 1 = 0 of the list, for the first.
    return sorted(number % NUM_TRAIN + 1 for number in strict)


def _with_parts(folder: TreePath) -> list[TreePath]:
    """Return a folder of videos, and those within it that hold the parts of the download."""
    return [folder, *(folder / name for name in sorted(list_names(folder)) if _PARTS.fullmatch(name))]


def _read_frame_size(folder: TreePath) -> np.ndarray:
    """Return (height, width) from `meta_info.ini`."""
    path = folder / "meta_info.ini"
    match = _RESOLUTION.search(read_file(path).decode(errors="replace"))
    if match is None:
        raise ValueError(f"{path} has no line `resolution: (width, height)`, which GOT-10k's measures need")
    width, height = (int(number) for number in match.groups())
    return np.array((height, width))
