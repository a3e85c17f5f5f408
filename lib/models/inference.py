"""A trained network made ready to track: the boxes and scores of `MMG.track` up to rounding, in less time."""

from collections.abc import Sequence as Indexed
from itertools import pairwise
from typing import Literal

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.models.compiling import compile_frame
from lib.models.encoder import take
from lib.models.head import CornerBranch, CornerOutput, PyramidCornerHead, read_corners
from lib.models.mmg import MMG, TrackOutput
from lib.models.score import BoxScore, ScoreModule

# Of one dimension: four inputs and three weights become four factors each, and their products two outputs.
_INPUTS = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_WEIGHTS = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OUTPUTS = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])


class TrackingNetwork(nn.Module):
    """Takes over a trained model and leaves out what one frame after another does not need.

    - The weights of the blocks' products are stored in the number format of the products, not converted at every frame.
      Patch embedding and head stay in float32: they are a tenth of the products, and in bfloat16 most of the error.
    - Batch normalisation, constant by now, is part of the convolution before it. The widest convolutions of the head
      are one, which is enough work at once for a GPU; on a CPU it is computed with 2.25 times fewer products.
    - The tokens with which a template enters are computed when it changes. A template counts as the same while it is
      the same tensor: give a changed one as a new tensor.
    - The last blocks of encoder and score module compute only the tokens that somebody reads.

    Args:
        model: in evaluation mode, on its device; its weights are changed.
        dtype: number format of the blocks' products, or None for float32; normalisation and residual sums are float32.
        compiled: compile the network by torch.compile at the first frame of each batch size, which takes half a
            minute or more: on a GPU into a CUDA graph, on a CPU with weights packed for its matrix units.
        graph: False for kernels compiled on a GPU, but launched one by one.

    Raises:
        ValueError: the model is in training mode, or it is to be compiled where there is no compiler.
    """

    def __init__(
        self, model: MMG, dtype: torch.dtype | None = None, *, compiled: bool = False, graph: bool = True
    ) -> None:
        super().__init__()
        if model.training:
            raise ValueError("call eval() first: a network that tracks has constant batch statistics")
        self.model = model.without_decoder().requires_grad_(False)
        fold_batch_norm(self.model)
        encoder, head = self.model.encoder, self.model.head
        self.head = TrackingHead(head) if isinstance(head, PyramidCornerHead) else head
        score = self.model.score
        self.rate = None if score is None else TrackingScore(score)
        if dtype is not None:
            set_products_dtype(encoder.blocks, dtype)
            if isinstance(score, ScoreModule):
                set_products_dtype(score.blocks, dtype)
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}
        self._run = compile_frame(self.locate, model.mean.device, graph=graph) if compiled else self.locate

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
        encoded_template, encoded_search = self.encode(templates, searched)
        crop_boxes_xyxy = self.head(encoded_search).tracked_boxes_xyxy
        scores = None
        if self.rate is not None:
            scores = self.rate(encoded_template, encoded_search, crop_boxes_xyxy)
        return TrackOutput(crop_boxes_xyxy, scores)

    def encode(self, templates: list[Tensor], searched: Tensor) -> tuple[Tensor | None, Tensor]:
        """Run the blocks over all images' tokens (B, L, D), and return those of the template, and of the search.

        The template's are None without a score module, which alone reads them.
        """
        encoder = self.model.encoder
        tokens = encoder.norm_pre(torch.cat((*templates, searched), dim=1))
        num_templates = tokens.shape[1] - searched.shape[1]
        candidates = encoder.candidates(num_templates)
        *blocks, last = encoder.blocks.children()
        for index, block in enumerate(blocks):
            assert isinstance(block, Block)
            read = take(tokens, candidates.eliminate(block, tokens)) if index in encoder.eliminate_at else None
            tokens = run_block(block, tokens, read)
        assert isinstance(last, Block)
        read = tokens[:, num_templates:]
        if self.rate is None:
            return None, candidates.restore(encoder.norm(run_block(last, tokens, read)), searched.shape[1])
        length = templates[0].shape[1]
        read = encoder.norm(run_block(last, tokens, torch.cat((tokens[:, :length], read), dim=1)))
        return read[:, :length], candidates.restore(read[:, length:], searched.shape[1])


