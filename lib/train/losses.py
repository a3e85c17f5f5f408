"""The training objectives, Eq. (5) and that of masks: named, unweighted terms and one weighted total."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lib.box import complete_iou_loss, iou
from lib.config.refine_schema import RefineLoss
from lib.config.schema import Loss
from lib.models.center import CenterOutput
from lib.models.decoder import MMGReconstruction
from lib.models.mmg import MMGOutput

_EPSILON = 1e-6


class Losses(NamedTuple):
    """What one batch costs.

    Attributes:
        total: () weighted sum, to be differentiated.
        terms: unweighted scalars by name, detached but for the total's sake: `l1`, `complete_iou`, of a centre head
            `focal`, and per stage and image `coarse_search`, `coarse_online`, `fine_search`, `fine_online` with their
            sum `reconstruction`.
        measures: scalars without gradient that tell how good the predictions are, by name: `mean_iou` of the boxes.
    """

    total: Tensor
    terms: dict[str, Tensor]
    measures: dict[str, Tensor]


def tracking_loss(output: MMGOutput, target_crop_boxes_xyxy: Tensor, weights: Loss) -> Losses:
    """Combine box and reconstruction losses of one batch.

    Args:
        output: of the model in training.
        target_crop_boxes_xyxy: (B, 4) corners in fractions of the search crop.
        weights: of the terms; applied here and nowhere else.
    """
    boxes = output.crop_boxes_xyxy
    terms = {
        "l1": functional.l1_loss(boxes, target_crop_boxes_xyxy),
        "complete_iou": complete_iou_loss(boxes, target_crop_boxes_xyxy).mean(),
    }
    total = weights.l1 * terms["l1"] + weights.complete_iou * terms["complete_iou"]
    if isinstance(output.located, CenterOutput):
        score_map = output.located.score_map
        terms["focal"] = focal_loss(score_map, center_map(target_crop_boxes_xyxy, score_map.shape[-1]))
        total = total + weights.focal * terms["focal"]
    if output.reconstruction is not None:
        stages = reconstruction_losses(output.reconstruction)
        terms |= stages
        total = total + weights.reconstruction * stages["reconstruction"]
    with torch.no_grad():
        mean_iou = iou(boxes, target_crop_boxes_xyxy).mean()
    return Losses(total, terms, {"mean_iou": mean_iou})


def focal_loss(score_map: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss of scores in (0, 1) where a target of the same shape is 1 at centres and less around them.

    Source: Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", 2018, Eq. (1); its alpha is 2, beta 4.
    """
    here = target == 1
    costs = torch.where(
        here,
        (1 - score_map).square() * score_map.log(),
        (1 - target) ** 4 * score_map.square() * (1 - score_map).log(),
    )
    return -costs.sum() / here.sum().clamp(min=1)


def center_map(crop_boxes_xyxy: Tensor, grid: int) -> Tensor:
    """Return the scores (B, grid, grid) to learn: a Gaussian at the token corner next to the centre of each box (B, 4).

    It reaches as far as a box may be shifted and still overlap by 0.7, in the way of CornerNet's code.
    """
    near, far = (crop_boxes_xyxy * grid).split(2, dim=1)
    sides, overlap = far - near, 0.7
    total, area = sides.sum(dim=1), sides.prod(dim=1)
    reach = ((overlap * total).square() + 4 * overlap * (1 - overlap) * area).sqrt() - overlap * total
    reach = reach.floor()[:, None, None]
    distance = torch.arange(grid, device=near.device) - ((near + far) / 2).round().unsqueeze(2)  # (B, 2, grid)
    x, y = distance[:, 0, None, :], distance[:, 1, :, None]
    inside = (x.abs() <= reach) & (y.abs() <= reach)
    return inside * torch.exp(-(x.square() + y.square()) / (2 * ((2 * reach + 1) / 6).square()))


def mean_losses(passes: Sequence[Losses]) -> Losses:
    """Return the means over several batches of one size, without gradient; of a single batch, its own losses."""
    if len(passes) == 1:
        return passes[0]

    def mean(values: Iterable[Tensor]) -> Tensor:
        return torch.stack([value.detach() for value in values]).mean()

    first = passes[0]
    return Losses(
        mean(losses.total for losses in passes),
        {name: mean(losses.terms[name] for losses in passes) for name in first.terms},
        {name: mean(losses.measures[name] for losses in passes) for name in first.measures},
    )


def reconstruction_losses(reconstruction: MMGReconstruction) -> dict[str, Tensor]:
    """Return the mean squared error of each stage and image on masked tokens, and their `reconstruction` total.

    The total is the mean over the images of a stage, summed over the stages (coarse and fine).
    """
    found: dict[str, Tensor | None] = reconstruction._asdict()
    terms: dict[str, Tensor] = {}
    stages: list[Tensor] = []
    for stage in ("coarse", "fine"):
        active = []
        for image in ("online", "search"):
            prediction, target, masked = (found[f"{name}_{image}"] for name in (stage, "target", "mask"))
            if prediction is not None and target is not None and masked is not None:
                active.append(masked_mean_squared_error(prediction, target, masked))
                terms[f"{stage}_{image}"] = active[-1]
        if active:
            stages.append(torch.stack(active).mean())
    terms["reconstruction"] = torch.stack(stages).sum()
    return terms


def masked_mean_squared_error(prediction: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """Return the mean squared error over masked tokens; over all tokens when none is masked.

    Args:
        prediction: (B, L, P) pixels of each patch.
        target: (B, L, P).
        masked: (B, L) bool, True where the token was replaced; the count is the same in every row.
    """
    error = (prediction.float() - target.float()).square().mean(dim=-1)
    # Not in the paper: with mask ratio 0 (Table V) the mean runs over all tokens, since 0 / 0 has no gradient.
    weight = torch.where(masked.any(), masked, torch.ones_like(masked)).to(error.dtype)
    return (error * weight).sum() / weight.sum()


def mask_loss(logits: Tensor, mask: Tensor, weights: RefineLoss) -> Losses:
    """Combine cross-entropy and soft IoU of one batch.

    Args:
        logits: (B, S, S) of the network.
        mask: (B, S, S) bool, True on the target.
        weights: of the terms; applied here and nowhere else.

    Returns:
        `cross_entropy` over all pixels and `iou`, 1 - soft IoU; the measure `mask_iou` is the mean IoU of the masks
        that a threshold of one half gives.
    """
    logits, target = logits.float(), mask.float()
    terms = {
        "cross_entropy": functional.binary_cross_entropy_with_logits(logits, target),
        "iou": (1 - soft_iou(logits.sigmoid(), target)).mean(),
    }
    total = weights.cross_entropy * terms["cross_entropy"] + weights.iou * terms["iou"]
    with torch.no_grad():
        mask_iou = soft_iou((logits > 0).float(), target).mean()
    return Losses(total, terms, {"mask_iou": mask_iou})


def soft_iou(probability: Tensor, target: Tensor) -> Tensor:
    """Return (B,) intersection over union of (B, H, W) maps in [0, 1]; of 0-1 maps it is the IoU, and 1 of empty ones.

    Source: Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation", 2016.
    """
    intersection = (probability * target).sum(dim=(-2, -1))
    union = (probability + target - probability * target).sum(dim=(-2, -1))
    return (intersection + _EPSILON) / (union + _EPSILON)
