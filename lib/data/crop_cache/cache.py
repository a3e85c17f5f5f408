"""The surroundings of every target, cut out once: all that training can need, at the resolution that it needs.

Of each frame two crops are stored: a small one for templates and a wider one for search regions. Each reaches as far
as jittered crops do and is shrunk until the target is as large as the sharpest of them wants it. For large targets this
is a fraction of the pixels, for small ones a fraction of the frame.
"""

import math
from dataclasses import dataclass

import numpy as np

from lib.config.schema import Crop, Data
from lib.data.crop import CropWindow
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Frames, Names, Sequence, SequenceDataset
from lib.data.storage.tree import TreePath, read_file, read_json

MARK = "regions.json"  # beside the data base, as of every version
MANIFEST = "crops.json"
KINDS = ("template", "search")  # of crops, the smaller first
TABLE = "table.bin"
VERSION = 3
_SIDES = ("half_side", "target_side")
# A row for each frame. Without crops, all but the first three fields is 0.
ROW = np.dtype([
    ("box_xywh", "<f8", 4),
    ("visible", "?"),
    ("absent", "?"),
    ("frame_size", "<i4", 2),
    ("crops", [("left", "<i4"), ("top", "<i4"), ("width", "<i4"), ("height", "<i4"), ("eighths", "u1")], len(KINDS)),
])  # fmt: skip
# Standard deviations of the scale jitter. One window in 700 is larger than the first allows; only if it lies far off,
# too, it is not held. One crop in six is taken closer than the second allows, and enlarged, by a tenth on average.
_REACH_SIGMAS, _SHARP_SIGMAS = 3.0, 1.0
STEPS = 8  # factors are multiples of an eighth, so that a crop of whole pixels shrinks to whole pixels
_LARGEST_FACTOR = 8.0


@dataclass(frozen=True)
class Extent:
    """How much of a frame crops of one kind can need. s = sqrt(w * h) is the side of the target.

    Attributes:
        half_side: how far from the target's centre, in units of s.
        target_side: how large the target must be in the stored picture, in pixels.
    """

    half_side: float
    target_side: float

    @classmethod
    def of(cls, factor: float, size: int, center_jitter: float, scale_jitter: float) -> "Extent":
        """Return what crops of a factor, size in pixels and jitter need, but for the rarest."""
        # Both sides are scaled independently, so the logarithm of s varies by 1 / sqrt(2) of each.
        spread = scale_jitter / math.sqrt(2)
        return cls(
            half_side=(factor + center_jitter) / 2 * math.exp(_REACH_SIGMAS * spread),
            target_side=size / factor * math.exp(_SHARP_SIGMAS * spread),
        )

    def covers(self, other: "Extent") -> bool:
        """Return whether what was stored for this is enough for another."""
        return self.half_side >= other.half_side - 1e-6 and self.target_side >= other.target_side - 1e-6


