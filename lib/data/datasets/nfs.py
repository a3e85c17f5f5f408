"""NfS, Need for Speed, in its version of 30 frames per second.

Source: Kiani Galoogahi et al., "Need for Speed: A Benchmark for Higher Frame Rate Object Tracking", ICCV 2017.
"""

import codecs

import numpy as np

from lib.data.datasets.annotation import annotated, read_boxes, read_split_file
from lib.data.datasets.listing import keep_present, list_names
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.tree import TreePath, read_file
from lib.data.table import is_numeric

_LAYOUT = "<name>/30/{<name>/00001.jpg, <name>.txt} as published, or sequences/<name>/00001.jpg and anno/nfs_<name>.txt"
_STEP = 8  # rows of the published annotation a frame: it is that of 240 frames per second
_COLUMNS = 7  # that are needed: track, left, top, right, bottom, frame, lost


class NfSDataset(SequenceDataset):
    """100 sequences, as published or in the layout that tracking toolkits evaluate.

    Toolkits have a row x, y, w, h for each frame. What the authors publish has the rows of the annotation tool VATIC,
    and for all 240 frames of a second; of these, the first and every eighth one after it are taken. The frames are
    those that the toolkits evaluate, from either layout; the boxes of the two may differ by a frame, since the toolkits
    took theirs from the authors' result files.
    """

    def __init__(self, root: TreePath) -> None:
        """List which of the sequences have boxes."""
        self._root = root
        self._num_frames_of = {f"nfs_{name}": int(count) for name, count in read_split_file("nfs").rows}
        # True where it lies as its authors publish it, False where as toolkits want it.
        self.as_published = not (root / "anno").is_dir()
        if self.as_published:
            folders = set(list_names(root))
            present = [name for name in self._num_frames_of if _bare(name) in folders
                       and self._published_file(name).is_file()]  # fmt: skip
        else:
            present = [name.removesuffix(".txt") for name in list_names(root / "anno")]
        self.names = keep_present("NfS", tuple(self._num_frames_of), present, root, _LAYOUT)

    def __getitem__(self, index: int) -> Sequence:
        """Read a sequence's boxes; ValueError where there are fewer rows than frames."""
        name = self.names[index]
        num_frames = self._num_frames_of[name]
        if self.as_published:
            file = self._published_file(name)
            folder = file.parent / _bare(name)
            boxes_xywh, lost = _read_published(file, num_frames)
        else:
            file = self._root / "anno" / f"{name}.txt"
            folder = self._root / "sequences" / _bare(name)
            boxes_xywh = read_boxes(file)[:num_frames]
            lost = np.zeros(len(boxes_xywh), dtype=bool)
        # The published annotation of some videos ends a frame early.
        if len(boxes_xywh) < num_frames - self.as_published:
            raise ValueError(f"{file} has {len(boxes_xywh)} rows, but the sequence has {num_frames} frames")
        files = NumberedFiles(folder, 1, len(boxes_xywh), digits=5)
        # Toolkits evaluate the frames in which the target is lost, too; training leaves them out.
        return annotated(name, ImageFiles(files), boxes_xywh, hidden=lost)

    def _published_file(self, name: str) -> TreePath:
        return self._root / _bare(name) / "30" / f"{_bare(name)}.txt"


def _bare(name: str) -> str:
    return name.removeprefix("nfs_")


def _read_published(file: TreePath, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Read rows `track left top right bottom frame lost occluded generated "label"`, at most one for each frame.

    Returns:
        (N, 4) boxes x, y, w, h, and (N,) bool, True where the target is out of the picture.
    """
    rows = []
    lines = read_file(file).removeprefix(codecs.BOM_UTF8).rstrip().splitlines()
    for number, line in enumerate(lines, start=1):
        words = line.split()[:_COLUMNS]
        try:
            values = [float(word) for word in words] if is_numeric(b" ".join(words)) else []
        except ValueError:
            values = []
        if len(values) != _COLUMNS:
            raise ValueError(f"{file}, row {number}: expected track left top right bottom frame lost occluded "
                             f"generated label, found {line.strip().decode(errors='replace')[:200]!r}")  # fmt: skip
        rows.append(values)
    table = np.array(rows, dtype=np.float64).reshape(-1, _COLUMNS)
    # Whoever has thinned out the rows already has about as many as there are frames.
    if len(table) > 2 * num_frames:
        table = table[::_STEP]
    table = table[:num_frames]
    boxes_xywh = table[:, 1:5].copy()
    boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
    return boxes_xywh, table[:, 6] != 0
