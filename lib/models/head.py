"""The pyramid corner head: two corner maps from three scales, read by expectation; paper section III-C.

Source: the head of Cui et al., "MixFormer: End-to-End Tracking with Iterative Mixed Attention", 2022.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class CornerOutput(NamedTuple):
    """A box and the two maps it was read from.

    Attributes:
        crop_boxes_xyxy: (B, 4) float32 corners in fractions of the search crop.
        top_left_logits, bottom_right_logits: (B, 4 * grid, 4 * grid).
    """

    crop_boxes_xyxy: Tensor
    top_left_logits: Tensor
    bottom_right_logits: Tensor

    @property
    def tracked_boxes_xyxy(self) -> Tensor:
        """The same boxes: no window, as there is for a map of centres."""
        return self.crop_boxes_xyxy


class PyramidCornerHead(nn.Module):
    """Locate both corners of the target on a map four times finer than the token grid.

    Args:
        dim: width of the encoder's tokens.
        grid: search tokens per side.
        channels: width of the first convolution; halved at each step.

    Raises:
        ValueError: `channels` is no multiple of 8.
    """

    def __init__(self, dim: int, grid: int, channels: int = 384) -> None:
        super().__init__()
        if channels % 8:
            raise ValueError(f"the head's channels {channels} must be a multiple of 8")
        self.grid = grid
        self.top_left = CornerBranch(dim, channels)
        self.bottom_right = CornerBranch(dim, channels)

    def forward(self, search_tokens: Tensor) -> CornerOutput:
        """Predict from (B, grid * grid, D) search tokens in row-major order."""
        features = self.arrange(search_tokens)
        return read_corners(self.top_left(features), self.bottom_right(features))

    def arrange(self, search_tokens: Tensor) -> Tensor:
        """Return (B, grid * grid, D) search tokens as features (B, D, grid, grid)."""
        return search_tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))


class CornerBranch(nn.Module):
    """One corner's twelve convolutions, from (B, D, N, N) features to (B, 4N, 4N) logits."""

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        half, quarter, eighth = channels // 2, channels // 4, channels // 8
        self.coarse = nn.Sequential(_convolution(dim, channels), _convolution(channels, half))
        self.middle_lateral = _convolution(dim, half)
        self.middle = _convolution(half, quarter)
        self.fine_lateral = _convolution(dim, quarter)
        self.fine = _convolution(quarter, eighth)
        self.fine_logits = nn.Conv2d(eighth, 1, kernel_size=1)
        self.middle_logits = nn.Sequential(_convolution(quarter, eighth), _convolution(eighth, 1))
        self.coarse_logits = nn.Sequential(
            _convolution(half, quarter), _convolution(quarter, eighth), _convolution(eighth, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the corner's logits, unnormalised."""
        return self.merge(self.coarse[0](features), self.middle_lateral(features), self.fine_lateral(features))

    def merge(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """Return the logits for what the three convolutions that read the features make of them.

        Args:
            coarse, middle, fine: (B, C, N, N), (B, C / 2, N, N) and (B, C / 4, N, N).
        """
        coarse = self.coarse[1](coarse)
        middle = self.middle(_double(coarse + middle))
        fine = self.fine(_double(middle + _double(fine)))
        coarser_logits = _double(self.middle_logits(middle) + _double(self.coarse_logits(coarse)))
        return (self.fine_logits(fine) + coarser_logits).squeeze(1)


def read_corners(top_left_logits: Tensor, bottom_right_logits: Tensor) -> CornerOutput:
    """Read a box off both corners' (B, H, W) logits."""
    crop_boxes_xyxy = torch.cat((soft_argmax(top_left_logits), soft_argmax(bottom_right_logits)), dim=1)
    return CornerOutput(crop_boxes_xyxy, top_left_logits, bottom_right_logits)


def soft_argmax(logits: Tensor) -> Tensor:
    """Return the expected position (B, 2), x then y in fractions of the map, under the softmax of (B, H, W) logits.

    Cell k of n stands for its centre (k + 0.5) / n. Computed in float32 whatever the logits are.
    """
    height, width = logits.shape[-2:]
    # Not in the paper: the centre of a cell; the older line uses k / n, half a cell off at every corner.
    x = (torch.arange(width, device=logits.device, dtype=torch.float32) + 0.5) / width
    y = (torch.arange(height, device=logits.device, dtype=torch.float32) + 0.5) / height
    probability = logits.flatten(1).float().softmax(dim=1).unflatten(1, (height, width))
    # Sums rather than matrix products: autocast would lower the latter to bfloat16.
    return torch.stack(((probability.sum(dim=1) * x).sum(dim=1), (probability.sum(dim=2) * y).sum(dim=1)), dim=1)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode="nearest")
