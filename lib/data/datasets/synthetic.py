"""The embedded data set: drawn video, nothing stored."""

from collections.abc import Sequence as Indexed
from dataclasses import replace

from lib.data.sequence import Sequence
from lib.data.synthetic import Scene, SceneStyle
from lib.data.synthetic.record import SceneNames, record_scene

SPLITS = {"train": 0, "val": 1, "test": 2}
# A training set without end, for all practical purposes; a short test.
_NUM_SEQUENCES = {"train": 1_000_000, "val": 20, "test": 40}


class SyntheticDataset:
    """Sequences drawn from seeds; sequence i of a split is the same for everybody.

    The seed of a sequence is the pair (split, index), so no two splits share one.
    """

    images_only = False

    def __init__(
        self,
        split: str,
        num_sequences: int | None = None,
        num_frames: int = 100,
        style: SceneStyle | None = None,
    ) -> None:
        """Describe the set; nothing is drawn yet.

        Args:
            split: "train", "val" or "test".
            num_sequences: how many sequences the set holds; a million, 20 and 40 by default.
            num_frames: length of each of them.
            style: how hard and varied they are; the default style when None.
        """
        if split not in SPLITS:
            raise ValueError(f"the synthetic data set has no split {split!r}; choose one of {', '.join(SPLITS)}")
        if num_sequences is None:
            num_sequences = _NUM_SEQUENCES[split]
        if num_sequences < 1 or num_frames < 1:
            raise ValueError(
                f"the synthetic data set needs at least one sequence and frame, not {num_sequences} and {num_frames}"
            )
        self._split = split
        self._num_frames = num_frames
        self._style = SceneStyle() if style is None else style
        self.names: Indexed[str] = SceneNames(split, num_sequences)

    def __len__(self) -> int:
        return len(self.names)

    def seed(self, index: int) -> tuple[int, int]:
        """Return the seed of a sequence: the split's number, the index."""
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        return SPLITS[self._split], index

    def scene(self, index: int, difficulty: float = 1.0) -> Scene:
        """Return sequence `index` undrawn: the fast way to a few frames and their labels.

        Args:
            index: of the sequence.
            difficulty: share in [0, 1] of the style's own difficulty; another difficulty is another video.
        """
        style = replace(self._style, difficulty=self._style.difficulty * difficulty) if difficulty < 1 else self._style
        return Scene.from_seed(self.seed(index), style, self._num_frames)

    def __getitem__(self, index: int) -> Sequence:
        """Label every frame of a sequence; pictures are drawn when asked for."""
        return record_scene(self.scene(index), self.names[index])
