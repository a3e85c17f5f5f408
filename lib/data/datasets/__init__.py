"""The registry of data sets: one reader each, all splits, used by training and by evaluation alike."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.config.paths import dataset_root
from lib.config.suggest import suggest
from lib.data.datasets.folder import FolderDataset
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.sequence import SequenceDataset


@dataclass(frozen=True)
class DatasetEntry:
    """How to open one data set.

    Attributes:
        splits: the names of its splits.
        open: (split, root) -> data set; a data set that stores nothing ignores the root.
        stored: True when it needs a folder on disk.
    """

    splits: tuple[str, ...]
    open: Callable[[str, Path], SequenceDataset]
    stored: bool = True


DATASETS: dict[str, DatasetEntry] = {
    "synthetic": DatasetEntry(("train", "val", "test"), lambda split, root: SyntheticDataset(split), stored=False),
    "folder": DatasetEntry(("train", "test"), lambda split, root: FolderDataset(root)),
}


def open_dataset(name: str, split: str, root: Path | None = None, paths_file: Path | None = None) -> SequenceDataset:
    """Open a split of a data set.

    Args:
        name: a key of `DATASETS`.
        split: one of its splits.
        root: its folder; by default the one that the environment or the paths file states.
        paths_file: instead of `experiments/paths.yaml`.

    Raises:
        ValueError: unknown data set or split.
        FileNotFoundError: its folder is not stated anywhere or does not exist.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}{suggest(name, DATASETS)}; known: {', '.join(DATASETS)}")
    entry = DATASETS[name]
    if split not in entry.splits:
        raise ValueError(
            f"data set {name} has no split {split!r}{suggest(split, entry.splits)}; it has {', '.join(entry.splits)}"
        )
    if not entry.stored:
        return entry.open(split, Path())
    root = root or dataset_root(name, [key for key, other in DATASETS.items() if other.stored], paths_file)
    if root is None:
        raise FileNotFoundError(
            f"where is {name}? Give --root DIR, set MMG_{name.upper()}, or write `{name}: DIR` into experiments/paths.yaml"
        )
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of {name}, {root}, does not exist")
    return entry.open(split, root)
