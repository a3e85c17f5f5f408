"""NfS, Need for Speed, in its version of 30 frames per second.

Source: Kiani Galoogahi et al., "Need for Speed: A Benchmark for Higher Frame Rate Object Tracking", ICCV 2017.
"""

import numpy as np

from lib.data.datasets.annotation import has_area, read_boxes
from lib.data.datasets.listing import NumberedFiles, keep_present, list_names
from lib.data.datasets.split_files import read_split_file
from lib.data.frames import ImageFiles
from lib.data.sequence import Sequence
from lib.data.tree import TreePath

_LAYOUT = "sequences/<name>/00001.jpg and anno/nfs_<name>.txt"


class NfSDataset:
    """100 sequences, in the layout that tracking toolkits evaluate: boxes x, y, w, h, a row for each frame."""

    images_only = False

    def __init__(self, root: TreePath) -> None:
        """List which of the sequences have boxes."""
        self._root = root
        self._num_frames_of = {f"nfs_{name}": int(count) for name, count in read_split_file("nfs").rows}
        present = [name.removesuffix(".txt") for name in list_names(root / "anno")]
        self.names = keep_present("NfS", tuple(self._num_frames_of), present, root, _LAYOUT)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sequence:
        """Read a sequence's boxes.

        Raises:
            ValueError: there are fewer rows than frames; else as `read_boxes`.
        """
        name = self.names[index]
        num_frames = self._num_frames_of[name]
        file = self._root / "anno" / f"{name}.txt"
        boxes_xywh = read_boxes(file)[:num_frames]
        if len(boxes_xywh) < num_frames:
            raise ValueError(f"{file} has {len(boxes_xywh)} rows, but the sequence has {num_frames} frames")
        files = NumberedFiles(self._root / "sequences" / name.removeprefix("nfs_"), 1, num_frames, digits=5)
        absent = np.zeros(num_frames, dtype=bool)
        return Sequence(name, ImageFiles(files), boxes_xywh, has_area(boxes_xywh), absent)
