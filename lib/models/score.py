"""The score module: does the search region show the target? Decides what becomes the online template; section III-D."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn


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
        self.apply(_init_weights)

    def forward(self, template_tokens: Tensor, search_tokens: Tensor) -> Tensor:
        """Return (B,) logits for encoder tokens (B, Lz, D) and (B, Lx, D); their sigmoid is the score."""
        class_token = self.class_token.expand(search_tokens.shape[0], -1, -1)
        tokens = self.blocks(torch.cat((class_token, template_tokens, search_tokens), dim=1))
        return self.mlp(self.norm(tokens[:, 0])).squeeze(1)


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
