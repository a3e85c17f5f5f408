"""The mask decoder of Alpha-Refine: from coarse to fine through the encoder's four maps.

Source: the segmentation network of Robinson et al., "Learning Fast and Robust Target Models for Video Object
Segmentation" (FRTM), 2020, which Alpha-Refine takes over for its masks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskDecoder(nn.Module):
    """Turn correlation maps into a mask's logits at the crop's full size.

    Args:
        correlation_channels: of the maps that say where the target is.
        feature_channels: of the encoder's maps, fine to coarse, strides 4 to 32.
        channels: width of the decoder.
    """

    def __init__(self, correlation_channels: int, feature_channels: Sequence[int], channels: int = 64) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            DecoderLevel(width, correlation_channels, channels) for width in reversed(feature_channels)
        )
        self.narrow = nn.Conv2d(channels, channels // 2, kernel_size=3, padding=1)
        self.logits = nn.Conv2d(channels // 2, 1, kernel_size=3, padding=1)

    def forward(self, correlation: Tensor, features: Sequence[Tensor], size: int) -> Tensor:
        """Return (B, size, size) logits from (B, K, H, W) correlation and the encoder's maps, fine to coarse."""
        state = None
        for level, feature in zip(self.levels, reversed(features), strict=True):
            state = level(feature, correlation, state)
        assert state is not None
        state = functional.relu(self.narrow(_double(state)))
        state = _resize(_double(state), (size, size))
        return self.logits(state).squeeze(1)


class DecoderLevel(nn.Module):
    """One scale: reduce the features, add the correlation, refine, and take over what the coarser scale found."""

    def __init__(self, feature_channels: int, correlation_channels: int, channels: int) -> None:
        super().__init__()
        joint = channels + correlation_channels
        self.reduce = nn.Sequential(
            nn.Conv2d(feature_channels, channels, kernel_size=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=1),
        )
        self.fuse = nn.Sequential(
            nn.Conv2d(joint, joint, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(joint, joint, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(joint, channels, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.before = ResidualBlock(channels)
        self.gate = ChannelGate(channels)
        self.after = ResidualBlock(channels)

    def forward(self, features: Tensor, correlation: Tensor, coarser: Tensor | None) -> Tensor:
        """Return (B, channels, H, W) at the size of `features`; `coarser` is None at the coarsest level."""
        reduced = self.reduce(features)
        if coarser is None:
            coarser = functional.adaptive_avg_pool2d(reduced, 1)
        located = torch.cat((reduced, _resize(correlation, features.shape[-2:])), dim=1)
        return self.after(self.gate(coarser, self.before(self.fuse(located))))


class ResidualBlock(nn.Module):
    """A 1 x 1 convolution, then two of 3 x 3 beside it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, channels, kernel_size=1)
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
        )

    def forward(self, state: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        projected = self.project(state)
        return functional.relu(projected + self.block(projected))


class ChannelGate(nn.Module):
    """Choose the channels of the finer map by what both scales hold, and add the coarser map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(2 * channels, channels, kernel_size=1), nn.ReLU(), nn.Conv2d(channels, channels, kernel_size=1)
        )

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return (B, C, H, W) at the size of `finer`."""
        means = [functional.adaptive_avg_pool2d(state, 1) for state in (finer, coarser)]
        weights = self.weigh(torch.cat(means, dim=1)).sigmoid()
        return finer * weights + _resize(coarser, finer.shape[-2:])


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    if maps.shape[-2:] == tuple(size):
        return maps
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def _double(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2, mode="bicubic", align_corners=False)
