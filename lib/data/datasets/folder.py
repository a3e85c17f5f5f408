"""Your own data: a folder of sequences, each with pictures (or a video) and a text file of boxes."""

import re
from collections.abc import Sequence as Indexed
from pathlib import Path

import numpy as np

from lib.data.frames import ImageFiles, MaskFiles, VideoFile
from lib.data.sequence import Frames, Sequence

LAYOUT = """expected layout:
  ROOT/<sequence>/groundtruth.txt        x,y,w,h per frame (comma, tab or space); nan where there is no annotation
  ROOT/<sequence>/img/00000001.jpg ...   or the pictures beside groundtruth.txt, or one video file instead
  ROOT/<sequence>/absent.txt             optional: 1 in the rows where the target is not in the picture
  ROOT/<sequence>/mask/00000001.png ...  optional: any value but 0 is the target"""

_PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
_VIDEOS = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"))
_BOXES = "groundtruth.txt"


class FolderDataset:
    """Sequences in the own-data layout. `root` may hold sequences, or be one itself."""

    images_only = False

    def __init__(self, root: Path) -> None:
        """List the sequences; no picture is opened.

        Raises:
            FileNotFoundError: the folder does not exist or holds no sequence.
        """
        self.root = root
        if not root.is_dir():
            raise FileNotFoundError(f"the folder {root} does not exist; {LAYOUT}")
        if (root / _BOXES).is_file():
            self._folders = (root,)
        else:
            self._folders = tuple(
                sorted((path.parent for path in root.glob(f"*/{_BOXES}")), key=lambda path: natural_key(path.name))
            )
        if not self._folders:
            raise FileNotFoundError(f"no sequence found in {root}; {LAYOUT}")
        self.names: Indexed[str] = tuple(folder.resolve().name for folder in self._folders)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sequence:
        """Open a sequence: read its boxes, list its pictures.

        Raises:
            FileNotFoundError: it has no pictures.
            ValueError: its files contradict each other, or a row cannot be read; the message names file and line.
        """
        folder = self._folders[index]
        boxes_xywh = read_boxes(folder / _BOXES)
        frames = open_frames(folder)
        rows = len(boxes_xywh)
        if rows != 1 and rows != len(frames):
            raise ValueError(f"{folder / _BOXES} has {rows} rows, but there are {len(frames)} frames in {folder}")
        absent = _read_absent(folder / "absent.txt", rows)
        annotated = np.isfinite(boxes_xywh).all(axis=1) & (boxes_xywh[:, 2:] > 0).all(axis=1)
        return Sequence(
            name=self.names[index],
            frames=frames,
            boxes_xywh=boxes_xywh,
            visible=annotated & ~absent,
            absent=absent,
            masks=_open_masks(folder / "mask", len(frames)),
        )


def read_boxes(path: Path) -> np.ndarray:
    """Read a text file of boxes, one x,y,w,h per line, separated by commas, semicolons, tabs or spaces.

    Empty lines at the end are ignored; nan is a row without annotation.

    Returns:
        (N, 4) float64.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not four numbers, or the file has no lines; file, line and text are named.
    """
    rows = [_parse_row(path, number, line, columns=4) for number, line in _lines(path)]
    if not rows:
        raise ValueError(f"{path} has no boxes; it needs one line x,y,w,h per frame")
    return np.array(rows, dtype=np.float64)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts frame 2 before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return numbered lines, without the empty ones at the end."""
    if not path.is_file():
        raise FileNotFoundError(f"the file {path} does not exist")
    return list(enumerate(path.read_text(encoding="utf-8-sig", errors="replace").rstrip().splitlines(), start=1))


def _parse_row(path: Path, number: int, line: str, columns: int) -> list[float]:
    words = re.split(r"\s*[,;]\s*|\s+", line.strip())
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != columns:
        wanted = "four numbers x,y,w,h" if columns == 4 else "one number"
        raise ValueError(f"{path}, line {number}: expected {wanted}, found {line.strip()!r}")
    return values


def _read_absent(path: Path, rows: int) -> np.ndarray:
    if not path.exists():
        return np.zeros(rows, dtype=bool)
    absent = np.array([_parse_row(path, number, line, columns=1)[0] != 0 for number, line in _lines(path)], dtype=bool)
    if len(absent) != rows:
        raise ValueError(f"{path} has {len(absent)} rows, but {path.with_name(_BOXES)} has {rows}")
    return absent


def _listed(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(files, key=lambda path: natural_key(path.name))


def open_frames(folder: Path) -> Frames:
    """Open the pictures of `folder/img`, else those beside, in natural order; else the folder's one video.

    Raises:
        FileNotFoundError: there are neither pictures nor a video.
        ValueError: there are several videos, or the one cannot be decoded.
    """
    pictures = _listed(folder / "img", _PICTURES) if (folder / "img").is_dir() else _listed(folder, _PICTURES)
    if pictures:
        return ImageFiles(pictures)
    videos = _listed(folder, _VIDEOS)
    if len(videos) == 1:
        return VideoFile(videos[0])
    if videos:
        raise ValueError(f"{folder} holds {len(videos)} videos ({videos[0].name}, {videos[1].name}, ...); keep one")
    raise FileNotFoundError(f"no pictures and no video in {folder}; {LAYOUT}")


def _open_masks(folder: Path, num_frames: int) -> MaskFiles | None:
    if not folder.is_dir():
        return None
    masks = _listed(folder, _PICTURES)
    if len(masks) != num_frames:
        raise ValueError(f"{folder} holds {len(masks)} masks for {num_frames} frames")
    return MaskFiles(masks)
