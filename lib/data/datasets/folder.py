"""Your own data: a folder of sequences, each with pictures (or a video) and a text file of boxes."""

import warnings
from pathlib import Path

import numpy as np

from lib.data.datasets.annotation import annotated, read_boxes
from lib.data.datasets.listing import list_pictures, natural_key
from lib.data.images.frames import ImageFiles, MaskFiles
from lib.data.images.video import VideoFile
from lib.data.sequence import Frames, Sequence, SequenceDataset
from lib.data.storage.tree import VIDEOS, TreePath
from lib.data.table import read_table

LAYOUT = """expected layout:
  ROOT/<sequence>/groundtruth.txt        x,y,w,h per frame (comma, tab or space); nan where there is no annotation
  ROOT/<sequence>/img/00000001.jpg ...   or the pictures beside groundtruth.txt, or one video file instead
  ROOT/<sequence>/absent.txt             optional: 1 in the rows where the target is not in the picture, else 0
  ROOT/<sequence>/mask/00000001.png ...  optional: any value but 0 is the target"""

_BOXES = "groundtruth.txt"
_MASKS = "mask"
_NUM_KEPT_OPEN = 64  # sequences; a video file is slow to open again


class LeftOutWarning(UserWarning):
    """Some folders beside the sequences are none."""


class FolderDataset(SequenceDataset):
    """Sequences in the own-data layout. `root` may hold sequences, or be one itself."""

    def __init__(self, root: TreePath) -> None:
        """List the sequences; no picture is opened. Warns of folders that are left out."""
        if not root.is_dir():
            raise FileNotFoundError(f"the folder {root} does not exist; {LAYOUT}")
        if (root / _BOXES).is_file():
            folders = [root]
        else:
            # A folder whose name starts with a dot is hidden, or is being written.
            visible = [path for path in root.iterdir() if not path.name.startswith(".")]
            folders = [path for path in visible if (path / _BOXES).is_file()]
            if folders:
                _warn_of_others(root, set(visible) - set(folders))
        if not folders:
            raise FileNotFoundError(f"no sequence found in {root}; {LAYOUT}")
        self._folders = sorted(folders, key=lambda folder: natural_key(folder.name))
        self._opened: dict[int, Sequence] = {}
        # "." has no name until it is resolved.
        self.names = tuple((path.resolve() if isinstance(path, Path) else path).name for path in self._folders)

    def __getitem__(self, index: int) -> Sequence:
        """Open a sequence: read its boxes, list its pictures; ValueError where its files contradict each other."""
        if index not in self._opened:
            if len(self._opened) == _NUM_KEPT_OPEN:
                del self._opened[next(iter(self._opened))]
            self._opened[index] = _open_sequence(self._folders[index], self.names[index])
        return self._opened[index]


def open_folder(split: str, root: TreePath) -> FolderDataset:
    """Open `root/<split>` where there is such a folder, else the whole of `root`, which is every split then."""
    return FolderDataset(root / split if (root / split).is_dir() else root)


def open_frames(folder: TreePath) -> Frames:
    """Open the pictures of `folder/img`, else those beside, in natural order; else the folder's one video."""
    pictures = list_pictures(folder / "img") if (folder / "img").is_dir() else list_pictures(folder)
    if pictures:
        return ImageFiles(pictures)
    videos = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in VIDEOS and not path.name.startswith(".")),
        key=lambda path: natural_key(path.name),
    )
    if len(videos) == 1:
        video = videos[0]
        if not isinstance(video, Path):
            raise ValueError(f"{video}: a packed video cannot be decoded; unpack it, or make image files of it")
        return VideoFile(video)
    if videos:
        raise ValueError(f"{folder} holds {len(videos)} videos ({videos[0].name}, {videos[1].name}, ...); keep one")
    raise FileNotFoundError(f"no pictures and no video in {folder}; {LAYOUT}")


def _warn_of_others(root: TreePath, others: set[TreePath]) -> None:
    names = sorted((path.name for path in others if path.name != _MASKS and path.is_dir()), key=natural_key)
    if names:
        named = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        what = f"{len(names)} folder{'s' * (len(names) > 1)} without {_BOXES}"
        warnings.warn(f"{what} in {root} left out: {named}", LeftOutWarning, stacklevel=3)


def _open_sequence(folder: TreePath, name: str) -> Sequence:
    boxes_xywh = _read_boxes(folder / _BOXES)
    rows = len(boxes_xywh)
    frames = open_frames(folder)
    # One row is the annotation of a test set, or of a video to be tracked.
    if rows != 1 and rows != len(frames):
        raise ValueError(f"{folder / _BOXES} has {rows} rows, but there are {len(frames)} frames in {folder}")
    absent = _read_absent(folder / "absent.txt", rows)
    return annotated(name, frames, boxes_xywh, absent=absent, masks=_open_masks(folder / _MASKS, frames))


def _read_boxes(path: TreePath) -> np.ndarray:
    """Read boxes, and refuse those that cannot be meant."""
    boxes_xywh = read_boxes(path)
    for rows, what in (
        (np.isinf(boxes_xywh).any(axis=1), "is infinite"),
        ((boxes_xywh[:, 2:] < 0).any(axis=1), "has a negative width or height; a row is x,y,w,h"),
    ):
        if rows.any():
            row = int(np.argmax(rows))
            raise ValueError(f"{path}, row {row + 1}: the box {boxes_xywh[row].tolist()} {what}")
    return boxes_xywh


def _read_absent(path: TreePath, rows: int) -> np.ndarray:
    if not path.exists():
        return np.zeros(rows, dtype=bool)
    flags = read_table(path, 1)[:, 0]
    if len(flags) != rows:
        raise ValueError(f"{path} has {len(flags)} rows, but {path.parent / _BOXES} has {rows}")
    return flags != 0


def _open_masks(folder: TreePath, frames: Frames) -> MaskFiles | None:
    if not folder.is_dir():
        return None
    masks = list_pictures(folder)
    if len(masks) != len(frames):
        raise ValueError(f"{folder} holds {len(masks)} masks, but there are {len(frames)} frames in {folder.parent}")
    return MaskFiles(masks, frames)
