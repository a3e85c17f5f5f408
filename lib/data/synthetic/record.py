"""Scenes as a data set: each the record of an annotated video, every frame labelled, pictures drawn when asked for."""

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from lib.data.crop import CropWindow
from lib.data.sequence import Frames, MadeNames, Sequence, SequenceDataset
from lib.data.synthetic.scene import Scene
from lib.data.synthetic.style import SceneStyle

SPLITS = {"train": 0, "val": 1, "test": 2}
# A training set without end, for all practical purposes; a short test.
_NUM_SEQUENCES = {"train": 1_000_000, "val": 20, "test": 40}


class SceneDataset(SequenceDataset):
    """A data set that computes its videos; a training sample draws three frames and no more."""

    def __init__(self, title: str, split: str, num_sequences: int | None, num_frames: int, style: SceneStyle) -> None:
        """Describe the set; nothing is drawn yet.

        Args:
            title: its name, for errors.
            split: "train", "val" or "test".
            num_sequences: how many sequences the set holds; a million, 20 and 40 by default.
            num_frames: length of each of them.
            style: how hard and varied they are.
        """
        if split not in SPLITS:
            raise ValueError(f"the {title} data set has no split {split!r}; choose one of {', '.join(SPLITS)}")
        count = _NUM_SEQUENCES[split] if num_sequences is None else num_sequences
        if count < 1 or num_frames < 1:
            raise ValueError(
                f"the {title} data set needs at least one sequence and frame, not {count} and {num_frames}"
            )
        self._split = split
        self._num_frames = num_frames
        self._style = style
        self.names = MadeNames(count, self._name)

    def __getitem__(self, index: int) -> Sequence:
        """Label every frame of a sequence; pictures are drawn when asked for."""
        return record_scene(self.scene(index), self.names[index])

    def scene(self, index: int, difficulty: float = 1.0) -> Scene:
        """Return sequence `index` undrawn: the fast way to a few frames and their labels.

        Args:
            index: of the sequence.
            difficulty: share in [0, 1] of the style's own difficulty; another difficulty is another video.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        style = replace(self._style, difficulty=self._style.difficulty * difficulty) if difficulty < 1 else self._style
        return self._open(index, style)

    def _name(self, index: int) -> str:
        return f"{self._split}-{index:04d}"

    @abstractmethod
    def _open(self, index: int, style: SceneStyle) -> Scene:
        """Return sequence `index` in a style."""


def record_scene(scene: Scene, name: str) -> Sequence:
    """Label every frame of a scene; `labels["visibility"]` is the seen share of the target."""
    labels = [scene.label(time) for time in range(scene.num_frames)]
    visibility = np.array([label.visibility for label in labels])
    return Sequence(
        name=name,
        frames=SceneFrames(scene),
        boxes_xywh=np.stack([label.box_xywh for label in labels]),
        visible=np.array([label.visible for label in labels]),
        absent=visibility == 0,
        masks=SceneMasks(scene),
        labels={"visibility": visibility},
    )


@dataclass(frozen=True)
class SceneFrames(Frames):
    """The pictures of a scene, drawn one at a time, and no more of one than a crop needs."""

    scene: Scene

    def __len__(self) -> int:
        return self.scene.num_frames

    def __getitem__(self, index: int) -> np.ndarray:
        return self.scene.render(_checked(index, len(self))).image

    def cut(self, index: int, window: CropWindow) -> np.ndarray | None:
        if window.covers_frame_share(*self.scene.frame_size) == 0:
            return None
        part = window.needed().inside(*self.scene.frame_size)
        return window.relative_to(part.left, part.top).cut_rgb(self.scene.draw(index, part))


@dataclass(frozen=True)
class SceneMasks(Frames):
    """The masks of a scene's target, True on its seen pixels."""

    scene: Scene

    def __len__(self) -> int:
        return self.scene.num_frames

    def __getitem__(self, index: int) -> np.ndarray:
        return self.scene.label(_checked(index, len(self))).mask


def _checked(index: int, length: int) -> int:
    if not -length <= index < length:
        raise IndexError(f"frame {index} of {length}")
    return index % length
