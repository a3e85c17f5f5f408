"""Alpha-Refine at work: crops, the network, and the mask's way back to the frame; and its making from a checkpoint."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.config.load import refine_from_dict
from lib.data.crop import StretchedWindow
from lib.models.pretrained import load_model_state, read_own_or_published
from lib.models.refine.network import AlphaRefineNet, build_refine_model
from lib.models.refine.published import (
    PUBLISHED_FACTOR,
    PUBLISHED_SIZE,
    PUBLISHED_THRESHOLD,
    is_published,
    load_published,
)
from lib.tracker.base import checked_box
from lib.tracker.build import choose_device


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
        self, model: AlphaRefineNet, *, size: int, factor: float, threshold: float, device: torch.device | None = None
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


def build_alpha_refine(checkpoint: Path, device: str, threshold: float | None) -> AlphaRefine:
    """Build the mask backend that a checkpoint describes: one of `tracking/train.py`, or the published file.

    Args:
        checkpoint: file.
        device: auto, cpu, cuda or cuda:N.
        threshold: instead of the checkpoint's own.
    """
    torch_device = choose_device(device)
    trained = _read_network(checkpoint)
    network, least = trained.network.to(torch_device).eval(), trained.threshold if threshold is None else threshold
    return AlphaRefine(network, size=network.size, factor=trained.factor, threshold=least, device=torch_device)


def name_of_weights(checkpoint: Path) -> str:
    """Return the name of the experiment that a checkpoint is of, or `alpha_refine` for the published file."""
    return _read_network(checkpoint).name


class _Trained(NamedTuple):
    """A trained network and what it was trained for."""

    name: str
    network: AlphaRefineNet
    factor: float
    threshold: float


def _read_network(checkpoint: Path) -> _Trained:
    content = read_own_or_published(checkpoint, is_published)
    if is_published(content):
        network = AlphaRefineNet(size=PUBLISHED_SIZE)
        load_published(network, content["net"], str(checkpoint))
        return _Trained("alpha_refine", network, PUBLISHED_FACTOR, PUBLISHED_THRESHOLD)
    # The running average of the weights, where training kept one (train.ema_decay).
    stored, state = content.get("config"), content.get("average", content.get("model"))
    if not isinstance(stored, dict) or not isinstance(state, dict):
        held = ", ".join(sorted(map(str, content))[:6]) or "nothing"
        raise ValueError(f"{checkpoint} is neither a checkpoint of tracking/train.py nor the published Alpha-Refine: "
                         f"it holds {held}")  # fmt: skip
    experiment = refine_from_dict(stored, str(checkpoint))
    network = build_refine_model(experiment, pretrained=False)
    load_model_state(network, state, source=str(checkpoint))
    return _Trained(experiment.name, network, experiment.crop.factor, experiment.track.threshold)
