"""COCO 2017, a set of photographs: each annotated object is a "sequence" of one image.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
"""

import functools
from collections.abc import Mapping
from pathlib import PurePath
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from lib.config.text import check_name
from lib.data.datasets.annotation import annotated
from lib.data.datasets.index import cached_arrays, modified_ns
from lib.data.datasets.listing import list_names
from lib.data.images.frames import ImageFiles, require_same_size
from lib.data.images.jpeg import require_size
from lib.data.sequence import Frames, MadeNames, Sequence, SequenceDataset
from lib.data.storage.tree import TreePath, read_json

COCO_SPLITS = ("train", "val")

_LISTS = ("images", "annotations")
_LAYOUT = "train2017/*.jpg (or images/train2017/*.jpg) and annotations/instances_train2017.json"


class CocoDataset(SequenceDataset):
    """All objects but crowds, in the order of the annotation file.

    The annotation file, 450 MB of JSON, is read once; from then on, four arrays of an index take its place. A second
    index, of the masks, is made when the first mask is asked for.
    """

    images_only = True

    def __init__(self, split: str, root: TreePath) -> None:
        """Open the index, or make it: that takes 15 seconds and 4 GB of memory for `train`."""
        file = root / "annotations" / f"instances_{split}2017.json"
        if not file.is_file():
            raise FileNotFoundError(f"no {file}; expected in {root}: {_LAYOUT}")
        self._file, self._split = file, split
        arrays = cached_arrays(f"coco-{split}", str(file), (modified_ns(file),), lambda: _index(file))
        self._ids = arrays["ids"]
        self._image_of = arrays["image_of"]
        self._image_names = arrays["image_names"]
        self._boxes_xywh = arrays["boxes_xywh"]
        nested = root / "images" / f"{split}2017"
        self._folder = nested if nested.is_dir() else root / f"{split}2017"
        self.names = MadeNames(len(arrays["ids"]), self._name)

    def __getitem__(self, index: int) -> Sequence:
        """Return an object in its image; nothing is read."""
        frames = ImageFiles([self._folder / self._image_name(index)], keep=True)
        return annotated(self._name(index), frames, self._boxes_xywh[index][None], masks=_ObjectMask(self, index))

    @property
    def num_images(self) -> int:
        """How many photographs there are, those without objects included."""
        return len(self._image_names)

    def missing_images(self) -> list[str]:
        """Return the names of photographs that the annotation speaks of and that are not there."""
        present = set(list_names(self._folder))
        return [name for each in self._image_names if (name := bytes(each).decode()) not in present]

    def mask(self, index: int) -> np.ndarray:
        """Return an object's mask, (H, W) bool."""
        arrays = self._mask_arrays
        first, last = arrays["starts"][index], arrays["starts"][index + 1]
        code = arrays["codes"][first:last].tobytes()
        return _codec().decode({"size": arrays["sizes"][index].tolist(), "counts": code}) > 0

    @functools.cached_property
    def _mask_arrays(self) -> Mapping[str, np.ndarray]:
        """The run-length codes of all masks, one after the other."""
        return cached_arrays(
            f"coco-masks-{self._split}", str(self._file), (modified_ns(self._file),), lambda: _index_masks(self._file)
        )

    def _name(self, index: int) -> str:
        """Return `<image>_<object>`, both by the numbers that COCO gives them."""
        return f"{PurePath(self._image_name(index)).stem}_{self._ids[index]}"

    def _image_name(self, index: int) -> str:
        return bytes(self._image_names[self._image_of[index]]).decode()


class _ObjectMask(Frames):
    """The one mask of an object's "sequence", decoded when asked for."""

    def __init__(self, dataset: CocoDataset, index: int) -> None:
        self._dataset = dataset
        self._index = index

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> np.ndarray:
        if index not in (0, -1):
            raise IndexError(f"mask {index} of 1")
        mask = self._dataset.mask(self._index)
        sequence = self._dataset[self._index]
        require_same_size(mask, f"of {sequence.name}", sequence.frames, 0)
        return mask


class _Object(NamedTuple):
    """An annotated object, as far as it is of use; its segmentation as it stands in the file."""

    number: int
    row: int  # of its photograph
    box_xywh: list[float]
    segmentation: Any


class _Photograph(NamedTuple):
    number: int
    name: str
    height: int
    width: int


