"""The score module: is the target there? Decides what becomes the online template; section III-D."""

import math

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from lib.models.decoder import init_as_mae


class ScoreModule(nn.Module):
    """A learned class token beside template and search tokens, ViT blocks over them, and an MLP on the class token.

    Args:
        dim: width of the encoder's tokens.
        depth: number of blocks.
        num_heads, mlp_ratio: as in the encoder.
    """

    def __init__(self, dim: int, depth: int = 2, *, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.class_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, dim), std=0.02))
        self.blocks = nn.Sequential(*[Block(dim, num_heads, mlp_ratio, qkv_bias=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1)
        )  # fmt: skip
        # Not in the paper: MAE's start, as in the decoders. With torch's own the score learns nothing for long.
        self.apply(init_as_mae)

    def forward(self, template_tokens: Tensor, search_tokens: Tensor, _: Tensor | None = None) -> Tensor:
        """Return (B,) logits for encoder tokens (B, Lz, D) and (B, Lx, D); their sigmoid is the score.

        The predicted boxes, which `BoxScore` is given, are not looked at.
        """
        class_token = self.class_token.expand(search_tokens.shape[0], -1, -1)
        tokens = self.blocks(torch.cat((class_token, template_tokens, search_tokens), dim=1))
        return self.mlp(self.norm(tokens[:, 0])).squeeze(1)


class BoxScore(nn.Module):
    """An MLP over the mean tokens of the target in the template, of the predicted box, and of what surrounds that.

    Not in the paper, whose score module sees the search region alone, and cannot tell a box on a look-alike from one on
    the target. This one learns from some thousand samples what `ScoreModule` does not learn from ten thousand.

    Args:
        dim: width of the encoder's tokens.
        template_grid: template tokens per side.
        template_factor: side of the template / sqrt(target area).
    """

    inside_template: Tensor

    def __init__(self, dim: int, template_grid: int, template_factor: float) -> None:
        super().__init__()
        margin = (1 - 1 / template_factor) / 2
        middle = torch.tensor([[margin, margin, 1 - margin, 1 - margin]])
        self.register_buffer("inside_template", cover(middle, template_grid), persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(5 * dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1)
        )  # fmt: skip

    def forward(self, template_tokens: Tensor, search_tokens: Tensor, crop_boxes_xyxy: Tensor) -> Tensor:
        """Return (B,) logits for encoder tokens (B, Lz, D) and (B, Lx, D); their sigmoid is the score.

        Args:
            crop_boxes_xyxy: (B, 4) predicted boxes in fractions of the search crop.
        """
        inside = cover(crop_boxes_xyxy, math.isqrt(search_tokens.shape[1])).to(search_tokens.dtype)
        target = _mean(template_tokens, self.inside_template.to(template_tokens.dtype))
        found, around = _mean(search_tokens, inside), _mean(search_tokens, 1 - inside)
        return self.mlp(torch.cat((target, found, around, target * found, target * around), dim=1)).squeeze(1)


def cover(crop_boxes_xyxy: Tensor, grid: int) -> Tensor:
    """Return the shares (B, grid * grid, 1), in row-major order, of a crop's patches that (B, 4) boxes cover."""
    edges = torch.arange(grid, device=crop_boxes_xyxy.device) / grid
    left, top, right, bottom = crop_boxes_xyxy.unsqueeze(1).unbind(2)
    across = (torch.minimum(right, edges + 1 / grid) - torch.maximum(left, edges)).clamp(min=0) * grid
    down = (torch.minimum(bottom, edges + 1 / grid) - torch.maximum(top, edges)).clamp(min=0) * grid
    return (down.unsqueeze(2) * across.unsqueeze(1)).flatten(1).unsqueeze(2)


def _mean(tokens: Tensor, weights: Tensor) -> Tensor:
    # A tenth of a patch at least, so that the mean of next to nothing is next to nothing.
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=0.1)
