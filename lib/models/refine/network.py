"""Alpha-Refine's network in the variant that predicts masks: a reference crop with a box and a search crop in.

Source: Yan et al., "Alpha-Refine: Boosting Tracking Performance by Precise Bounding Box Estimation", CVPR 2021, and its
entry to VOT2020 (`ARcm_seg`). Written from the paper's description; names and structure of the published weights are
in `published`.
"""

from collections.abc import Sequence

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn import functional

from lib.config.refine_schema import RefineExperiment
from lib.models.refine.decoder import MaskDecoder
from lib.models.refine.encoder import ResNetEncoder, load_resnet

STRIDE = 16  # of the encoder's map on which target and search crop are compared
_COMPARED = 2  # its place among the four maps


class AlphaRefineNet(nn.Module):
    """Segment the target of a reference crop in a search crop.

    Crops arrive as (B, 3, S, S) uint8 RGB and are normalised here, so training and tracking cannot disagree. The target
    fills half of the reference crop's side, so that it is pooled into S / 32 x S / 32 cells: 8 x 8 at 256 px, 12 x 12
    at 384 px.

    Args:
        size: side of both crops in pixels, a multiple of 32.
        encoder: a key of `refine_encoder.RESNETS`.
        channels: width of the mask decoder.
        encoder_channels: widths of the four stages instead of the named ResNet's, for small models.
        encoder_layers: blocks of the four stages instead of the named ResNet's.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        size: int = 384,
        encoder: str = "resnet50",
        channels: int = 64,
        encoder_channels: Sequence[int] | None = None,
        encoder_layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.pool_size = size // 32
        self.encoder = ResNetEncoder(encoder, encoder_channels, encoder_layers)
        correlation_channels = self.pool_size**2
        self.channel_attention = ChannelAttention(correlation_channels)
        self.spatial_attention = SpatialAttention(correlation_channels)
        self.decoder = MaskDecoder(correlation_channels, self.encoder.widths, channels)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
        self.register_buffer("mean", 255 * mean, persistent=False)
        self.register_buffer("std", 255 * std, persistent=False)

    def forward(self, reference: Tensor, reference_crop_box_xyxy: Tensor, search: Tensor) -> Tensor:
        """Return (B, S, S) logits of the target's mask in the search crops.

        Args:
            reference, search: (B, 3, S, S) uint8.
            reference_crop_box_xyxy: (B, 4) the target in fractions of the reference crop.
        """
        return self.locate(self.pool(reference, reference_crop_box_xyxy), search)

    def pool(self, reference: Tensor, crop_box_xyxy: Tensor) -> Tensor:
        """Return (B, C, S / 32, S / 32) features of the target of (B, 3, S, S) uint8 reference crops."""
        features = self.encoder.pyramid(self.normalize(reference), num_stages=_COMPARED + 1)[_COMPARED]
        # A cell of a ResNet's map is centred on pixel 16 i, whose middle is at 16 i + 0.5.
        cells_xyxy = (crop_box_xyxy.float() * self.size - 0.5) / STRIDE
        return precise_roi_pool(features, cells_xyxy, self.pool_size)

    def locate(self, kernel: Tensor, search: Tensor) -> Tensor:
        """Return (B, S, S) logits, given what `pool` returned."""
        features = self.encoder.pyramid(self.normalize(search))
        correlation = pixelwise_correlation(kernel, features[_COMPARED])
        correlation = self.spatial_attention(self.channel_attention(correlation))
        return self.decoder(correlation, features, self.size)

    @torch.inference_mode()
    def describe(self, reference: Tensor, crop_box_xyxy: Tensor) -> Tensor:
        """Do `pool` for a tracker: no gradient, evaluation mode only."""
        assert not self.training, "call eval() first: batch statistics of one frame are no statistics"
        return self.pool(reference, crop_box_xyxy)

    @torch.inference_mode()
    def predict(self, kernel: Tensor, search: Tensor) -> Tensor:
        """Return (B, S, S) float32 probabilities of the target, given what `describe` returned."""
        assert not self.training, "call eval() first: batch statistics of one frame are no statistics"
        return self.locate(kernel, search).float().sigmoid()

    def normalize(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) uint8 images into what the encoder sees."""
        assert images.dtype == torch.uint8, f"images arrive as uint8, not {images.dtype}"
        return (images - self.mean) / self.std


def pixelwise_correlation(kernel: Tensor, features: Tensor) -> Tensor:
    """Compare every cell of the target with every cell of the search crop.

    Args:
        kernel: (B, C, P, P) pooled features of the target; each of its P * P cells acts as a 1 x 1 kernel.
        features: (B, C, H, W) of the search crop.

    Returns:
        (B, P * P, H, W): one map for each cell of the target, in row-major order.
    """
    maps = kernel.flatten(2).transpose(1, 2).to(features.dtype) @ features.flatten(2)
    return maps.unflatten(2, features.shape[-2:])


class ChannelAttention(nn.Module):
    """Weigh the maps by squeeze and excitation (Hu et al. 2018): which parts of the target are telling."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(1, channels // reduction), kernel_size=1)
        self.excite = nn.Conv2d(max(1, channels // reduction), channels, kernel_size=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C, H, W) maps times their weights in (0, 1)."""
        mean = functional.adaptive_avg_pool2d(maps, 1)
        return maps * self.excite(functional.relu(self.squeeze(mean))).sigmoid()


class SpatialAttention(nn.Module):
    """Let every place see all others: a non-local block (Wang et al. 2018), whose keys and values are halved in size.

    The block starts as the identity, for its last normalisation starts at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, inner, kernel_size=1)
        self.output = nn.Conv2d(inner, channels, kernel_size=1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C, H, W) maps plus what they gather from all places."""
        query, key, value = (
            tokens.flatten(2).transpose(1, 2)
            for tokens in (
                self.query(maps),
                functional.max_pool2d(self.key(maps), 2),
                functional.max_pool2d(self.value(maps), 2),
            )
        )
        # The published weights were trained without a scale.
        gathered = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return maps + self.norm(self.output(gathered.transpose(1, 2).unflatten(2, maps.shape[-2:])))


def build_refine_model(experiment: RefineExperiment, *, pretrained: bool = True) -> AlphaRefineNet:
    """Build the network at the experiment's sizes; without `pretrained` when a checkpoint is loaded next."""
    encoder = experiment.model.encoder
    model = AlphaRefineNet(
        size=experiment.crop.size,
        encoder=encoder.name,
        channels=experiment.model.decoder.channels,
        encoder_channels=encoder.channels,
        encoder_layers=encoder.layers,
    )
    if pretrained and encoder.pretrained is not None:
        load_resnet(model.encoder, encoder.pretrained)
    return model


def precise_roi_pool(features: Tensor, boxes_xyxy: Tensor, size: int) -> Tensor:
    """Pool one box per image into size x size bins, each the integral of the bilinear surface divided by its area.

    Source: Jiang et al., "Acquisition of Localization Confidence for Accurate Object Detection" (IoU-Net), 2018.

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
