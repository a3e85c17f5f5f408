"""An initialisation of self-attention that helps small models which start without pre-training.

Source: Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", 2023.
"""

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn

QUERY_KEY_NOISE, QUERY_KEY_IDENTITY = 0.7, 0.7
VALUE_OUTPUT_NOISE, VALUE_OUTPUT_IDENTITY = 0.4, -0.4


@torch.no_grad()
def mimetic_attention_(attention: Attention) -> None:
    """Overwrite the projections so that tokens attend to their like and each output starts by opposing its token.

    As pre-trained ViTs do: per head, W_query^T W_key is about 0.7 noise + 0.7 identity (its best approximation of the
    head's rank), and W_output W_value is 0.4 noise - 0.4 identity. The biases become 0.
    """
    dim, num_heads = attention.qkv.in_features, attention.num_heads
    head_dim = dim // num_heads
    query, key, value = attention.qkv.weight.view(3, dim, dim)
    for head in range(num_heads):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        left, right = _factorise(QUERY_KEY_NOISE, QUERY_KEY_IDENTITY, query)
        query[rows], key[rows] = left[:, :head_dim].T, right[:head_dim]
    left, right = _factorise(VALUE_OUTPUT_NOISE, VALUE_OUTPUT_IDENTITY, value)
    attention.proj.weight.copy_(left)
    value.copy_(right)
    for bias in (attention.qkv.bias, attention.proj.bias):
        if bias is not None:
            nn.init.zeros_(bias)


def _factorise(noise: float, identity: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Split noise * Z + identity * I, Z of variance 1 / D, into two (D, D) factors, strongest directions first."""
    dim = like.shape[0]
    target = noise * torch.randn_like(like) / dim**0.5 + identity * torch.eye(dim, dtype=like.dtype, device=like.device)
    left, strength, right = torch.linalg.svd(target)
    root = strength.sqrt()
    return left * root, root[:, None] * right
