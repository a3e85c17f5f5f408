"""Parts of the network made ready to track: blocks that compute what is read, and a head with fewer products."""

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from lib.models.head import CornerBranch, CornerOutput, PyramidCornerHead, read_corners
from lib.models.score import ScoreModule
from lib.models.winograd import WinogradConvolution


def run_block(block: Block, tokens: Tensor, read: Tensor | None = None) -> Tensor:
    """Return what a block in evaluation mode makes of its tokens (B, L, D), or of some of them.

    Sums and normalisation keep the tokens' number format; products are made in the format of the weights.

    Args:
        block: whose attention and MLP are in one format.
        tokens: (B, L, D) to attend to.
        read: (B, R, D) those among them that somebody reads; None for all.
    """
    attention = block.attn
    assert isinstance(attention, Attention) and attention.gate is None, "a plain ViT's attention"
    width, dtype = attention.attn_dim, attention.qkv.weight.dtype
    weights, biases = attention.qkv.weight, attention.qkv.bias
    normalized = block.norm1(tokens).to(dtype)
    heads = (attention.num_heads, attention.head_dim)
    if read is None:
        read = tokens
        query, key, value = attention.qkv(normalized).unflatten(-1, (3, *heads)).permute(2, 0, 3, 1, 4).unbind(0)
    else:
        rows = block.norm1(read).to(dtype)
        query = functional.linear(rows, weights[:width], None if biases is None else biases[:width])
        context = functional.linear(normalized, weights[width:], None if biases is None else biases[width:])
        query = query.unflatten(-1, heads).transpose(1, 2)
        key, value = context.unflatten(-1, (2, *heads)).permute(2, 0, 3, 1, 4).unbind(0)
    attended = functional.scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(key), value)
    read = read + block.ls1(attention.proj(attention.norm(attended.transpose(1, 2).flatten(2))))
    return read + block.ls2(block.mlp(block.norm2(read).to(dtype)))


def set_products_dtype(blocks: nn.Module, dtype: torch.dtype) -> None:
    """Store what the products of `run_block` read in their number format, instead of converting it at every frame."""
    for block in blocks.children():
        assert isinstance(block, Block)
        block.attn.to(dtype)
        block.mlp.to(dtype)


class TrackingScore(nn.Module):
    """A score module whose last block computes the class token alone, which alone is read."""

    def __init__(self, score: ScoreModule) -> None:
        super().__init__()
        self.score = score

    def forward(self, template_tokens: Tensor, search_tokens: Tensor) -> Tensor:
        """Return (B,) scores in [0, 1] for encoder tokens (B, Lz, D) and (B, Lx, D)."""
        class_token = self.score.class_token.expand(search_tokens.shape[0], -1, -1)
        tokens = torch.cat((class_token, template_tokens, search_tokens), dim=1)
        *blocks, last = self.score.blocks.children()
        for block in blocks:
            assert isinstance(block, Block)
            tokens = run_block(block, tokens)
        assert isinstance(last, Block)
        read = self.score.norm(run_block(last, tokens, tokens[:, :1]))
        return self.score.mlp(read[:, 0]).squeeze(1).sigmoid()


class TrackingHead(nn.Module):
    """A head whose six convolutions of the search tokens, nine tenths of its products, are one of Winograd's kind.

    Args:
        head: in evaluation mode, its batch normalisation folded into the convolutions; on an even grid.
    """

    def __init__(self, head: PyramidCornerHead) -> None:
        super().__init__()
        self.head = head
        convolutions = [convolution for branch in self._branches for convolution in _first(branch)]
        self.first = WinogradConvolution(convolutions)
        self.widths = [convolution.out_channels for convolution in convolutions]

    def forward(self, search_tokens: Tensor) -> CornerOutput:
        """Predict from (B, grid * grid, D) search tokens in row-major order."""
        maps = self.first(self.head.arrange(search_tokens)).relu().split(self.widths, dim=1)
        top_left, bottom_right = self._branches
        return read_corners(top_left.merge(*maps[:3]), bottom_right.merge(*maps[3:]))

    @property
    def _branches(self) -> tuple[CornerBranch, CornerBranch]:
        return self.head.top_left, self.head.bottom_right


def _first(branch: CornerBranch) -> list[nn.Conv2d]:
    """Return a branch's convolutions of the features, in the order in which `CornerBranch.merge` takes their maps."""
    layers = (branch.coarse[0], branch.middle_lateral, branch.fine_lateral)
    return [convolution for layer in layers for convolution in layer.children() if isinstance(convolution, nn.Conv2d)]
