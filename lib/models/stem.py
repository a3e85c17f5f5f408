"""The first stages of a CNN in place of the patch embedding: tokens that know pictures before any training.

Not in the paper: small models that cannot be pre-trained as MAE is start from features of a classifier instead.
Source: the hybrid embedding of Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

_TRAINED = "encoder.patch_embed.features."  # where an MMG's weights have the stages
_EXAMPLES = "tf_efficientnet_lite0, mobilenetv2_100, resnet18"


class StemEmbed(nn.Module):
    """Feature maps of a timm CNN, joined on the coarsest one's grid by one linear layer.

    Batch normalisation is part of the convolutions from the start, so that training changes neither its statistics nor
    its scales, and tracking does not compute it.

    Args:
        name: a CNN of timm.
        strides: of the feature maps that make tokens, in px; a finer map enters with all its cells under a token.
        dim: width of the tokens.

    Attributes:
        patch_size: (side, side) of a token in px, the largest stride.

    Raises:
        ValueError: timm has no such CNN, or it has no feature map of such a stride.
    """

    features: Any  # timm states no type with the method for feature maps
    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, strides: Sequence[int], dim: int) -> None:
        super().__init__()
        cnn = _build_cnn(name)
        stages = {stage["reduction"]: index for index, stage in enumerate(cnn.feature_info)}
        widths = [stage["num_chs"] for stage in cnn.feature_info]
        strides = sorted(strides)
        if not strides or not set(strides) <= stages.keys():
            raise ValueError(f"the stem {name!r} has feature maps of strides {', '.join(map(str, stages))}, not "
                             f"{', '.join(map(str, strides))}")  # fmt: skip
        self._name = name
        self._indices = [stages[stride] for stride in strides]
        self._finest: str = cnn.feature_info[self._indices[0]]["module"]
        self._cells = [strides[-1] // stride for stride in strides]  # of each map under a side of a token
        self.patch_size = (strides[-1], strides[-1])
        self.features = self._first_stages(cnn)
        width = sum(widths[index] * cells**2 for index, cells in zip(self._indices, self._cells, strict=True))
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, dim)
        # Images arrive normalised as this project's ViTs want them, and enter the CNN as it was trained.
        mean, std = (torch.tensor(cnn.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        vit_mean, vit_std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        )
        self.register_buffer("scale", vit_std / std, persistent=False)
        self.register_buffer("shift", (vit_mean - mean) / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, S / P, S / P, dim) tokens of normalised images (B, 3, S, S)."""
        images = (images * self.scale + self.shift).contiguous(memory_format=torch.channels_last)
        maps = self.features.forward_intermediates(images, indices=self._indices, intermediates_only=True)
        under_tokens = [functional.pixel_unshuffle(part, cells) for part, cells in zip(maps, self._cells, strict=True)]
        return self.proj(self.norm(torch.cat(under_tokens, dim=1).permute(0, 2, 3, 1)))

    def learn_late_stages(self, learn: bool) -> None:
        """Let the stages after the finest feature map learn, or none; early ones, the dear ones, always stay fixed."""
        names = [name for name, _ in self.features.named_parameters()]
        last_fixed = max(index for index, name in enumerate(names) if name.startswith(f"{self._finest}."))
        for index, parameter in enumerate(self.features.parameters()):
            parameter.requires_grad_(learn and index > last_fixed)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Fill the stages from those of an MMG, or from a classifier, by timm's names or, in timm's order, any others.

        Raises:
            ValueError: they are not the weights of this CNN.
        """
        own = self.features.state_dict()
        trained = {name: value for name in own if (value := state.get(_TRAINED + name)) is not None}
        if {name: value.shape for name, value in trained.items()} == {name: value.shape for name, value in own.items()}:
            self.features.load_state_dict(trained)
            return
        whole = _build_cnn(self._name)
        own = whole.state_dict()
        if state.keys() != own.keys():
            state = dict(zip(own, state.values(), strict=False))
        if [value.shape for value in state.values()] != [value.shape for value in own.values()]:
            raise ValueError(
                f"not the weights of timm's {self._name}, whose tensors have other shapes or another order"
            )
        whole.load_state_dict(dict(state))
        self.features.load_state_dict(self._first_stages(whole).state_dict())

    def _first_stages(self, cnn: Any) -> Any:
        cnn.prune_intermediate_layers(self._indices, prune_norm=True)
        fold_batch_norm(cnn)
        return cnn.to(memory_format=torch.channels_last)


def _build_cnn(name: str) -> Any:
    """Build a CNN of timm, classifier included, with random weights."""
    if not timm.is_model(name):
        raise ValueError(f"the stem {name!r} is no model of timm; try one of {_EXAMPLES}")
    cnn = timm.create_model(name, pretrained=False)
    if not any(isinstance(module, nn.BatchNorm2d) for module in cnn.modules()):
        raise ValueError(f"the stem {name!r} is no CNN with batch normalisation; try one of {_EXAMPLES}")
    return cnn


def fold_batch_norm(network: nn.Module) -> None:
    """Make every batch normalisation of a timm CNN part of the convolution before it, activation apart."""
    network.eval()
    before: nn.Module | None = None
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.BatchNorm2d):
                assert isinstance(before, nn.Conv2d), "a batch normalisation follows its convolution"
                assert module.running_mean is not None and module.running_var is not None
                before.weight, before.bias = fuse_conv_bn_weights(
                    before.weight, before.bias, module.running_mean, module.running_var, module.eps,
                    module.weight, module.bias,
                )  # fmt: skip
                setattr(parent, name, module.act if isinstance(module, BatchNormAct2d) else nn.Identity())
            if not list(module.children()):
                before = module
