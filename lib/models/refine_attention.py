"""How Alpha-Refine looks for the target in the search crop: pixel-wise correlation, then two attentions.

Source: Yan et al., "Alpha-Refine: Boosting Tracking Performance by Precise Bounding Box Estimation", 2021, section 3.
"""

from torch import Tensor, nn
from torch.nn import functional


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
