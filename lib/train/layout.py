"""How a network lies in memory, and is compiled, while it trains on a device."""

import torch
from torch import nn

from lib.models.attention import set_fused_attention
from lib.models.compiling import compile_parts
from lib.models.mmg import MMG


def prepare_network(model: nn.Module, device: torch.device, *, compiled: bool) -> None:
    """Choose attention and layout by what was measured on each kind of device (LOG.md), and compile if wanted."""
    # On CPUs the fused attention's bfloat16 backward pass is slower than the plain products.
    set_fused_attention(model, device.type != "cpu")
    if device.type == "cuda" and isinstance(model, MMG):
        # Tokens arrive at the head with channels last; convolutions that agree need not copy them, and matrix
        # units want it so. On CPUs it gains a tenth at the paper's size and nothing at small ones.
        model.head.to(memory_format=torch.channels_last)
    if compiled:
        compile_parts(model)
