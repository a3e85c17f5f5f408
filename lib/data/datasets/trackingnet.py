"""TrackingNet: 30,132 training videos in twelve shards, any of which may be absent, and 511 test videos.

Source: Mueller et al., "TrackingNet: A Large-Scale Dataset and Benchmark for Object Tracking in the Wild", ECCV 2018.
"""

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from lib.data.datasets.annotation import annotated, read_boxes
from lib.data.datasets.index import cached_arrays, modified_ns
from lib.data.datasets.listing import advice_to_unpack, list_names
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Names, Sequence, SequenceDataset
from lib.data.storage.tree import TreePath

NUM_SHARDS = 12
VIDEOS_PER_SHARD = 2511  # Source: the authors' TrackingNet-devkit
TRACKINGNET_SPLITS = ("train", "test")
MORE_SPLITS = r"train_\d+(-\d+)?"  # one shard, or several: train_0-3

_LAYOUT = "TRAIN_0/{anno/<video>.txt, frames/<video>/0.jpg} to TRAIN_11, and TEST"


@dataclass(frozen=True)
class _Shard:
    """Its videos, and how many frames each had when its folder was last modified."""

    folder: TreePath
    names: Names
    num_frames: np.ndarray
    modified_ns: np.ndarray


class TrackingNetDataset(SequenceDataset):
    """The videos of the shards that are there.

    The number of frames of every video is kept in an index, because listing 30,000 folders takes minutes on a slow
    disk. It is made anew for a shard that gained or lost videos, and a video is listed again if its own folder has
    changed. A training frame that is missing on disk counts as not visible, so it is never drawn.
    """

    def __init__(self, split: str, root: TreePath) -> None:
        """List the videos; the first time, with a progress bar, their frames too.

        Args:
            split: `train` (all shards that are there), `train_3`, `train_0-3` (these, none missing), or `test`.
            root: the data set's folder.
        """
        self.is_test = split == "test"
        self.shard_names = tuple(_shard_names(split, root))
        self._shards = [_open_shard(root / name) for name in self.shard_names]
        self._starts = np.cumsum([0, *(len(shard.names) for shard in self._shards)])
        self.names = Names(np.concatenate([shard.names.array for shard in self._shards]))

    def __getitem__(self, index: int) -> Sequence:
        """Read a video's annotation."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        index %= len(self)
        shard_index = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard, index_in_shard = self._shards[shard_index], index - int(self._starts[shard_index])
        name = shard.names[index_in_shard]
        boxes_xywh = read_boxes(shard.folder / "anno" / f"{name}.txt")
        num_rows = len(boxes_xywh)
        folder = shard.folder / "frames" / name
        num_on_disk = int(shard.num_frames[index_in_shard])
        if modified_ns(folder) != shard.modified_ns[index_in_shard]:
            num_on_disk = count_frames(folder)
        missing = None
        if self.is_test:  # annotated in its first frame only
            num_frames = max(num_rows, num_on_disk)
        else:
            num_frames = num_rows
            if num_on_disk < num_rows:
                present = set(list_names(folder))
                missing = np.array([f"{number}.jpg" not in present for number in range(num_rows)])
        return annotated(name, ImageFiles(NumberedFiles(folder, 0, num_frames, digits=1)), boxes_xywh, hidden=missing)


def _shard_names(split: str, root: TreePath) -> list[str]:
    """Return the folders of a split's shards, in the order of their numbers."""
    # The authors' download script writes Train_0, what it unpacks TRAIN_0.
    present = {name.upper(): name for name in sorted(list_names(root))}
    everything = [f"TRAIN_{number}" for number in range(NUM_SHARDS)]
    if split == "test":
        wanted = ["TEST"]
    elif split == "train":
        wanted = [name for name in everything if name in present] or everything
    else:
        assert re.fullmatch(MORE_SPLITS, split), split
        first, _, last = split.removeprefix("train_").partition("-")
        wanted = everything[int(first) : int(last or first) + 1]
        if not wanted or int(last or first) >= NUM_SHARDS:
            raise ValueError(f"TrackingNet has no split {split!r}: its shards run from 0 to {NUM_SHARDS - 1}")
    missing = [name for name in wanted if name not in present]
    if missing:
        raise FileNotFoundError(
            f"TrackingNet {split}: no {', '.join(missing)} in {root}; expected {_LAYOUT}{advice_to_unpack(root)}"
        )
    return [present[name] for name in wanted]


def _open_shard(folder: TreePath) -> _Shard:
    if not (folder / "anno").is_dir():
        raise FileNotFoundError(f"no folder anno in {folder}; expected {_LAYOUT}")
    times = modified_ns(folder / "anno"), modified_ns(folder / "frames")
    arrays = cached_arrays(f"trackingnet-{folder.name}", str(folder), times, lambda: _index(folder))
    num_without = int((arrays["num_frames"] == 0).sum())
    if num_without:
        advice = advice_to_unpack(folder / "zips")
        warnings.warn(
            f"{num_without} of {len(arrays['names'])} videos in {folder} have no frames{advice}", stacklevel=2
        )
    return _Shard(folder, Names(arrays["names"]), arrays["num_frames"], arrays["modified_ns"])


def _index(folder: TreePath) -> dict[str, np.ndarray]:
    """Count the frames of each video of a shard."""
    files = [name for name in list_names(folder / "anno") if name.endswith(".txt")]
    names = sorted(name.removesuffix(".txt") for name in files)
    if not names:
        raise FileNotFoundError(f"no annotation in {folder / 'anno'}; expected {_LAYOUT}")
    folders = [folder / "frames" / name for name in names]
    # The time is read before the files are counted: what changes in between is noticed later.
    times = [modified_ns(path) for path in folders]
    # Listing waits for the disk, a remote one above all, so several folders are asked for at once.
    with ThreadPoolExecutor(8) as pool:
        counts = pool.map(count_frames, folders)
        progress = tqdm(counts, f"indexing {folder.name}", total=len(names), unit="video", disable=None, leave=False)
        num_frames = list(progress)
    return {
        "names": Names(names).array,
        "num_frames": np.array(num_frames, dtype=np.int32),
        "modified_ns": np.array(times, dtype=np.int64),
    }


def count_frames(folder: TreePath) -> int:
    """Count a video's frames; other files, such as a viewer's thumbnails, are none."""
    return sum(name.endswith(".jpg") for name in list_names(folder))
