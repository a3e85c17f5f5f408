"""Masks for trackers that give boxes: a frame and a box in, a mask out. `MASK_BACKENDS` names what can be run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lib.config.suggest import suggest
from lib.data.stretched_window import StretchedWindow
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


class RefineModel(Protocol):
    """What `AlphaRefine` asks of a network; `lib.models.refine.AlphaRefineNet` is one."""

    def describe(self, reference: Tensor, crop_box_xyxy: Tensor) -> Tensor:
        """Pool the target of (B, 3, S, S) uint8 crops."""
        ...

    def predict(self, kernel: Tensor, search: Tensor) -> Tensor:
        """Return (B, S, S) probabilities of the target in (B, 3, S, S) uint8 crops."""
        ...


class AlphaRefine:
    """Masks by Alpha-Refine: the target is described once, on the first frame; each box is then refined on its own.

    Args:
        model: in evaluation mode, on `device`.
        size: side of both crops in pixels, as in training.
        factor: crop side / box side, as in training.
        threshold: least probability of a pixel of the mask.
        device: where the crops are sent.
    """

    def __init__(
        self, model: RefineModel, *, size: int, factor: float, threshold: float, device: torch.device | None = None
    ) -> None:
        self._model = model
        self._size = size
        self._factor = factor
        self._threshold = threshold
        self._device = device or torch.device("cpu")

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Describe the target; the mask is not used."""
        box_xywh = checked_box(image, box_xywh)
        window = StretchedWindow.around(box_xywh, self._factor, self._size)
        crop_box_xyxy = torch.from_numpy(window.to_crop(box_xywh)).float().unsqueeze(0).to(self._device)
        self._kernel = self._model.describe(self._to_tensor(window.cut(image)), crop_box_xyxy)

    def segment(self, image: np.ndarray, box_xywh: np.ndarray) -> np.ndarray:
        """Find the target's pixels in a crop around the box; nothing outside the crop can be part of the mask."""
        window = StretchedWindow.around(box_xywh, self._factor, self._size)
        probability = self._model.predict(self._kernel, self._to_tensor(window.cut(image)))
        crop = probability[0].float().cpu().numpy()
        return window.paste(crop, image.shape[0], image.shape[1]) >= self._threshold

    def _to_tensor(self, crop: np.ndarray) -> Tensor:
        return torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0).to(self._device)


@dataclass(frozen=True)
class MaskSpec:
    """What a mask backend is built from; small and picklable, so that every worker process builds its own.

    Attributes:
        name: a key of `MASK_BACKENDS`.
        checkpoint: file of weights, for backends that are trained.
        device: auto, cpu, cuda or cuda:N.
    """

    name: str
    checkpoint: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown name, weights that are missing, or weights for a backend without."""
        if self.name not in MASK_BACKENDS:
            raise ValueError(f"unknown mask backend {self.name!r}{suggest(self.name, MASK_BACKENDS)}; known: "
                             f"{', '.join(MASK_BACKENDS)}")  # fmt: skip
        if self.name == "box" and self.checkpoint is not None:
            raise ValueError("the mask backend box has no weights: leave out the checkpoint")

    def build(self) -> MaskBackend:
        """Make the backend.

        Raises:
            FileNotFoundError, ValueError: the weights are missing or do not fit.
        """
        return MASK_BACKENDS[self.name](self)


def build_mask_backend(name: str, checkpoint: Path | None = None, device: str = "auto") -> MaskBackend:
    """Build a mask backend by name; see `MaskSpec`."""
    return MaskSpec(name, checkpoint, device).build()


def box_to_mask(box_xywh: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return (height, width) bool, True where a pixel's centre lies in the box.

    Raises:
        ValueError: the box is not finite.
    """
    box = np.asarray(box_xywh, dtype=np.float64).reshape(-1)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"the box {box.tolist()} must be four finite numbers: x, y, width, height")
    # Pixel i has its centre at i + 0.5.
    near = np.ceil(box[:2] - 0.5).clip(0, (width, height)).astype(int)
    far = np.ceil(box[:2] + box[2:] - 0.5).clip(0, (width, height)).astype(int)
    mask = np.zeros((height, width), dtype=bool)
    mask[near[1] : far[1], near[0] : far[0]] = True
    return mask


def _not_there(spec: MaskSpec) -> MaskBackend:
    raise ValueError("alpha_refine cannot be built yet")


MASK_BACKENDS: dict[str, Callable[[MaskSpec], MaskBackend]] = {
    "box": lambda spec: BoxMask(),
    "alpha_refine": _not_there,
}
