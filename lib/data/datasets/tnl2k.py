"""TNL2K: 1,300 training and 700 test sequences, described in words too.

Source: Wang et al., "Towards More Flexible and Accurate Object Tracking with Natural Language", CVPR 2021.
"""

from lib.data.datasets.annotation import annotated, has_area, read_boxes
from lib.data.datasets.listing import advice_to_unpack, list_names, list_pictures
from lib.data.images.frames import ImageFiles, NumberedFiles
from lib.data.sequence import Names, Sequence, SequenceDataset
from lib.data.storage.tree import TreePath

TNL2K_SPLITS = ("train", "test")

_LAYOUT = "TNL2K_{train,test}_subset/<sequence>/{imgs/*.jpg or *.png, groundtruth.txt}, or {train,test}/<sequence>/..."


class TNL2KDataset(SequenceDataset):
    """The sequences of a split; a box of zeros is a frame without the target.

    The training download comes in parts (`TNL2K_train_subset_p1`, ...), which may lie in a folder of their own; all
    that are there are read.
    """

    def __init__(self, split: str, root: TreePath) -> None:
        """List the sequences, a folder each."""
        self._root = root
        parts = [name for name in sorted(list_names(root)) if _is_part(name, split)]
        # The set has no published list: what is a folder with boxes is a sequence.
        paths = sorted(path for part in parts for path in _list_sequences(root / part, part, split))
        if not paths:
            raise FileNotFoundError(
                f"no sequence of TNL2K {split} found in {root}; expected {_LAYOUT}{advice_to_unpack(root)}"
            )
        self._paths = Names(paths)
        self.names = Names(path.rpartition("/")[2] for path in paths)

    def __getitem__(self, index: int) -> Sequence:
        """Read a sequence's boxes and list its frames; ValueError where there are not as many rows as frames."""
        folder = self._root / self._paths[index]
        boxes_xywh = read_boxes(folder / "groundtruth.txt")
        pictures = list_pictures(folder / "imgs")
        if pictures and len(pictures) != len(boxes_xywh):
            raise ValueError(
                f"{folder / 'groundtruth.txt'} has {len(boxes_xywh)} rows, but there are {len(pictures)} frames in "
                f"{folder / 'imgs'}; the authors have revised the boxes of some training videos: see "
                "revised_annotations in their TNL2K_evaluation_toolkit"
            )
        # Without frames at hand the annotation alone can still be analysed.
        files = pictures or NumberedFiles(folder / "imgs", 1, len(boxes_xywh), digits=5)
        return annotated(self.names[index], ImageFiles(files), boxes_xywh, absent=~has_area(boxes_xywh))


def _is_part(name: str, split: str) -> bool:
    """Tell whether a folder holds sequences of a split, or parts of it."""
    return name.lower() in {split, f"{split}_data"} or name.lower().startswith(f"tnl2k_{split}_subset")


def _list_sequences(folder: TreePath, path: str, split: str) -> list[str]:
    """Return the paths of a part's sequences below the root, those of parts within it too."""
    found = []
    for name in list_names(folder):
        if (folder / name / "groundtruth.txt").is_file():
            found.append(f"{path}/{name}")
        elif _is_part(name, split):
            found += _list_sequences(folder / name, f"{path}/{name}", split)
    return found
