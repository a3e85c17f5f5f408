"""The surroundings of every target, cut out once: all that training can need, at the resolution that it needs.

A region reaches as far as jittered crops do and is shrunk until the target is as large as the sharpest of them wants
it. For large targets this is a fraction of the pixels, for small ones a fraction of the frame.
"""

import io
import json
import math
from collections.abc import Sequence as Indexed
from dataclasses import asdict, dataclass

import numpy as np

from lib.config.schema import Crop, Data
from lib.data.crop import CropWindow
from lib.data.picture import FilePicture
from lib.data.sequence import Sequence
from lib.data.tree import TreePath

MANIFEST = "crops.json"
# Standard deviations of the scale jitter. One window in 700 is larger than the first allows; only if it lies far off,
# too, it is not held. One crop in six is taken closer than the second allows, and enlarged, by a tenth on average.
_REACH_SIGMAS, _SHARP_SIGMAS = 3.0, 1.0
_VERSION = 2
_LEFT, _TOP, _FACTOR, _WIDTH, _HEIGHT, _BOX, _VISIBLE, _ABSENT, _COLUMNS = 0, 1, 2, 3, 4, slice(5, 9), 9, 10, 11


@dataclass(frozen=True)
class Reach:
    """How much of a frame the crops of an experiment can need. s = sqrt(w * h) is the side of the target.

    Attributes:
        half_side: how far from the target's centre, in units of s.
        target_side: how large the target must be in the stored picture, in pixels.
    """

    half_side: float
    target_side: float

    @classmethod
    def of(cls, data: Data, crop: Crop) -> "Reach":
        """Return what the jitter and the crops of an experiment need, but for the rarest."""
        kinds = (
            (crop.search_factor, crop.search_size, data.search_center_jitter, data.search_scale_jitter),
            (crop.template_factor, crop.template_size, data.template_center_jitter, data.template_scale_jitter),
        )
        half_side = target_side = 0.0
        for factor, size, center_jitter, scale_jitter in kinds:
            # Both sides are scaled independently, so the logarithm of s varies by 1 / sqrt(2) of each.
            spread = scale_jitter / math.sqrt(2)
            half_side = max(half_side, (factor + center_jitter) / 2 * math.exp(_REACH_SIGMAS * spread))
            target_side = max(target_side, size / factor * math.exp(_SHARP_SIGMAS * spread))
        return cls(half_side, target_side)

    def covers(self, other: "Reach") -> bool:
        """Return whether what was stored for this is enough for another."""
        return self.half_side >= other.half_side - 1e-6 and self.target_side >= other.target_side - 1e-6


@dataclass(frozen=True)
class Region:
    """A part of a frame, stored with each pixel standing for factor x factor pixels of the frame.

    Attributes:
        left, top: its corner in pixels of the frame.
        factor: at least 1.
        frame_width, frame_height: of the whole frame.
    """

    left: float
    top: float
    factor: float
    frame_width: float
    frame_height: float

    def place(self, window: CropWindow) -> CropWindow:
        """Return a window of the frame in pixels of the stored picture."""
        return window.relative_to(self.left, self.top).in_reduced(self.factor)


class RegionPicture:
    """A frame of which a region is stored."""

    def __init__(self, path: TreePath, region: Region, keep: bool) -> None:
        self._stored = FilePicture(path, keep)
        self._region = region

    def read(self) -> int:
        return self._stored.read()

    def decode(self, window: CropWindow) -> tuple[np.ndarray, CropWindow] | None:
        region = self._region
        if window.covers_frame_share(int(region.frame_height), int(region.frame_width)) == 0:
            return None
        if not self._holds(window):
            return None  # drawn again: rarer than one sample in a thousand
        return self._stored.decode(region.place(window))

    def forget(self) -> None:
        self._stored.forget()

    def _holds(self, window: CropWindow) -> bool:
        """Return whether all of the window that lies in the frame was stored."""
        region = self._region
        height, width = self._stored.size()
        right, bottom = region.left + width * region.factor, region.top + height * region.factor
        return (
            max(window.left, 0.0) >= region.left
            and max(window.top, 0.0) >= region.top
            and min(window.left + window.side, region.frame_width) <= right
            and min(window.top + window.side, region.frame_height) <= bottom
        )


