"""The photographs of a folder, decoded at the size that a scene needs and kept in a bounded memory."""

import zlib
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.images.frames import decode_image, decode_mask, read_header
from lib.data.sequence import UnreadableFrameError
from lib.data.storage.tree import PICTURES, TreePath, read_file

_MASKS = "mask"
_SHORT_SIDE = 208  # px; a plane behind a frame of 192 x 256 is about as coarse as this
_LONGEST = 1.8  # of a photograph longer than this many short sides, the middle is taken
_CELL = 8  # px, side of the cells in which contrast is measured
_MEMORY = 256 * 2**20  # bytes of decoded photographs that a process keeps; about 1000 of them
_SMALLEST_OBJECT = 0.002  # of the photograph; a smaller spot of a mask is no object
_KEEPING = Lock()  # of what albums keep, which the threads of a batch share; held for moments only


class Photograph(NamedTuple):
    """A decoded photograph.

    Attributes:
        picture: (H, W, 4) uint8 RGB, then 255 on the objects of its mask and 0 elsewhere; without a mask 0 throughout.
        colour: mean red, green and blue.
        contrast: (H / 8 * W / 8,) float32, the contrast of its cells of 8 x 8 px summed up row by row, ending in 1.
        objects_xywh: (N, 4) int, the boxes of its mask's objects; N = 0 without a mask.
    """

    picture: np.ndarray
    colour: tuple[float, float, float]
    contrast: np.ndarray
    objects_xywh: np.ndarray

    def busy_place(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draw x and y of a place in pixels, the likelier the more contrast there is."""
        cells = self.picture.shape[1] // _CELL
        row, column = divmod(int(np.searchsorted(self.contrast, rng.random())), cells)
        return (column + 0.5) * _CELL, (row + 0.5) * _CELL


class Album:
    """Random access to photographs. What is kept in memory never changes what is returned."""

    def __init__(self, root: TreePath, names: tuple[str, ...], masked: frozenset[str], memory: int = _MEMORY) -> None:
        """Refer to photographs; none is opened.

        Args:
            root: their folder.
            names: their paths below it.
            masked: those of them that have a mask, `root/mask/<name without suffix>.png`.
            memory: bytes of decoded photographs to keep.
        """
        self.names = names
        self.outlined = [index for index, name in enumerate(names) if name in masked]
        self._root = root
        self._masked = masked
        self._memory = memory
        self._kept: OrderedDict[int, Photograph] = OrderedDict()
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Photograph:
        """Return a photograph, decoded now unless it is still in memory.

        Raises:
            FileNotFoundError: it, or its mask, has gone since it was listed.
            UnreadableFrameError: it, or its mask, cannot be decoded, or the two differ in size; the file is named.
        """
        with _KEEPING:
            photograph = self._kept.get(index)
            if photograph is not None:
                self._kept.move_to_end(index)
                return photograph
        photograph = self._open(self.names[index])
        with _KEEPING:
            if index not in self._kept:
                self._kept[index] = photograph
                self._kept_bytes += photograph.picture.nbytes
            while self._kept_bytes > self._memory and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= oldest.picture.nbytes
        return photograph

    def _open(self, name: str) -> Photograph:
        path = self._root / name
        colours, reduction = _decode(path)
        mask = None
        if name in self._masked:
            mask = _read_mask(self._root / mask_name(name), path, colours, reduction)
        return _prepare(colours, mask)


def list_photographs(root: TreePath) -> tuple[tuple[str, ...], frozenset[str]]:
    """List the photographs below a folder, at any depth, and those among them that have a mask.

    Files and folders whose names start with a dot are passed over.

    Returns:
        Their paths below the folder, sorted, and the same of those with a mask.
    """
    names = sorted(name for name in _walk(root, "") if not name.startswith(f"{_MASKS}/"))
    if not names:
        raise FileNotFoundError(f"no photograph in {root}; known are {', '.join(sorted(PICTURES))}")
    if not (root / _MASKS).is_dir():
        return tuple(names), frozenset()
    photograph_of: dict[str, str] = {}
    for name in names:
        other = photograph_of.setdefault(mask_name(name), name)
        if other != name:
            raise ValueError(f"{root / _MASKS}: {other} and {name} would share a mask; rename one of them")
    masks = [f"{_MASKS}/{name}" for name in _walk(root / _MASKS, "")]
    for mask in masks:
        if mask not in photograph_of:
            raise ValueError(
                f"{root / mask} belongs to no photograph; the mask of a/b.jpg is {_MASKS}/a/b.png, "
                "any value but 0 on the object"
            )
    return tuple(names), frozenset(photograph_of[mask] for mask in masks)


def mask_name(name: str) -> str:
    """Return the path of a photograph's mask, both below the folder."""
    return f"{_MASKS}/{name.rpartition('.')[0]}.png"


def name_hash(name: str) -> int:
    """Return a number that depends on nothing but a photograph's path below the folder."""
    return zlib.crc32(name.encode())


def _walk(folder: TreePath, prefix: str) -> list[str]:
    names: list[str] = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in PICTURES:
            names.append(prefix + path.name)
        elif path.is_dir():
            names.extend(_walk(path, f"{prefix}{path.name}/"))
    return names


def _decode(path: TreePath) -> tuple[np.ndarray, int]:
    """Read a photograph as (H, W, 3) uint8 RGB at a half, a quarter or an eighth where that is enough.

    Returns:
        The picture, and by how much it was reduced.
    """
    reduction = 1
    try:
        data = read_file(path)
        header = read_header(data)
        while header.scalable and reduction < 8 and min(header[:2]) >= 2 * reduction * _SHORT_SIDE:
            reduction *= 2
        return decode_image(data, reduction), reduction
    except (ValueError, MemoryError) as error:
        raise UnreadableFrameError(f"cannot read the photograph {path}: {error}; remove or replace it") from error


def _read_mask(path: TreePath, photograph: TreePath, colours: np.ndarray, reduction: int) -> np.ndarray:
    """Read a mask as (H, W) uint8, 255 on the objects, at the size of the decoded photograph."""
    try:
        values = decode_mask(read_file(path))
    except ValueError as error:
        raise UnreadableFrameError(f"cannot read the mask {path}: {error}; remove or replace it") from error
    height, width = colours.shape[:2]
    if (-(-values.shape[0] // reduction), -(-values.shape[1] // reduction)) != (height, width):
        raise UnreadableFrameError(
            f"the mask {path} is {values.shape[1]} x {values.shape[0]} px, unlike its photograph {photograph}"
        )
    mask = (values > 0).astype(np.uint8) * 255
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) if reduction > 1 else mask


def _prepare(colours: np.ndarray, mask: np.ndarray | None) -> Photograph:
    """Bring a photograph to its size and measure what is needed of it."""
    rows, columns = colours.shape[:2]
    side = min(rows, columns)
    height, width = min(rows, round(side * _LONGEST)), min(columns, round(side * _LONGEST))
    top, left = (rows - height) // 2, (columns - width) // 2
    picture = cv2.cvtColor(colours, cv2.COLOR_RGB2RGBA)
    cv2.insertChannel(np.zeros_like(picture[..., 3]) if mask is None else mask, picture, 3)
    size = round(width * _SHORT_SIDE / side), round(height * _SHORT_SIDE / side)
    # Less than halved, so that bilinear interpolation skips nothing; averaging areas takes ten times as long.
    picture = cv2.resize(picture[top : top + height, left : left + width], size, interpolation=cv2.INTER_LINEAR)
    mean = cv2.mean(picture)
    return Photograph(picture, (mean[0], mean[1], mean[2]), _contrast(picture), _find_objects(picture[..., 3]))


def _contrast(picture: np.ndarray) -> np.ndarray:
    """Return the cumulated contrast of `Photograph`."""
    rows, columns = picture.shape[0] // _CELL, picture.shape[1] // _CELL
    grey = cv2.cvtColor(picture[: rows * _CELL, : columns * _CELL], cv2.COLOR_RGBA2GRAY)
    coarse = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    # What differs from its surroundings, rather than what is full of fine texture such as grass.
    contrast = np.abs(coarse - cv2.GaussianBlur(coarse, (0, 0), 2.5)) + 1
    total = np.cumsum(cv2.blur(contrast, (3, 3)).ravel() ** 2, dtype=np.float64)
    return (total / total[-1]).astype(np.float32)


def _find_objects(mask: np.ndarray) -> np.ndarray:
    """Return the (N, 4) boxes of a mask's connected spots, but for specks."""
    if not mask.any():
        return np.zeros((0, 4), np.int32)
    _, _, boxes_xywh_area, _ = cv2.connectedComponentsWithStats((mask >= 128).astype(np.uint8))
    spots = boxes_xywh_area[1:]
    return spots[spots[:, 4] >= _SMALLEST_OBJECT * mask.size, :4]