def fold_batch_norm(model: nn.Module) -> None:
    """Make every batch normalisation part of the convolution before it, in a model in evaluation mode."""
    for module in model.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index, (first, second) in enumerate(pairwise(list(module))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                module[index] = fuse_conv_bn_eval(first, second).to(memory_format=torch.channels_last)
                module[index + 1] = nn.Identity()


def run_block(block: Block, tokens: Tensor, read: Tensor | None = None) -> Tensor:
    """Return what a block in evaluation mode makes of its tokens (B, L, D), or of some of them.

    Sums and normalisation keep the tokens' number format; products are made in the format of the weights.

    Args:
        block: whose attention and MLP are in one format.
        tokens: (B, L, D) to attend to.
        read: (B, R, D) those among them that somebody reads; None for all.
    """
    attention = block.attn
    assert isinstance(attention, Attention), "a plain ViT's attention"
    width, dtype = attention.num_heads * attention.head_dim, attention.qkv.weight.dtype
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
    """A score module; where it has blocks, the last computes the class token alone, which alone is read."""

    def __init__(self, score: ScoreModule | BoxScore) -> None:
        super().__init__()
        self.score = score

    def forward(self, template_tokens: Tensor, search_tokens: Tensor, crop_boxes_xyxy: Tensor) -> Tensor:
        """Return (B,) scores in [0, 1] for encoder tokens (B, Lz, D) and (B, Lx, D) and predicted boxes (B, 4)."""
        if isinstance(self.score, BoxScore):
            return self.score(template_tokens, search_tokens, crop_boxes_xyxy).sigmoid()
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
    """A head whose six convolutions of the search tokens, nine tenths of its products, are one.

    Args:
        head: in evaluation mode, its batch normalisation folded into the convolutions.
    """

    def __init__(self, head: PyramidCornerHead) -> None:
        super().__init__()
        self.head = head
        convolutions = [*_first(head.top_left), *_first(head.bottom_right)]
        # GPU libraries have their own ways to fewer products.
        on_cpu = convolutions[0].weight.device.type == "cpu"
        self.first = (WinogradConvolution if on_cpu and head.grid % 2 == 0 else join_convolutions)(convolutions)
        self.widths = [convolution.out_channels for convolution in convolutions]

    def forward(self, search_tokens: Tensor) -> CornerOutput:
        """Predict from (B, grid * grid, D) search tokens in row-major order."""
        maps = self.first(self.head.arrange(search_tokens)).relu().split(self.widths, dim=1)
        return read_corners(self.head.top_left.merge(*maps[:3]), self.head.bottom_right.merge(*maps[3:]))


def _first(branch: CornerBranch) -> list[nn.Conv2d]:
    """Return a branch's convolutions of the features, in the order in which `CornerBranch.merge` takes their maps."""
    layers = (branch.coarse[0], branch.middle_lateral, branch.fine_lateral)
    return [convolution for layer in layers for convolution in layer.children() if isinstance(convolution, nn.Conv2d)]


def join_convolutions(convolutions: Indexed[nn.Conv2d]) -> nn.Conv2d:
    """Return 3 x 3 convolutions of the same features, with a bias, as one."""
    states = [convolution.state_dict() for convolution in convolutions]
    state = {name: torch.cat([each[name] for each in states]) for name in ("weight", "bias")}
    outputs, inputs = state["weight"].shape[:2]
    joined = nn.Conv2d(inputs, outputs, 3, padding=1, device=state["weight"].device).requires_grad_(False)
    joined.load_state_dict(state)
    return joined.to(memory_format=torch.channels_last)


class WinogradConvolution(nn.Module):
    """Several 3 x 3 convolutions of the same features as one, with 2.25 times fewer products; equal up to rounding.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; F(2 x 2, 3 x 3) there.

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
