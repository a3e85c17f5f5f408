"""The centre head: one score for each search token, and the box that each would have; `model.head.kind: center`.

Source: Ye et al., "Joint Feature Learning and Relation Modeling for Tracking: A One-Stream Framework", 2022.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

_LEAST = 1e-4  # of scores and sizes, and their distance from 1


class CenterOutput(NamedTuple):
    """Boxes and the maps they were read from.

    Attributes:
        crop_boxes_xyxy: (B, 4) float32 corners in fractions of the search crop, of the token with the highest score.
        tracked_boxes_xyxy: (B, 4), of the token with the highest score under a Hann window: far jumps are unlikely.
        score_map: (B, N, N) in (0, 1): how likely the target's centre is this token.
        size_map: (B, 2, N, N) width and height in fractions of the search crop.
        offset_map: (B, 2, N, N) x and y of the centre from the token's corner, in tokens.
    """

    crop_boxes_xyxy: Tensor
    tracked_boxes_xyxy: Tensor
    score_map: Tensor
    size_map: Tensor
    offset_map: Tensor


class CenterHead(nn.Module):
    """Three stacks of five convolutions over the search tokens: score, offset and size.

    Args:
        dim: width of the encoder's tokens.
        grid: search tokens per side.
        channels: width of the first convolution; halved at each step.

    Raises:
        ValueError: `channels` is no multiple of 8.
    """

    hann: Tensor

    def __init__(self, dim: int, grid: int, channels: int = 256) -> None:
        super().__init__()
        if channels % 8:
            raise ValueError(f"the head's channels {channels} must be a multiple of 8")
        self.grid = grid
        self.score = _branch(dim, channels, 1)
        self.offset = _branch(dim, channels, 2)
        self.size = _branch(dim, channels, 2)
        self.register_buffer("hann", hann_window(grid), persistent=False)

    def forward(self, search_tokens: Tensor) -> CenterOutput:
        """Predict from (B, grid * grid, D) search tokens in row-major order."""
        features = search_tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        score = self.score(features).float().sigmoid().clamp(_LEAST, 1 - _LEAST).squeeze(1)
        size = self.size(features).float().sigmoid().clamp(_LEAST, 1 - _LEAST)
        offset = self.offset(features).float()
        tracked = read_center(score * self.hann, size, offset)
        return CenterOutput(read_center(score, size, offset), tracked, score, size, offset)


def read_center(score_map: Tensor, size_map: Tensor, offset_map: Tensor) -> Tensor:
    """Return the boxes (B, 4), corners in fractions of the crop, where the score (B, N, N) is highest."""
    grid = score_map.shape[-1]
    place = score_map.flatten(1).max(dim=1).indices
    found = torch.cat((offset_map, size_map), dim=1).flatten(2).gather(2, place[:, None, None].expand(-1, 4, 1))
    offset, size = found.squeeze(2).split(2, dim=1)
    center = (torch.stack((place % grid, place // grid), dim=1) + offset) / grid
    return torch.cat((center - size / 2, center + size / 2), dim=1)


def hann_window(grid: int) -> Tensor:
    """Return the (grid, grid) window: 1 in the middle, falling to nearly 0 at the border."""
    side = 0.5 * (1 - torch.cos(2 * math.pi / (grid + 1) * torch.arange(1, grid + 1).float()))
    return side.unsqueeze(1) * side


def _branch(dim: int, channels: int, outputs: int) -> nn.Sequential:
    widths = (dim, *(channels // 2**step for step in range(4)))
    layers = [_convolution(*widths[step : step + 2]) for step in range(4)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, kernel_size=1))


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    # With a bias, which batch normalisation makes superfluous, because the published weights have one.
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
