"""The tracker: a search region around the last box, one pass of the network, a box in the frame."""

import copy
import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence as Indexed
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from lib.data.crop import AveragedWindow, CropWindow, WholePixelWindow
from lib.models.mmg import TrackOutput
from lib.tracker.base import LOST_AFTER, Prediction, checked_box
from lib.tracker.template_update import TemplateUpdate


class TrackingModel(Protocol):
    """What the tracker asks of a network; `lib.models.mmg.MMG` is one."""

    @property
    def score(self) -> object | None:
        """The score module, or None when the network gives no scores."""
        ...

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        """Locate the targets in (B, 3, S, S) uint8 crops."""
        ...


@dataclass(frozen=True)
class TargetCrops:
    """How crops are cut around a target, as in training, and its boxes to the frame.

    Attributes:
        template_size, search_size: sides in pixels.
        template_factor, search_factor: crop side / sqrt(target area).
        clip_margin: pixels of a box that stay inside the frame, which makes it the smallest side of a box, too.
        size_smoothing: share of a predicted change of size that is followed; see `smooth_size`.
        whole_pixels, averaged_pixels: cut crops as `WholePixelWindow` or `AveragedWindow` does.
    """

    template_size: int
    template_factor: float
    search_size: int
    search_factor: float
    clip_margin: float = 10.0
    size_smoothing: float = 1.0
    whole_pixels: bool = False
    averaged_pixels: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "TargetCrops":
        """Take what it needs from settings by name."""
        return cls(**{item.name: settings[item.name] for item in dataclasses.fields(cls)})

    @property
    def window(self) -> type[CropWindow]:
        """What cuts them."""
        return WholePixelWindow if self.whole_pixels else AveragedWindow if self.averaged_pixels else CropWindow


class Located(NamedTuple):
    """What the network says of one search crop.

    Attributes:
        crop_box_xyxy: (4,) float64.
        score: in [0, 1], or nan for a network that gives none.
    """

    crop_box_xyxy: np.ndarray
    score: float