def _read(file: TreePath) -> tuple[list[_Photograph], list[_Object]]:
    """Read an annotation file: the photographs, by their numbers, and all objects but crowds."""
    content = read_json(file)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _LISTS):
        raise ValueError(f"{file} is not an annotation file of COCO: it has no images and annotations")
    entry: Any = None
    try:
        photographs = []
        for entry in content["images"]:
            size = entry.get("height", 0), entry.get("width", 0)  # which nothing but masks needs
            photograph = _Photograph(entry["id"], entry["file_name"], *size)
            for part in photograph.name.split("/"):  # exporters have folders in it
                check_name(part, "its file_name")
            if not _are_whole(photograph.number, *size):
                raise ValueError("its numbers")
            photographs.append(photograph)
        photographs.sort()
        row_of = {photograph.number: row for row, photograph in enumerate(photographs)}
        objects = []
        for entry in content["annotations"]:
            if not entry.get("iscrowd", 0):
                box_xywh = [float(value) for value in entry["bbox"]]
                if len(box_xywh) != 4 or not _are_whole(entry["id"]):
                    raise ValueError("its box or its number")
                objects.append(_Object(entry["id"], row_of[entry["image_id"]], box_xywh, entry.get("segmentation")))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        shown = repr(entry)[:120]
        raise ValueError(f"{file} is damaged, copy or unpack it again: {shown}: {error!r}") from None
    return photographs, objects


def _are_whole(*values: object) -> bool:
    return all(type(value) is int and abs(value) < 2**62 for value in values)


def _index(file: TreePath) -> dict[str, np.ndarray]:
    """Return what the objects are and where."""
    photographs, objects = _read(file)
    return {
        "ids": np.array([each.number for each in objects], dtype=np.int64),
        "image_of": np.array([each.row for each in objects], dtype=np.int32),
        "image_names": np.array([photograph.name.encode() for photograph in photographs], dtype="S"),
        "boxes_xywh": np.array([each.box_xywh for each in objects], dtype=np.float64).reshape(-1, 4),
    }


def _index_masks(file: TreePath) -> dict[str, np.ndarray]:
    """Return the run-length codes of all masks as pycocotools writes them, in the order of `_index`."""
    photographs, objects = _read(file)
    codes = []
    for each in objects:
        try:
            require_size(*photographs[each.row][2:])
            codes.append(_encode_mask(each.segmentation, *photographs[each.row][2:]))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{file}: the segmentation of object {each.number} cannot be meant: {error}") from None
    return {
        "codes": np.frombuffer(b"".join(codes), dtype=np.uint8),
        "starts": np.concatenate(([0], np.cumsum([len(code) for code in codes]))).astype(np.int64),
        "sizes": np.array([photographs[each.row][2:] for each in objects], dtype=np.int32).reshape(-1, 2),
    }


def _encode_mask(segmentation: Any, height: int, width: int) -> bytes:
    """Return polygons, or lengths of runs, as pycocotools' code. Its C code believes what it is told: check it all."""
    codec = _codec()
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [height, width]:
            raise ValueError(f"its size is {size}, that of its photograph {[height, width]}")
        if isinstance(counts, str):
            counts = _read_counts(counts)
        if not isinstance(counts, list) or not _are_whole(*counts) or min(counts, default=-1) < 0:
            raise ValueError("its counts are not whole numbers")
        if sum(counts) != height * width:
            raise ValueError(f"its counts cover {sum(counts)} of {height * width} pixels")
        return codec.frPyObjects({"size": size, "counts": counts}, height, width)["counts"]
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("it has no polygons")
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs three points of two numbers")
        for coordinates, side in ((polygon[::2], width), (polygon[1::2], height)):
            if not all(type(value) in {int, float} and -side <= value <= 2 * side for value in coordinates):
                raise ValueError(f"a polygon lies far beside its photograph of {width} x {height} pixels")
    return codec.merge(codec.frPyObjects(segmentation, height, width))["counts"]


def _read_counts(text: str) -> list[int]:
    """Return the lengths of runs of a mask that pycocotools has written as text: five bits a character, differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text.encode():
        bits = character - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("its counts are not those of pycocotools")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the highest bit is the sign
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    return counts


def _codec() -> ModuleType:
    try:
        from pycocotools import mask
    except ImportError:
        raise ValueError("reading COCO's masks needs pycocotools: pip install pycocotools") from None
    return mask
