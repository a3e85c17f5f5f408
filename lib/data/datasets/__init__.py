"""The registry of data sets: one reader each, all splits, used by training and by evaluation alike."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lib.config.paths import dataset_root
from lib.config.text import suggest
from lib.data.crop_cache.cache import CropDataset, is_crop_cache
from lib.data.datasets.coco import COCO_SPLITS, CocoDataset
from lib.data.datasets.folder import open_folder
from lib.data.datasets.got10k import GOT10K_SPLITS, Got10kDataset
from lib.data.datasets.lasot import LASOT_EXT_SPLITS, LASOT_SPLITS, open_lasot, open_lasot_ext
from lib.data.datasets.nfs import NfSDataset
from lib.data.datasets.otb100 import OTB100Dataset
from lib.data.datasets.stills import StillsDataset
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.datasets.tnl2k import TNL2K_SPLITS, TNL2KDataset
from lib.data.datasets.trackingnet import (
    MORE_SPLITS,
    NUM_SHARDS,
    TRACKINGNET_SPLITS,
    VIDEOS_PER_SHARD,
    TrackingNetDataset,
)
from lib.data.datasets.uav123 import UAV123Dataset
from lib.data.images.jpeg import chosen_decoder
from lib.data.sequence import SequenceDataset
from lib.data.storage.tree import TreePath, open_tree


@dataclass(frozen=True)
class SplitSize:
    """What a complete split consists of; None where no reliable number is published.

    Of a set of photographs, a sequence is an object and a frame is a photograph.
    """

    sequences: int | None = None
    frames: int | None = None


@dataclass(frozen=True)
class DatasetEntry:
    """How to open one data set.

    Attributes:
        splits: the names of its splits.
        open: (split, root) -> data set; a data set that stores nothing ignores the root.
        stored: True when it needs a folder on disk.
        more_splits: regular expression of further splits, such as TrackingNet's `train_0-3`.
        sizes: of those splits that together are the whole data set; by default its first split.
    """

    splits: tuple[str, ...]
    open: Callable[[str, TreePath], SequenceDataset]
    stored: bool = True
    more_splits: str = ""
    sizes: dict[str, SplitSize] = field(default_factory=dict)

    def has_split(self, name: str) -> bool:
        """Return whether there is such a split."""
        return name in self.splits or bool(self.more_splits and re.fullmatch(self.more_splits, name))


# Where the sizes are from. Sequences: the papers named in the readers. Frames:
# - LaSOT, LaSOT_ext, GOT-10k, TrackingNet: counted in the downloads by github.com/kumatheworld/tracking-sanity. In
#   agreement with it are LaSOT's published test annotation, counted here, the totals that its papers round (3.52 M;
#   3.87 M with LaSOT_ext), and TrackingNet's exact one, 14,431,266.
# - UAV123: its paper. OTB100: its paper's 59,040 less the five frames of Tiger1 that toolkits leave out.
# - NfS: the frames that toolkits evaluate, of `splits/nfs.txt`; the authors' own 30 fps frames are a few more.
# - COCO: objects that are no crowd, counted in github.com/cocodataset/cocoapi/issues/117, in agreement with the web
#   site's 886,284 in both splits; photographs likewise, 123,287 in both.
# - TNL2K: its abstract states 1,244,340 frames in both splits, and no number for either.
DATASETS: dict[str, DatasetEntry] = {
    "synthetic": DatasetEntry(("train", "val", "test"), lambda split, root: SyntheticDataset(split), stored=False),
    "stills": DatasetEntry(("train", "val", "test"), lambda split, root: StillsDataset(root, split)),
    "folder": DatasetEntry(("train", "val", "test"), open_folder),
    "lasot": DatasetEntry(
        LASOT_SPLITS, open_lasot, sizes={"train": SplitSize(1120, 2_831_982), "test": SplitSize(280, 685_360)}
    ),
    "lasot_ext": DatasetEntry(LASOT_EXT_SPLITS, open_lasot_ext, sizes={"test": SplitSize(150, 359_169)}),
    "got10k": DatasetEntry(
        GOT10K_SPLITS,
        Got10kDataset,
        sizes={"train": SplitSize(9335, 1_403_359), "val": SplitSize(180, 21_007), "test": SplitSize(180, 22_834)},
    ),
    "trackingnet": DatasetEntry(
        TRACKINGNET_SPLITS,
        TrackingNetDataset,
        more_splits=MORE_SPLITS,
        sizes={"train": SplitSize(30_132, 14_205_677), "test": SplitSize(511, 225_589)},
    ),
    "coco": DatasetEntry(
        COCO_SPLITS, CocoDataset, sizes={"train": SplitSize(849_949, 118_287), "val": SplitSize(36_335, 5_000)}
    ),
    "uav123": DatasetEntry(("test",), lambda split, root: UAV123Dataset(root), sizes={"test": SplitSize(123, 112_578)}),
    "otb100": DatasetEntry(("test",), lambda split, root: OTB100Dataset(root), sizes={"test": SplitSize(100, 59_035)}),
    "nfs": DatasetEntry(("test",), lambda split, root: NfSDataset(root), sizes={"test": SplitSize(100, 47_953)}),
    "tnl2k": DatasetEntry(TNL2K_SPLITS, TNL2KDataset, sizes={"train": SplitSize(1300), "test": SplitSize(700)}),
}


def open_dataset(name: str, split: str, root: Path | None = None, paths_file: Path | None = None) -> SequenceDataset:
    """Open a split of a data set.

    Args:
        name: a key of `DATASETS`.
        split: one of its splits.
        root: its folder; by default the one that the environment or the paths file states.
        paths_file: instead of `experiments/paths.yaml`.
    """
    entry = find_entry(name, split)
    chosen_decoder()  # a wrong MMG_JPEG is not the pictures' fault
    if not entry.stored:
        if root is not None:
            raise ValueError(
                f"the data set {name} is drawn, nothing of it is stored, so a folder (--root {root}) means nothing to "
                "it; what prepare.py render has written is the data set `folder`"
            )
        return entry.open(split, Path())
    root = root or stated_root(name, paths_file)
    if root is None:
        raise FileNotFoundError(
            f"where is {name}? Write `{name}: DIR` into experiments/paths.yaml (copied from paths.example.yaml) or set "
            f"MMG_{name.upper()}=DIR; test.py and analyze.py also take --root DIR"
        )
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of {name}, {root}, {'is a file' if root.exists() else 'does not exist'}")
    tree = open_tree(root)
    return CropDataset(tree, split) if is_crop_cache(tree) else entry.open(split, tree)


def find_entry(name: str, split: str | None) -> DatasetEntry:
    """Return a data set's entry; ValueError, with a suggestion, where there is none or it has no such split."""
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}{suggest(name, DATASETS)}; known: {', '.join(DATASETS)}")
    entry = DATASETS[name]
    if split is not None and not entry.has_split(split):
        raise ValueError(
            f"data set {name} has no split {split!r}{suggest(split, entry.splits)}; it has {', '.join(entry.splits)}"
        )
    return entry


def published_size(name: str, split: str, dataset: SequenceDataset) -> SplitSize:
    """Return what a complete split consists of; some of TrackingNet's shards are complete by themselves."""
    sizes = DATASETS[name].sizes
    size = sizes.get(split, SplitSize())
    if isinstance(dataset, TrackingNetDataset) and not dataset.is_test:
        num_shards = len(dataset.shard_names)
        return sizes["train"] if num_shards == NUM_SHARDS else SplitSize(num_shards * VIDEOS_PER_SHARD)
    if isinstance(dataset, NfSDataset) and dataset.as_published:
        return SplitSize(size.sequences)
    if isinstance(dataset, CropDataset):
        # It is as complete as what it was cut from: a part of TrackingNet, or photographs without those of no object.
        return SplitSize(
            None if name == "trackingnet" else size.sequences, None if dataset.images_only else size.frames
        )
    return size


def stated_root(name: str, paths_file: Path | None = None) -> Path | None:
    """Return the folder that the environment or the paths file states for a data set; errors as in `dataset_root`."""
    return dataset_root(name, [key for key, entry in DATASETS.items() if entry.stored], paths_file)
