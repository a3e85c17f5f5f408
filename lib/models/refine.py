"""Alpha-Refine's network in the variant that predicts masks: a reference crop with a box and a search crop in.

Source: Yan et al., "Alpha-Refine: Boosting Tracking Performance by Precise Bounding Box Estimation", CVPR 2021, and its
entry to VOT2020 (`ARcm_seg`). Written from the paper's description; names and structure of the published weights are
in `refine_checkpoint`.
"""

from collections.abc import Sequence

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from lib.models.refine_attention import ChannelAttention, SpatialAttention, pixelwise_correlation
from lib.models.refine_decoder import MaskDecoder
from lib.models.refine_encoder import ResNetEncoder
from lib.models.refine_pooling import precise_roi_pool

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

    Raises:
        ValueError: the size is no multiple of 32, or there is no such ResNet.
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
        if size % 32 or size < 64:
            raise ValueError(f"the crop's size {size} must be a multiple of 32, and at least 64")
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