@dataclass(frozen=True)
class StoredCrop:
    """A part of a frame, stored with each pixel standing for factor x factor pixels of the frame.

    Attributes:
        left, top: its corner in pixels of the frame.
        width, height: its sides in pixels of the frame; multiples of `factor`, so it may reach beyond the frame.
        factor: at least 1.
    """

    left: int
    top: int
    width: int
    height: int
    factor: float

    @classmethod
    def around(cls, box_xywh: np.ndarray, extent: Extent, frame_height: int, frame_width: int) -> "StoredCrop":
        """Return the crop that crops around a box need."""
        left, top, box_width, box_height = box_xywh.tolist()
        side = math.sqrt(box_width * box_height)
        steps = int(STEPS * min(max(side / extent.target_side, 1.0), _LARGEST_FACTOR))
        factor = steps / STEPS
        # Interpolation reaches a pixel of the stored picture beyond the window.
        half = extent.half_side * side + 2 * factor
        spans = []
        for center, length in ((left + box_width / 2, frame_width), (top + box_height / 2, frame_height)):
            start = min(max(0, math.floor(center - half)), length - 1)
            stop = max(min(length, math.ceil(center + half)), start + 1)
            # Only what is shrunk must have a whole number of blocks; STEPS pixels are stored for `steps` of the frame.
            spans.append((start, stop - start if factor == 1 else -(-(stop - start) // steps) * steps))
        (x, width), (y, height) = spans
        return cls(x, y, width, height, factor)

    def holds(self, window: CropWindow, frame_height: int, frame_width: int) -> bool:
        """Return whether all of a window of the frame that lies in the frame is in the crop."""
        return (
            max(window.left, 0.0) >= self.left
            and max(window.top, 0.0) >= self.top
            and min(window.left + window.side, frame_width) <= self.left + self.width
            and min(window.top + window.side, frame_height) <= self.top + self.height
        )

    def place(self, window: CropWindow) -> CropWindow:
        """Return a window of the frame in pixels of the stored picture."""
        return window.relative_to(self.left, self.top).in_reduced(self.factor)


class CropFrames(Frames):
    """The frames of one video, of which the surroundings of the target are stored where it is visible."""

    def __init__(self, folder: TreePath, table: np.ndarray, keep: bool) -> None:
        self._folder = folder
        self._table = table
        self._files = [ImageFiles(NumberedFiles(folder, 0, len(table), suffix=f"-{kind}.jpg"), keep) for kind in KINDS]

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> np.ndarray:
        raise ValueError(f"{self._folder} holds crops around the target for training, no whole frames")

    def cut(self, index: int, window: CropWindow) -> np.ndarray | None:
        """Cut from the smallest stored crop that holds the window; None, rarer than in one of a thousand, if none."""
        row = self._table[index]
        height, width = row["frame_size"].tolist()
        if window.covers_frame_share(height, width) == 0:
            return None
        for files, stored in zip(self._files, row["crops"].tolist(), strict=True):
            left, top, width_stored, height_stored, steps = stored
            crop = StoredCrop(left, top, width_stored, height_stored, steps / STEPS)
            if crop.holds(window, height, width):
                return files.cut(index, crop.place(window))
        return None


class CropDataset(SequenceDataset):
    """A split of a data set, cut to crops by `tracking/prepare.py crops`; for training only."""

    def __init__(self, root: TreePath, split: str) -> None:
        """Read the list of sequences."""
        self._folder = root / split
        path = self._folder / MANIFEST
        if not path.is_file():
            present = sorted(child.name for child in root.iterdir() if (child / MANIFEST).is_file())
            raise FileNotFoundError(
                f"{root} holds the crops of {', '.join(present)}, not of {split!r}; crops are for training only: "
                "add a split to train on with tracking/prepare.py crops, but to test, name the folder of whole frames"
            )
        manifest = read_json(path)
        try:
            version, reach = manifest["version"], manifest["reach"]
            self.images_only = bool(manifest["images_only"])
            self.names = Names(manifest["names"])
            if strange := set(manifest["names"]) - {folder.name for folder in self._folder.iterdir()}:
                raise ValueError(f"there is no folder {min(strange)[:80]!r} beside it")
            self.reach = Reach(*(Extent(*(float(reach[kind][side]) for side in _SIDES)) for kind in KINDS))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{path} is damaged, make the crops again: {error!r}") from None
        if version != VERSION:
            raise ValueError(f"{path} was written by another version of this code; make the crops again")

    def __getitem__(self, index: int) -> Sequence:
        """Read where the crops and boxes of a video are."""
        name = self.names[index]
        folder = self._folder / name
        table = _read_table(folder)
        return Sequence(
            name=name,
            frames=CropFrames(folder, table, self.images_only),
            boxes_xywh=np.ascontiguousarray(table["box_xywh"]),
            visible=np.ascontiguousarray(table["visible"]),
            absent=np.ascontiguousarray(table["absent"]),
        )

    def require(self, data: Data, crop: Crop) -> None:
        """Check that the crops are large and sharp enough for an experiment.

        Raises:
            ValueError: they are not.
        """
        needed = Reach.of(data, crop)
        if not self.reach.covers(needed):
            raise ValueError(
                f"the crops in {self._folder} are too small for this experiment: they {_describe(self.reach)}; it "
                f"needs that they {_describe(needed)}; make them again with tracking/prepare.py crops --config"
            )


def is_crop_cache(root: TreePath) -> bool:
    """Return whether a tree holds crops in place of frames."""
    return (root / MARK).is_file()


def _read_table(folder: TreePath) -> np.ndarray:
    data = read_file(folder / TABLE)
    if len(data) % ROW.itemsize:
        raise ValueError(f"{folder / TABLE} is damaged: it has {len(data)} bytes, rows have {ROW.itemsize}")
    table = np.frombuffer(data, ROW)
    box_xywh = table["box_xywh"]
    usable = np.isfinite(box_xywh).all(axis=1) & (box_xywh[:, 2:] > 0).all(axis=1)
    usable &= (table["frame_size"] > 0).all(axis=1) & (table["crops"]["eighths"] >= STEPS).all(axis=1)
    if (table["visible"] & ~usable).any():
        raise ValueError(f"{folder / TABLE} is damaged: a visible target has no crops")
    return table


@dataclass(frozen=True)
class Reach:
    """How much of a frame the templates and the search regions of an experiment can need."""

    template: Extent
    search: Extent

    @classmethod
    def of(cls, data: Data, crop: Crop) -> "Reach":
        """Return what the jitter and the crops of an experiment need, but for the rarest."""
        return cls(
            Extent.of(
                crop.template_factor, crop.template_size, data.template_center_jitter, data.template_scale_jitter
            ),
            Extent.of(crop.search_factor, crop.search_size, data.search_center_jitter, data.search_scale_jitter),
        )

    def covers(self, other: "Reach") -> bool:
        """Return whether what was stored for this is enough for another."""
        return self.template.covers(other.template) and self.search.covers(other.search)


def _describe(reach: Reach) -> str:
    return " and ".join(
        f"reach {extent.half_side:.2f} target sides at {extent.target_side:.0f} px for {name}"
        for name, extent in (("templates", reach.template), ("search regions", reach.search))
    )
