"""Masks for trackers that give boxes: a frame and a box in, a mask out. `MASK_BACKENDS` names what can be run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lib.config.text import suggest
from lib.data.crop import box_to_mask
from lib.tracker.alpha_refine import build_alpha_refine, name_of_weights
from lib.tracker.base import checked_box


class MaskBackend(Protocol):
    """One live target in one video. `initialize` may be called again to start on another video."""

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Learn the target from the first frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            box_xywh: (4,) in pixels of the frame.
            mask: (H, W) bool where the true one is known; a backend may do without.

        Raises:
            ValueError: the box has no area inside the frame.
        """
        ...

    def segment(self, image: np.ndarray, box_xywh: np.ndarray) -> np.ndarray:
        """Return the target's mask, (H, W) bool, in the next frame, given where a tracker believes it to be.

        Raises:
            ValueError: the box is not finite or has no area.
        """
        ...


class BoxMask:
    """The plain box as mask: what a box tracker gives without any segmentation."""

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Check the box; nothing is remembered."""
        checked_box(image, box_xywh)

    def segment(self, image: np.ndarray, box_xywh: np.ndarray) -> np.ndarray:
        """Fill the box: True where a pixel's centre lies in it."""
        return box_to_mask(box_xywh, image.shape[0], image.shape[1])


@dataclass(frozen=True)
class MaskSpec:
    """What a mask backend is built from; small and picklable, so that every worker process builds its own.

    Attributes:
        name: a key of `MASK_BACKENDS`.
        checkpoint: file of weights, for backends that are trained.
        device: auto, cpu, cuda or cuda:N.
        threshold: least probability of a pixel of the mask; None for what the weights come with.
    """

    name: str
    checkpoint: Path | None = None
    device: str = "auto"
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown name, weights not named, or weights for a backend without."""
        if self.name not in MASK_BACKENDS:
            raise ValueError(f"unknown mask backend {self.name!r}{suggest(self.name, MASK_BACKENDS)}; known: "
                             f"{', '.join(MASK_BACKENDS)}")  # fmt: skip
        if self.trained and self.checkpoint is None:
            raise ValueError(f"the mask backend {self.name} needs weights: --refine-checkpoint FILE, such as "
                             "runs/refine_tiny/latest.pth; or see pretrained_models/README.md")  # fmt: skip
        if not self.trained and (self.checkpoint is not None or self.threshold is not None):
            raise ValueError(f"the mask backend {self.name} is not trained: leave out --refine-checkpoint and "
                             "--mask-threshold")  # fmt: skip
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"--mask-threshold {self.threshold} is a probability: it must be in [0, 1]")

    @property
    def trained(self) -> bool:
        """True for a backend with weights."""
        return self.name == "alpha_refine"

    @classmethod
    def from_options(
        cls, name: str | None, checkpoint: Path | None, device: str, threshold: float | None
    ) -> "MaskSpec | None":
        """Return what the options --masks, --refine-checkpoint and --mask-threshold ask for, or None without --masks.

        Raises:
            ValueError: as the class, and for the latter two without --masks.
        """
        if name is not None:
            return cls(name, checkpoint, device, threshold)
        if checkpoint is not None or threshold is not None:
            raise ValueError(
                "--refine-checkpoint and --mask-threshold say how masks are made: give --masks alpha_refine"
            )
        return None

    @property
    def label(self) -> str:
        """What the masks are called in folders and tables: the backend, or the experiment that its weights are of."""
        return self.name if self.checkpoint is None else name_of_weights(self.checkpoint)

    def build(self) -> MaskBackend:
        """Make the backend."""
        return MASK_BACKENDS[self.name](self.checkpoint, self.device, self.threshold)


MASK_BACKENDS: dict[str, Callable[[Any, str, float | None], MaskBackend]] = {
    "box": lambda checkpoint, device, threshold: BoxMask(),
    "alpha_refine": build_alpha_refine,
}
