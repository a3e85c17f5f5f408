"""A trained network made ready to track: the boxes and scores of `MMG.track` up to rounding, in less time."""

from itertools import pairwise
from typing import Literal

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.models.mmg import MMG, TrackOutput


class TrackingNetwork(nn.Module):
    """Takes over a trained model and leaves out what one frame after another does not need.

    - The weights of the blocks' products are stored in the number format of the products, not converted at every frame.
      Patch embedding and head stay in float32: they are a tenth of the products, and in bfloat16 most of the error.
    - Batch normalisation, constant by now, is part of the convolution before it.
    - The tokens with which a template enters are computed when it changes. A template counts as the same while it is
      the same tensor: give a changed one as a new tensor.
    - The last block computes only the tokens that the head, and the score module where there is one, will read.

    Args:
        model: in evaluation mode, on its device; its weights are changed.
        dtype: number format of the blocks' products, or None for float32; normalisation and residual sums are float32.
        compiled: compile the network by torch.compile at the first frame, which takes a minute or more; on a GPU into
            CUDA graphs, one for each batch size.

    Raises:
        ValueError: the model is in training mode.
    """

    def __init__(self, model: MMG, dtype: torch.dtype | None = None, *, compiled: bool = False) -> None:
        super().__init__()
        if model.training:
            raise ValueError("call eval() first: a network that tracks has constant batch statistics")
        self.model = model.without_decoder().requires_grad_(False)
        self.dtype = dtype
        fold_batch_norm(self.model)
        if dtype is not None:
            for module in (*self.model.encoder.blocks.modules(), *_modules(self.model.score)):
                if isinstance(module, nn.Linear):
                    module.to(dtype)
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}
        self._run = self.locate
        if compiled:
            mode = "reduce-overhead" if model.mean.is_cuda else None
            self._run = torch.compile(self.locate, dynamic=False, mode=mode)

    @property
    def score(self) -> nn.Module | None:
        """The score module, or None when the network gives no scores."""
        return self.model.score

    @torch.inference_mode()
    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        """Locate the target in (B, 3, S, S) uint8 search crops, and score them where there is a score module."""
        templates = [self.keep("template", template)]
        if online_template is not None:
            templates.append(self.keep("online_template", online_template))
        return self._run(templates, search)

    def keep(self, kind: Literal["template", "online_template"], image: Tensor) -> Tensor:
        """Return a template's tokens (B, L, D), computed when the tensor is another than the last time."""
        kept = self._kept.get(kind)
        if kept is None or kept[0] is not image:
            kept = self._kept[kind] = (image, self.model.encoder.embed(self.model.normalize(image), kind))
        return kept[1]

    def locate(self, templates: list[Tensor], search: Tensor) -> TrackOutput:
        """Do the work of a frame on the templates' tokens (B, L, D) and a search crop."""
        searched = self.model.encoder.embed(self.model.normalize(search), "search")
        scores = None
        with torch.autocast(search.device.type, self.dtype, enabled=self.dtype is not None):
            encoded_template, encoded_search = self.encode(templates, searched)
            if self.model.score is not None:
                assert encoded_template is not None
                scores = self.model.score(encoded_template, encoded_search).float().sigmoid()
        return TrackOutput(self.model.head(encoded_search.float()).crop_boxes_xyxy, scores)

    def encode(self, templates: list[Tensor], searched: Tensor) -> tuple[Tensor | None, Tensor]:
        """Run the blocks over all images' tokens (B, L, D), and return those of the template, and of the search.

        The template's are None without a score module, which alone reads them.
        """
        encoder = self.model.encoder
        tokens = encoder.norm_pre(torch.cat((*templates, searched), dim=1))
        *blocks, last = encoder.blocks
        for block in blocks:
            tokens = block(tokens)
        assert isinstance(last, Block)
        read = tokens[:, -searched.shape[1] :]
        if self.model.score is None:
            return None, encoder.norm(run_block_for(last, tokens, read))
        length = templates[0].shape[1]
        read = encoder.norm(run_block_for(last, tokens, torch.cat((tokens[:, :length], read), dim=1)))
        return read[:, :length], read[:, length:]


def run_block_for(block: Block, tokens: Tensor, read: Tensor) -> Tensor:
    """Return what a block in evaluation mode makes of some of its tokens (B, R, D), which attend to all (B, L, D)."""
    attention = block.attn
    assert isinstance(attention, Attention) and attention.gate is None, "a plain ViT's attention"
    width = attention.attn_dim
    weights, biases = attention.qkv.weight, attention.qkv.bias
    query = functional.linear(block.norm1(read), weights[:width], None if biases is None else biases[:width])
    context = functional.linear(block.norm1(tokens), weights[width:], None if biases is None else biases[width:])
    heads = (attention.num_heads, attention.head_dim)
    query = query.unflatten(-1, heads).transpose(1, 2)
    key, value = context.unflatten(-1, (2, *heads)).permute(2, 0, 3, 1, 4).unbind(0)
    attended = functional.scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(key), value)
    read = read + block.ls1(attention.proj(attention.norm(attended.transpose(1, 2).flatten(2))))
    return read + block.ls2(block.mlp(block.norm2(read)))


def _modules(module: nn.Module | None) -> list[nn.Module]:
    return [] if module is None else list(module.modules())


def fold_batch_norm(model: nn.Module) -> None:
    """Make every batch normalisation part of the convolution before it, in a model in evaluation mode."""
    for module in model.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index, (first, second) in enumerate(pairwise(list(module))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                module[index] = fuse_conv_bn_eval(first, second).to(memory_format=torch.channels_last)
                module[index + 1] = nn.Identity()
