"""The objective of the mask network: named, unweighted terms and one weighted total."""

import torch
from torch import Tensor
from torch.nn import functional

from lib.config.refine_schema import RefineLoss
from lib.train.losses import Losses

_EPSILON = 1e-6


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
