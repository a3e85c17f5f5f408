"""LaSOT and its extension.

Sources: Fan et al., "LaSOT: A High-quality Benchmark for Large-scale Single Object Tracking", CVPR 2019, and its
extension by the same authors, IJCV 2021.
"""

import re
from collections import abc

from lib.data.datasets.annotation import annotated, read_boxes, read_flags, read_split_file
from lib.data.datasets.listing import keep_present, list_names
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.tree import TreePath

LASOT_SPLITS = ("train", "test")
LASOT_EXT_SPLITS = ("test",)

_LAYOUT = "<class>/<class>-<number>/{img/00000001.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt}, or flat"
_NUMBERED = re.compile(r".+-\d+")
_DEEPEST = 3  # LaSOTBenchmark/airplane/airplane, where a zip was unpacked into a folder of its own name


class LaSOTDataset(SequenceDataset):
    """Sequences in LaSOT's layout, in a folder for each class or all in one folder, at the root or a little below.

    The boxes count pixels from 1, and are given as published: all trackers of the field read them as if from 0.
    """

    def __init__(
        self, root: TreePath, title: str, names: abc.Sequence[str], attributes: dict[str, tuple[str, ...]]
    ) -> None:
        """List which of the named sequences are there.

        Args:
            root: the data set's folder.
            title: for messages.
            names: the split.
            attributes: full names by sequence, where they are known.
        """
        self._attributes = attributes
        self._folder_of = _locate(root, frozenset(names))
        self.names = keep_present(title, names, self._folder_of, root, _LAYOUT)

    def __getitem__(self, index: int) -> Sequence:
        """Read a sequence's annotation."""
        name = self.names[index]
        folder = self._folder_of[name] / name
        boxes_xywh = read_boxes(folder / "groundtruth.txt")
        num_frames = len(boxes_xywh)
        hidden = read_flags(folder / "full_occlusion.txt", num_frames)
        absent = hidden | read_flags(folder / "out_of_view.txt", num_frames)
        files = NumberedFiles(folder / "img", 1, num_frames)
        return annotated(name, ImageFiles(files), boxes_xywh, absent=absent, attributes=self._attributes.get(name, ()))


def open_lasot(split: str, root: TreePath) -> LaSOTDataset:
    """Open LaSOT's `test` (280 sequences, with attributes) or `train` (the other 1,120)."""
    published = read_split_file("lasot")
    test = {name: published.spell_out(tuple(short_names)) for name, *short_names in published.rows}
    if split == "test":
        return LaSOTDataset(root, "LaSOT test", tuple(test), test)
    classes = dict.fromkeys(_class(name) for name in test)
    train = [name for class_name in classes for number in range(1, 21)
             if (name := f"{class_name}-{number}") not in test]  # fmt: skip
    return LaSOTDataset(root, "LaSOT train", train, {})


def open_lasot_ext(split: str, root: TreePath) -> LaSOTDataset:
    """Open the extension: 150 test sequences of 15 further classes."""
    names = [f"{class_name}-{number}" for (class_name,) in read_split_file("lasot_ext").rows for number in range(1, 11)]
    return LaSOTDataset(root, f"LaSOT_ext {split}", names, {})


def _locate(root: TreePath, names: frozenset[str]) -> dict[str, TreePath]:
    """Return the folder that holds each sequence. No sequence and no other class is looked into."""
    classes = {_class(name) for name in names}
    found: dict[str, TreePath] = {}
    folders = [root]
    for depth in range(_DEEPEST + 1):
        below = []
        for folder in folders:
            children = list_names(folder)
            found.update({name: folder for name in children if name in names and name not in found})
            own = [name for name in children if name in classes]
            # A folder around everything, such as LaSOTBenchmark, has no class beside it.
            around = [name for name in children if depth == 0 and not own and not _NUMBERED.fullmatch(name)]
            below += [folder / name for name in own or around]
        folders = below
    return found


def _class(name: str) -> str:
    return name.rpartition("-")[0]
