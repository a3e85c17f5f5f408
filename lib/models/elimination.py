"""Candidate elimination: search tokens that the target does not attend to leave the encoder on the way.

Source: Ye et al., "Joint Feature Learning and Relation Modeling for Tracking: A One-Stream Framework", 2022.
"""

import math

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor
from torch.nn import functional


class Candidates:
    """The search tokens that are left in one pass of the encoder.

    Args:
        num_templates: tokens at the front of the sequence, which all stay.
        center: which of them stands for the target: the one in the middle of the first template.
        keep_ratio: share of the candidates that an elimination keeps, in (0, 1].
    """

    def __init__(self, num_templates: int, center: int, keep_ratio: float) -> None:
        self._num_templates = num_templates
        self._center = center
        self._keep_ratio = keep_ratio
        self._places: Tensor | None = None

    def eliminate(self, block: Block, tokens: Tensor) -> Tensor:
        """Choose from a block's input (B, L, D); return the places (B, K) in it of the tokens that stay.

        What comes out of the block at these places enters the next one. (The field drops tokens between attention and
        MLP, which is the same: an MLP sees one token at a time.)
        """
        attention = self._attention_of_center(block, tokens)
        kept = attention.topk(math.ceil(self._keep_ratio * attention.shape[1]), dim=1).indices + self._num_templates
        templates = torch.arange(self._num_templates, device=tokens.device).expand(tokens.shape[0], -1)
        kept = torch.cat((templates, kept), dim=1)
        self._places = kept if self._places is None else self._places.gather(1, kept)
        return kept

    def restore(self, search: Tensor, length: int) -> Tensor:
        """Put the search tokens (B, K, D) that are left back to their places among `length`; the others are 0."""
        if self._places is None:
            return search
        places = self._places[:, self._num_templates :, None] - self._num_templates
        empty = search.new_zeros(search.shape[0], length, search.shape[2])
        return empty.scatter(1, places.expand_as(search), search)

    def _attention_of_center(self, block: Block, tokens: Tensor) -> Tensor:
        """Return the (B, L - num_templates) attention that the target pays to the candidates, mean over the heads."""
        attention = block.attn
        assert isinstance(attention, Attention), "a plain ViT's attention"
        width, weights, biases = attention.attn_dim, attention.qkv.weight, attention.qkv.bias
        heads = (attention.num_heads, attention.head_dim)
        normalized = block.norm1(tokens).to(weights.dtype)
        asking = normalized[:, self._center : self._center + 1]
        query = functional.linear(asking, weights[:width], None if biases is None else biases[:width])
        key = functional.linear(
            normalized, weights[width : 2 * width], None if biases is None else biases[width : 2 * width]
        )
        query = attention.q_norm(query.unflatten(-1, heads).transpose(1, 2))
        key = attention.k_norm(key.unflatten(-1, heads).transpose(1, 2))
        attended = (query @ key.transpose(-2, -1) * attention.scale).float().softmax(dim=-1)
        return attended[:, :, 0, self._num_templates :].mean(dim=1)


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the tokens (B, K, D) at some places (B, K) of (B, L, D)."""
    return tokens.gather(1, places.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
