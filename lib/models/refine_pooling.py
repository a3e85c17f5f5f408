"""Precise RoI pooling in plain PyTorch: the exact mean of the bilinear surface over each bin of a box.

Source: Jiang et al., "Acquisition of Localization Confidence for Accurate Object Detection" (IoU-Net), 2018.
"""

import torch
from torch import Tensor


def precise_roi_pool(features: Tensor, boxes_xyxy: Tensor, size: int) -> Tensor:
    """Pool one box per image into size x size bins, each the integral of the bilinear surface divided by its area.

    The surface is a sum of tent functions, one per cell, and so is separable: its integral over a bin is a product of
    two integrals of a tent, which are known in closed form. No sampling, no compiled extension, and a gradient with
    respect to the box as well as the features.

    Args:
        features: (B, C, H, W); the value of cell i lies at coordinate i, and the surface falls to zero beyond the map.
        boxes_xyxy: (B, 4) corners in cells, with positive sides.
        size: bins per side.

    Returns:
        (B, C, size, size) float32.
    """
    height, width = features.shape[-2:]
    # Sums of many products: autocast would lower them to bfloat16.
    with torch.autocast(features.device.type, enabled=False):
        left, top, right, bottom = boxes_xyxy.float().unbind(-1)
        weights_x = _tent_weights(left, right, size, width)
        weights_y = _tent_weights(top, bottom, size, height)
        return weights_y.unsqueeze(1) @ features.float() @ weights_x.unsqueeze(1).transpose(-2, -1)


def _tent_weights(near: Tensor, far: Tensor, size: int, cells: int) -> Tensor:
    """Return (B, size, cells): the mean of each cell's tent over each bin between two (B,) coordinates."""
    share = torch.linspace(0, 1, size + 1, device=near.device)
    edges = near.unsqueeze(-1) + (far - near).unsqueeze(-1) * share
    cell = torch.arange(cells, device=near.device, dtype=near.dtype)
    # The integral of max(0, 1 - |t|) from -1 to u is 1/2 + u - u |u| / 2 for u in [-1, 1].
    offset = (edges.unsqueeze(-1) - cell).clamp(-1, 1)
    integral = 0.5 + offset - 0.5 * offset * offset.abs()
    return integral.diff(dim=1) / edges.diff(dim=1).unsqueeze(-1)
