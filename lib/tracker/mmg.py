"""The tracker: a search region around the last box, one pass of the network, a box in the frame."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lib.data.crop import CropWindow
from lib.models.mmg import TrackOutput
from lib.tracker.base import Prediction, checked_box
from lib.tracker.template_update import TemplateUpdate


class TrackingModel(Protocol):
    """What the tracker asks of a network; `lib.models.mmg.MMG` is one."""

    @property
    def score(self) -> object | None:
        """The score module, or None when the network gives no scores."""
        ...

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        """Locate the target in (1, 3, S, S) uint8 crops."""
        ...


class MMGTracker:
    """Follows one target. Holds the last box and the two templates; everything else is the model's.

    Args:
        model: in evaluation mode, on `device`.
        template_size, template_factor, search_size, search_factor: as in training; sides in pixels, and crop side /
            sqrt(target area).
        update: decides when the online template is replaced; this tracker's own.
        online_template: False for a model of two images, template and search.
        clip_margin: pixels of a box that stay inside the frame, which makes it the smallest side of a box, too.
        device: where the crops are sent.

    Raises:
        ValueError: the update needs what the model does not have.
    """

    def __init__(
        self,
        model: TrackingModel,
        *,
        template_size: int,
        template_factor: float,
        search_size: int,
        search_factor: float,
        update: TemplateUpdate,
        online_template: bool = True,
        clip_margin: float = 10.0,
        device: torch.device | None = None,
    ) -> None:
        if update.mode == "score" and model.score is None:
            raise ValueError("the template update 'score' needs a model with a score module: set track.update to "
                             "'fixed' or 'none', or use a model that has one")  # fmt: skip
        if update.mode != "none" and not online_template:
            raise ValueError(f"the template update {update.mode!r} needs a model with an online template: set "
                             "track.update to 'none'")  # fmt: skip
        self._model = model
        self._template_size = template_size
        self._template_factor = template_factor
        self._search_size = search_size
        self._search_factor = search_factor
        self._update = update
        self._has_online_template = online_template
        self._clip_margin = clip_margin
        self._device = device or torch.device("cpu")

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        """Cut the template; the online template starts as the same crop. Raise ValueError for a box outside."""
        self._box_xywh = checked_box(image, box_xywh)
        self._template = self._to_tensor(self._cut_template(image))
        self._online_template = self._template if self._has_online_template else None
        self._update.reset()

    def track(self, image: np.ndarray) -> Prediction:
        """Locate the target in the next frame, and renew the online template when its time has come."""
        window = CropWindow.around(self._box_xywh, self._search_factor, self._search_size)
        output = self._model.track(self._template, self._to_tensor(window.cut(image)), self._online_template)
        crop_box_xyxy = output.crop_boxes_xyxy[0].double().cpu().numpy()
        score = float("nan") if output.scores is None else float(output.scores[0])

        finite = bool(np.isfinite(crop_box_xyxy).all())
        if finite:
            height, width = image.shape[:2]
            self._box_xywh = clip_to_frame(window.to_image(crop_box_xyxy), height, width, self._clip_margin)
        new_template = self._update.offer(score, (lambda: self._cut_template(image)) if finite else None)
        if new_template is not None:
            self._online_template = self._to_tensor(new_template)
        return Prediction(self._box_xywh.copy(), score, finite)

    def _cut_template(self, image: np.ndarray) -> np.ndarray:
        return CropWindow.around(self._box_xywh, self._template_factor, self._template_size).cut(image)

    def _to_tensor(self, crop: np.ndarray) -> Tensor:
        return torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0).to(self._device)


def clip_to_frame(box_xywh: np.ndarray, height: int, width: int, margin: float) -> np.ndarray:
    """Cut a finite box to the frame so that at least `margin` pixels stay inside, and no side is shorter than that.

    The margin is taken as 1 where it is less, for a box without area could not be followed, and as the frame's own
    side where that is less.

    Returns:
        (4,) left, top, width, height.
    """
    assert np.isfinite(box_xywh).all(), "a nan would come out as a box in the frame's corner"
    frame = np.array([width, height], dtype=np.float64)
    least = np.minimum(max(margin, 1.0), frame)
    near = np.clip(box_xywh[:2], 0, frame - least)
    far = np.clip(box_xywh[:2] + box_xywh[2:], least, frame)
    return np.concatenate((near, np.maximum(far - near, least)))