class Target:
    """One followed target: its last box and its two templates.

    Whoever runs the network asks `prepare` for the crop to search in, and hands what the network found in it to
    `accept`, frame by frame.

    Args:
        image: (H, W, 3) uint8 RGB, the first frame.
        box_xywh: (4,) in it.
        crops: how they are cut.
        update: decides when the online template is replaced; this target's own.

    Attributes:
        template: (S, S, 3) uint8 crop of the first frame.
        online_template: the same crop at first; always another array when it is replaced.
    """

    def __init__(self, image: np.ndarray, box_xywh: np.ndarray, crops: TargetCrops, update: TemplateUpdate) -> None:
        self._crops = crops
        self._update = update
        self._box_xywh = checked_box(image, box_xywh)
        self._frames_in_doubt = 0
        self.template = self.online_template = self._cut_template(image)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Return the (S, S, 3) uint8 search crop of the next frame."""
        self._window = self._crops.window.around(self._box_xywh, self._crops.search_factor, self._crops.search_size)
        return self._window.cut(image)

    def accept(self, image: np.ndarray, located: Located) -> Prediction:
        """Take what was found in the frame last prepared; renew the online template when its time has come."""
        finite = bool(np.isfinite(located.crop_box_xyxy).all())
        if finite:
            height, width = image.shape[:2]
            box_xywh = self._window.to_image(located.crop_box_xyxy)
            if self._crops.size_smoothing < 1:
                box_xywh = smooth_size(self._box_xywh, box_xywh, self._crops.size_smoothing)
            self._box_xywh = clip_to_frame(box_xywh, height, width, self._crops.clip_margin)
        wanted = finite and self._update.wants(located.score)
        new_template = self._update.offer(located.score, self._cut_template(image) if wanted else None)
        if new_template is not None:
            self.online_template = new_template
        in_doubt = located.score < self._update.threshold  # never for nan, of a network without scores
        self._frames_in_doubt = self._frames_in_doubt + 1 if in_doubt else 0
        return Prediction(self._box_xywh.copy(), located.score, finite, self._frames_in_doubt >= LOST_AFTER)

    def _cut_template(self, image: np.ndarray) -> np.ndarray:
        crops = self._crops
        return crops.window.around(self._box_xywh, crops.template_factor, crops.template_size).cut(image)


class MMGTracker:
    """Follows one target. What it knows of the target is in a `Target`; everything else is the model's.

    Args:
        model: in evaluation mode, on `device`.
        crops: how they are cut.
        update: decides when the online template is replaced; every target gets one like it.
        online_template: False for a model of two images, template and search.
        device: where the crops are sent.

    Raises:
        ValueError: the update needs what the model does not have.
    """

    def __init__(
        self,
        model: TrackingModel,
        crops: TargetCrops,
        update: TemplateUpdate,
        *,
        online_template: bool = True,
        device: torch.device | None = None,
    ) -> None:
        if update.mode == "score" and model.score is None:
            raise ValueError("the template update 'score' needs a model with a score module: set track.update to "
                             "'fixed' or 'none', or use a model that has one")  # fmt: skip
        if update.mode != "none" and not online_template:
            raise ValueError(f"the template update {update.mode!r} needs a model with an online template: set "
                             "track.update to 'none'")  # fmt: skip
        self._model = model
        self._crops = crops
        self._update = update
        self.device = device or torch.device("cpu")
        self._templates = _StackedCrops(self.device)
        self._online_templates = _StackedCrops(self.device) if online_template else None

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        """Cut the template; the online template starts as the same crop. Raise ValueError for a box outside."""
        self._target = self.start(image, box_xywh)

    def track(self, image: np.ndarray) -> Prediction:
        """Locate the target in the next frame, and renew the online template when its time has come."""
        (located,) = self.locate([self._target], [self._target.prepare(image)])
        return self._target.accept(image, located)

    def start(self, image: np.ndarray, box_xywh: np.ndarray) -> Target:
        """Return a target to be driven from outside, with others, by `locate`. Raise ValueError for a box outside."""
        update = copy.copy(self._update)
        update.reset()
        return Target(image, box_xywh, self._crops, update)

    def locate(self, targets: Indexed[Target], search_crops: Indexed[np.ndarray]) -> list[Located]:
        """Run the network once on the search crops that the targets have prepared, one for each."""
        template = self._templates.tensor([target.template for target in targets])
        online_template = None
        if self._online_templates is not None:
            online_template = self._online_templates.tensor([target.online_template for target in targets])
        output = self._model.track(template, to_batch(search_crops, self.device), online_template)
        crop_boxes_xyxy, scores = output.to_host()
        return [Located(box, float(score)) for box, score in zip(crop_boxes_xyxy, scores, strict=True)]


class _StackedCrops:
    """Crops of many targets as one tensor, which is the same tensor as long as the crops are the same arrays.

    That is how a network sees that what it has computed of the templates still holds.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._crops: list[np.ndarray] = []

    def tensor(self, crops: list[np.ndarray]) -> Tensor:
        """Return (B, 3, S, S) uint8."""
        if list(map(id, crops)) != list(map(id, self._crops)):
            self._crops, self._tensor = crops, to_batch(crops, self._device)
        return self._tensor


def to_batch(crops: Indexed[np.ndarray], device: torch.device) -> Tensor:
    """Return (S, S, 3) uint8 crops as (B, 3, S, S) on a device, without waiting for the transfer to a GPU."""
    # Pinned for a GPU, and kept by PyTorch until it has crossed. Filled by NumPy: PyTorch shares even so small a copy
    # out among all cores, and an upload took 4 ms beside an H200, 0.2 at best.
    batch = torch.empty((len(crops), *crops[0].shape), dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.stack(crops, out=batch.numpy())
    return batch.to(device, non_blocking=True).permute(0, 3, 1, 2)


def smooth_size(last_xywh: np.ndarray, box_xywh: np.ndarray, share: float) -> np.ndarray:
    """Return a box at its own centre, whose sides follow a part of their change, as geometric means.

    The search region follows the predicted size, so that an error of it would grow from frame to frame.

    Args:
        last_xywh: (4,) box of the frame before, with positive sides.
        box_xywh: (4,) predicted box; a side counts as changed e times at most.
        share: of the change in the logarithm, in [0, 1].
    """
    # Not in the paper: "without additional hyperparameters"; off at the paper's size.
    center = box_xywh[:2] + box_xywh[2:] / 2
    sides = last_xywh[2:] * np.clip(box_xywh[2:] / last_xywh[2:], 1 / np.e, np.e) ** share
    return np.concatenate((center - sides / 2, sides))


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
