"""COCO 2017, a set of photographs: each annotated object is a "sequence" of one image.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
"""

import contextlib
import functools
import io
import json
from collections.abc import Mapping
from collections.abc import Sequence as Indexed
from typing import Any

import numpy as np

from lib.data.datasets.annotation import has_area
from lib.data.datasets.index import cached_arrays, modified_ns
from lib.data.datasets.listing import list_names
from lib.data.images.frames import ImageFiles
from lib.data.sequence import Sequence
from lib.data.storage.tree import TreePath

COCO_SPLITS = ("train", "val")

_LAYOUT = "train2017/*.jpg (or images/train2017/*.jpg) and annotations/instances_train2017.json"


class CocoDataset:
    """All objects but crowds, in the order of the annotation file.

    The annotation file, 450 MB of JSON, is read once; from then on, four arrays of an index take its place. A second
    index, of the masks, is made when the first mask is asked for.
    """

    images_only = True

    def __init__(self, split: str, root: TreePath) -> None:
        """Open the index, or make it: that takes 15 seconds and 4 GB of memory for `train`.

        Raises:
            FileNotFoundError: there is no annotation file.
            ValueError: it is not one of COCO's, or pycocotools is not installed.
        """
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
        self.names: Indexed[str] = _Names(self)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sequence:
        """Return an object in its image; nothing is read."""
        boxes_xywh = self._boxes_xywh[index][None]
        return Sequence(
            name=self.name(index),
            frames=ImageFiles([self._folder / self._image_name(index)]),
            boxes_xywh=boxes_xywh,
            visible=has_area(boxes_xywh),
            absent=np.zeros(1, dtype=bool),
            masks=_ObjectMask(self, index),
        )

    @property
    def num_images(self) -> int:
        """How many photographs there are, those without objects included."""
        return len(self._image_names)

    def missing_images(self) -> list[str]:
        """Return the names of photographs that the annotation speaks of and that are not there."""
        present = set(list_names(self._folder))
        return [name for each in self._image_names if (name := bytes(each).decode()) not in present]

    def mask(self, index: int) -> np.ndarray:
        """Return an object's mask, (H, W) bool.

        Raises:
            ValueError: pycocotools is not installed.
        """
        arrays = self._mask_arrays
        first, last = arrays["starts"][index], arrays["starts"][index + 1]
        return _decode_mask(arrays["codes"][first:last].tobytes(), arrays["sizes"][index])

    @functools.cached_property
    def _mask_arrays(self) -> Mapping[str, np.ndarray]:
        """The run-length codes of all masks, one after the other."""
        return cached_arrays(
            f"coco-masks-{self._split}", str(self._file), (modified_ns(self._file),), lambda: _index_masks(self._file)
        )

    def name(self, index: int) -> str:
        """Return `<image>_<object>`, both by the numbers that COCO gives them."""
        return f"{self._image_name(index).rpartition('.')[0]}_{self._ids[index]}"

    def _image_name(self, index: int) -> str:
        return bytes(self._image_names[self._image_of[index]]).decode()


class _ObjectMask:
    """The one mask of an object's "sequence", decoded when asked for."""

    def __init__(self, dataset: CocoDataset, index: int) -> None:
        self._dataset = dataset
        self._index = index

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> np.ndarray:
        if index not in (0, -1):
            raise IndexError(f"mask {index} of 1")
        return self._dataset.mask(self._index)


class _Names(Indexed[str]):
    """Names made when asked for: there are 850,000."""

    def __init__(self, dataset: CocoDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._dataset.name(index)


def _read(file: TreePath) -> tuple[Any, list[Any]]:
    """Read an annotation file: pycocotools' view of it, and all objects but crowds."""
    try:
        from pycocotools.coco import COCO
    except ImportError:
        raise ValueError("reading COCO's annotation needs pycocotools: pip install pycocotools") from None
    coco = COCO()
    try:
        coco.dataset = json.loads(file.read_bytes())
    except ValueError as error:  # of its encoding, too
        raise ValueError(f"{file} is damaged, copy or unpack it again: {error}") from None
    if not isinstance(coco.dataset, dict) or not {"images", "annotations"} <= set(coco.dataset):
        raise ValueError(f"{file} is not an annotation file of COCO: it has no images and annotations")
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by print
        coco.createIndex()
    return coco, list(coco.loadAnns(coco.getAnnIds(iscrowd=False)))


def _index(file: TreePath) -> dict[str, np.ndarray]:
    """Return what the objects are and where."""
    coco, objects = _read(file)
    image_ids = sorted(coco.getImgIds())
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    return {
        "ids": np.array([each["id"] for each in objects], dtype=np.int64),
        "image_of": np.array([row_of[each["image_id"]] for each in objects], dtype=np.int32),
        "image_names": np.array([image["file_name"].encode() for image in coco.loadImgs(image_ids)], dtype="S"),
        "boxes_xywh": np.array([each["bbox"] for each in objects], dtype=np.float64).reshape(-1, 4),
    }


def _index_masks(file: TreePath) -> dict[str, np.ndarray]:
    """Return the run-length codes of all masks as pycocotools writes them, in the order of `_index`."""
    coco, objects = _read(file)
    codes = [coco.annToRLE(each) for each in objects]
    lengths = [len(code["counts"]) for code in codes]
    return {
        "codes": np.frombuffer(b"".join(code["counts"] for code in codes), dtype=np.uint8),
        "starts": np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        "sizes": np.array([code["size"] for code in codes], dtype=np.int32).reshape(-1, 2),
    }


def _decode_mask(code: bytes, size: np.ndarray) -> np.ndarray:
    try:
        from pycocotools import mask as codec
    except ImportError:
        raise ValueError("reading COCO's masks needs pycocotools: pip install pycocotools") from None
    return codec.decode({"size": size.tolist(), "counts": code}) > 0
