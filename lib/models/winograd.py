"""A 3 x 3 convolution with 2.25 times fewer multiplications, for CPUs, whose libraries have none such.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; F(2 x 2, 3 x 3) there.
"""

from collections.abc import Sequence as Indexed

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of one dimension: four inputs and three weights become four factors each, and their products two outputs.
_INPUTS = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_WEIGHTS = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OUTPUTS = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])


class WinogradConvolution(nn.Module):
    """Several convolutions of the same features as one; gives their outputs up to rounding, one after another.

    Args:
        convolutions: with a bias, 3 x 3, padded by 1; their weights are read once, here.
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor
    outputs: Tensor

    def __init__(self, convolutions: Indexed[nn.Conv2d]) -> None:
        super().__init__()
        biases = [convolution.bias for convolution in convolutions if convolution.bias is not None]
        assert len(biases) == len(convolutions), "batch normalisation is folded in first, which gives a bias"
        assert all(each.kernel_size == (3, 3) and each.padding == (1, 1) for each in convolutions)
        weight = torch.cat([convolution.weight.detach() for convolution in convolutions])
        factors = _WEIGHTS.to(weight)
        weight = torch.einsum("ri,sj,ocij->rsco", factors, factors, weight).flatten(0, 1).contiguous()
        self.register_buffer("inputs", torch.kron(_INPUTS, _INPUTS).to(weight), persistent=False)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", torch.cat(biases).detach(), persistent=False)
        self.register_buffer("outputs", torch.kron(_OUTPUTS, _OUTPUTS).to(weight), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve (B, C, H, W), whose sides are even, to all outputs' (B, O, H, W), in channels-last layout."""
        batch, channels, height, width = features.shape
        assert height % 2 == 0 and width % 2 == 0, "tiles of 2 x 2 outputs"
        padded = functional.pad(features, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        tiles = padded.unfold(1, 4, 2).unfold(2, 4, 2).permute(4, 5, 0, 1, 2, 3)  # (4, 4, B, H / 2, W / 2, C)
        factors = (self.inputs @ tiles.reshape(16, -1)).view(16, -1, channels)
        products = torch.bmm(factors, self.weight)
        outputs = (self.outputs @ products.view(16, -1)).view(2, 2, batch, height // 2, width // 2, -1)
        return (outputs.permute(2, 3, 0, 4, 1, 5).reshape(batch, height, width, -1) + self.bias).permute(0, 3, 1, 2)