class RegionFrames:
    """The frames of one video, of which regions are stored where the target is visible."""

    def __init__(self, folder: TreePath, table: np.ndarray) -> None:
        self._folder = folder
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> np.ndarray:
        raise ValueError(f"{self._folder} holds regions around the target for training, no whole frames")

    def picture(self, index: int, keep: bool = False) -> RegionPicture:
        """Return a frame unread, for crops of it."""
        row = self._table[index]
        region = Region(row[_LEFT], row[_TOP], row[_FACTOR], row[_WIDTH], row[_HEIGHT])
        return RegionPicture(self._folder / region_name(index), region, keep)


class RegionDataset:
    """A split of a data set, cut to regions by `tracking/prepare.py crops`; for training only."""

    def __init__(self, root: TreePath, split: str) -> None:
        """Read the list of sequences.

        Raises:
            FileNotFoundError: the split is not there.
            ValueError: another version of this code wrote it.
        """
        self._folder = root / split
        path = self._folder / MANIFEST
        if not path.is_file():
            present = sorted(child.name for child in root.iterdir() if (child / MANIFEST).is_file())
            raise FileNotFoundError(
                f"{root} holds the regions of {', '.join(present)}, not of {split!r}; regions are for training only: "
                "add a split to train on with tracking/prepare.py crops, but to test, name the folder of whole frames"
            )
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["version"] != _VERSION:
            raise ValueError(f"{path} was written by another version of this code; make the regions again")
        self.reach = Reach(**manifest["reach"])
        self.images_only = bool(manifest["images_only"])
        # One block of memory, which processes share after a fork.
        self._names = np.array([name.encode() for name in manifest["names"]], dtype="S")
        self.names: Indexed[str] = manifest["names"]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sequence:
        """Read where the regions and boxes of a video are."""
        name = bytes(self._names[index]).decode()
        table = read_region_table(self._folder / name)
        return Sequence(
            name=name,
            frames=RegionFrames(self._folder / name, table),
            boxes_xywh=np.ascontiguousarray(table[:, _BOX]),
            visible=table[:, _VISIBLE] > 0,
            absent=table[:, _ABSENT] > 0,
        )

    def require(self, data: Data, crop: Crop) -> None:
        """Check that the regions are large and sharp enough for an experiment.

        Raises:
            ValueError: they are not.
        """
        needed = Reach.of(data, crop)
        if not self.reach.covers(needed):
            raise ValueError(
                f"the regions in {self._folder} reach {self.reach.half_side:.2f} target sides and hold targets of "
                f"{self.reach.target_side:.0f} px; this experiment needs {needed.half_side:.2f} and "
                f"{needed.target_side:.0f}: make them again with tracking/prepare.py crops --config"
            )


def is_region_cache(root: TreePath) -> bool:
    """Return whether a tree holds regions in place of frames."""
    return (root / "regions.json").is_file()


def region_name(index: int) -> str:
    """Return the file of frame `index`, within the folder of its sequence."""
    return f"{index:08d}.jpg"


def read_region_table(folder: TreePath) -> np.ndarray:
    """Return where the regions of a sequence lie, with its boxes: a row per frame."""
    table = np.load(io.BytesIO((folder / "table.npy").read_bytes()), allow_pickle=False)
    if table.ndim != 2 or table.shape[1] != _COLUMNS:
        raise ValueError(f"{folder / 'table.npy'} is damaged: it has the shape {table.shape}")
    return table


def encode_region_table(sequence: Sequence, regions: dict[int, Region]) -> bytes:
    """Return the bytes of `table.npy`. Frames without a region count as not visible."""
    table = np.full((len(sequence.boxes_xywh), _COLUMNS), np.nan)
    table[:, _BOX] = sequence.boxes_xywh
    table[:, _VISIBLE] = 0
    table[:, _ABSENT] = sequence.absent
    for index, region in regions.items():
        table[index, : _HEIGHT + 1] = region.left, region.top, region.factor, region.frame_width, region.frame_height
        table[index, _VISIBLE] = 1
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    return buffer.getvalue()


def encode_manifest(names: Indexed[str], images_only: bool, reach: Reach) -> bytes:
    """Return the bytes of the manifest of a split."""
    content = {"version": _VERSION, "images_only": images_only, "reach": asdict(reach), "names": list(names)}
    return json.dumps(content).encode()
