"""Cross-attention, and the choice between torch's fused attention kernel and plain matrix products."""

from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn import functional


class CrossAttention(nn.Module):
    """Multi-head attention of a query to a context that gives keys and values."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.fused_attn = True
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Return (B, Lq, D) for a query (B, Lq, D) and a context (B, Lc, D)."""
        queries = self.query(query).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        keys, values = self.key_value(context).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused_attn:
            attended = functional.scaled_dot_product_attention(queries, keys, values)
        else:
            scaled = queries * queries.shape[-1] ** -0.5
            attended = (scaled @ keys.transpose(-2, -1)).softmax(dim=-1) @ values
        return self.output(attended.transpose(1, 2).flatten(2))


def set_fused_attention(model: nn.Module, fused: bool) -> None:
    """Choose how every attention of a model is computed; both ways give the same result up to rounding.

    Fused is the start and right on GPUs. Plain is right for bfloat16 on a CPU: the fused kernel's backward pass is six
    times slower there than the plain products, and takes longer than all the rest of a step.
    """
    for module in model.modules():
        if isinstance(module, CrossAttention):
            module.fused_attn = fused
        elif isinstance(module, Attention):
            module.fused_attn = fused  # pyright: ignore[reportAttributeAccessIssue]  # Final for TorchScript only.
