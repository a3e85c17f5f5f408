"""OTB100, also known as OTB2015.

Source: Wu et al., "Object Tracking Benchmark", TPAMI 2015.
"""

from dataclasses import dataclass

from lib.data.datasets.annotation import annotated, parse_range, read_boxes, read_split_file
from lib.data.datasets.listing import keep_present, list_names
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.tree import TreePath

_LAYOUT = "<folder>/{img/0001.jpg, groundtruth_rect.txt}"
_BOXES = "groundtruth_rect.txt"


@dataclass(frozen=True)
class _Entry:
    """Where a sequence lies; its frames have the stated numbers, and its box file `skip` rows before them."""

    folder: str
    numbers: range
    digits: int
    boxes: str
    skip: int


class OTB100Dataset(SequenceDataset):
    """100 sequences of 98 videos: Jogging and Skating2 have two targets each.

    Some tools copy such a video to a folder for each target, `Jogging-1` or `Jogging.1`, and `Human4-2`.
    """

    def __init__(self, root: TreePath) -> None:
        """List which of the sequences are there."""
        self._root = root
        self._entries = {name: _parse(folder, numbers, options)
                         for name, folder, numbers, *options in read_split_file("otb100").rows}  # fmt: skip
        folders = set(list_names(root))
        self._folder_of = {
            name: folder
            for name, entry in self._entries.items()
            if (folder := next((each for each in (entry.folder, *_copies(name)) if each in folders), None))
        }
        self.names = keep_present("OTB100", tuple(self._entries), self._folder_of, root, _LAYOUT)

    def __getitem__(self, index: int) -> Sequence:
        """Read a sequence's boxes; ValueError where there are fewer rows than frames."""
        name = self.names[index]
        entry = self._entries[name]
        folder = self._root / self._folder_of[name]
        file = folder / entry.boxes
        if folder.name != entry.folder and not file.is_file():
            file = folder / _BOXES  # a copy for one target may have its boxes under the usual name
        num_frames = len(entry.numbers)
        # Rows beyond the last frame that the benchmark uses have no picture.
        boxes_xywh = read_boxes(file)[entry.skip : entry.skip + num_frames]
        if len(boxes_xywh) < num_frames:
            raise ValueError(f"{file} has {entry.skip + len(boxes_xywh)} rows, but the sequence has "
                             f"{entry.skip + num_frames} frames")  # fmt: skip
        files = NumberedFiles(folder / "img", entry.numbers[0], num_frames, entry.digits)
        return annotated(name, ImageFiles(files), boxes_xywh)


def _copies(name: str) -> list[str]:
    """Return the folders that one of a video's targets may have by itself."""
    video, _, target = name.rpartition("_")
    return [f"{video}{mark}{target}" for mark in "-._"] if video else []


def _parse(folder: str, numbers: str, options: list[str]) -> _Entry:
    stated = {"digits": "4", "boxes": _BOXES, "skip": "0", **dict(option.split("=") for option in options)}
    return _Entry(folder, parse_range(numbers), int(stated["digits"]), stated["boxes"], int(stated["skip"]))
