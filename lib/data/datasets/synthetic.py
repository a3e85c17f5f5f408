"""The embedded data set: drawn video, nothing stored."""

from lib.data.synthetic import Scene, SceneStyle
from lib.data.synthetic.record import SPLITS, SceneDataset


class SyntheticDataset(SceneDataset):
    """Sequences drawn from seeds; sequence i of a split is the same for everybody."""

    def __init__(
        self, split: str, num_sequences: int | None = None, num_frames: int = 100, style: SceneStyle | None = None
    ) -> None:
        """Describe the set as `SceneDataset` does; of the default style when None."""
        super().__init__("synthetic", split, num_sequences, num_frames, SceneStyle() if style is None else style)

    def seed(self, index: int) -> tuple[int, int]:
        """Return the seed of a sequence: the split's number, the index; so no two splits share one."""
        return SPLITS[self._split], index

    def _open(self, index: int, style: SceneStyle) -> Scene:
        return Scene.from_seed(self.seed(index), style, self._num_frames)
