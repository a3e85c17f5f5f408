"""A scene as the record of an annotated video: every frame labelled, pictures drawn when asked for."""

from collections.abc import Sequence as Indexed
from dataclasses import dataclass

import numpy as np

from lib.data.sequence import Sequence
from lib.data.synthetic.scene import Scene


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
class SceneFrames:
    """The pictures of a scene, drawn one at a time."""

    scene: Scene

    def __len__(self) -> int:
        return self.scene.num_frames

    def __getitem__(self, index: int) -> np.ndarray:
        return self.scene.render(_checked(index, len(self))).image


@dataclass(frozen=True)
class SceneMasks:
    """The masks of a scene's target, True on its seen pixels."""

    scene: Scene

    def __len__(self) -> int:
        return self.scene.num_frames

    def __getitem__(self, index: int) -> np.ndarray:
        return self.scene.label(_checked(index, len(self))).mask


class SceneNames(Indexed[str]):
    """`<split>-<index>`, made when asked for: a training set may have millions."""

    def __init__(self, split: str, count: int) -> None:
        self._split = split
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"{self._split}-{_checked(index, self._count):04d}"


def _checked(index: int, length: int) -> int:
    if not -length <= index < length:
        raise IndexError(f"frame {index} of {length}")
    return index % length
