"""UAV123: 123 low-altitude videos.

Source: Mueller et al., "A Benchmark and Simulator for UAV Tracking", ECCV 2016.
"""

import numpy as np

from lib.data.datasets.annotation import annotated, parse_range, read_boxes, read_split_file
from lib.data.datasets.listing import keep_present, list_names
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.tree import TreePath

_LAYOUT = "data_seq/UAV123/<folder>/000001.jpg and anno/UAV123/<sequence>.txt"


class UAV123Dataset(SequenceDataset):
    """Several sequences may be parts of one folder of frames; a row of nan is a frame without the target."""

    def __init__(self, root: TreePath) -> None:
        """List which of the 123 sequences have boxes."""
        # The published archive holds everything in a folder UAV123.
        self._root = root if (root / "anno").is_dir() else root / "UAV123"
        published = read_split_file("uav123")
        self._folder_of = {name: folder for name, folder, *_ in published.rows}
        self._numbers_of = {name: parse_range(numbers) for name, _, numbers, *_ in published.rows}
        self._attributes_of = {name: published.spell_out(tuple(short)) for name, _, _, _, *short in published.rows}
        present = [name.removesuffix(".txt") for name in list_names(self._root / "anno" / "UAV123")]
        self.names = keep_present("UAV123", tuple(self._folder_of), present, root, _LAYOUT)

    def __getitem__(self, index: int) -> Sequence:
        """Read a sequence's boxes; ValueError where there are not as many rows as frames."""
        name = self.names[index]
        numbers = self._numbers_of[name]
        file = self._root / "anno" / "UAV123" / f"{name}.txt"
        boxes_xywh = read_boxes(file)
        if len(boxes_xywh) != len(numbers):
            raise ValueError(f"{file} has {len(boxes_xywh)} rows, but the sequence has {len(numbers)} frames")
        folder = self._root / "data_seq" / "UAV123" / self._folder_of[name]
        files = NumberedFiles(folder, numbers[0], len(numbers), digits=6)
        absent = np.any(np.isnan(boxes_xywh), axis=1)
        return annotated(name, ImageFiles(files), boxes_xywh, absent=absent, attributes=self._attributes_of[name])
