"""The joint encoder: one plain ViT over the tokens of all images together; paper section III-A, Eq. (1-3)."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import timm
import torch
from timm.layers.attention import Attention
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lib.models.stem import StemEmbed

PLAIN_VIT_EXAMPLES = ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_large_patch16_224")


class EncoderOutput(NamedTuple):
    """Tokens of each image after the last block and the final normalisation, in row-major order of its grid.

    Attributes:
        template: (B, Lz, D).
        online_template: (B, Lz, D), or None for a two-image tracker.
        search: (B, Lx, D).
    """

    template: Tensor
    online_template: Tensor | None
    search: Tensor


class JointEncoder(nn.Module):
    """A plain timm ViT whose blocks attend over template, online template and search tokens at once.

    There is no class token. The template and the online template share one position table, the search region has
    its own.

    Args:
        name: a plain ViT of timm, such as `vit_base_patch16_224`; the resolution in the name plays no role.
        template_size, search_size: sides of the images in pixels.
        online_template: True for three images, False for a two-image tracker.
        drop_path: stochastic depth of the last block, growing linearly from 0 in the first.
        position: `learned` tables, or `sincos` for fixed two-dimensional sine and cosine ones; `sincos_mae` is the one
            that MAE's weights, and those of MixFormer and CTTrack, were trained with: the same channels in their order.
        token_type: add a learned vector per kind of image.
        dim, depth, num_heads, patch_size: replace the named ViT's own values where given.
        stem, stem_strides: a CNN of timm in place of the patch embedding, and its feature maps; see `StemEmbed`.
        eliminate_at: blocks, counted from 0, behind which candidates are eliminated; in evaluation mode only.
        keep_ratio: share of the candidates that each elimination keeps.
        checkpoint_activations: recompute each block in the backward pass instead of storing it.

    Raises:
        ValueError: the name is no plain ViT, or sizes or blocks do not fit together.
    """

    template_position: Tensor
    search_position: Tensor

    def __init__(
        self,
        name: str = "vit_base_patch16_224",
        *,
        template_size: int,
        search_size: int,
        online_template: bool,
        drop_path: float = 0.0,
        position: Literal["learned", "sincos", "sincos_mae"] = "learned",
        token_type: bool = False,
        dim: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        patch_size: int | None = None,
        stem: str | None = None,
        stem_strides: Sequence[int] = (16,),
        eliminate_at: tuple[int, ...] = (),
        keep_ratio: float = 0.7,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        vit = _plain_vit(name, drop_path, dim, depth, num_heads, patch_size)
        self.dim = vit.embed_dim
        self.num_heads = next(each for each in vit.modules() if isinstance(each, Attention)).num_heads
        self.patch_embed = vit.patch_embed if stem is None else StemEmbed(stem, stem_strides, self.dim)
        self.patch_size = self.patch_embed.patch_size[0]
        self.template_grid = _grid("template_size", template_size, self.patch_size)
        self.search_grid = _grid("search_size", search_size, self.patch_size)
        self.online_template = online_template
        if any(not 0 <= index < len(vit.blocks) - 1 for index in eliminate_at):
            raise ValueError(f"candidates cannot be eliminated behind the blocks {list(eliminate_at)}: those "
                             f"with another behind them are 0 to {len(vit.blocks) - 2}")  # fmt: skip
        self.eliminate_at = eliminate_at
        self.keep_ratio = keep_ratio
        self.checkpoint_activations = checkpoint_activations

        self.norm_pre = vit.norm_pre  # The identity, except in CLIP's ViTs.
        self.blocks = vit.blocks
        self.norm = vit.norm

        if position == "learned":
            self.template_position = nn.Parameter(_random_table(1, self.template_grid**2, self.dim))
            self.search_position = nn.Parameter(_random_table(1, self.search_grid**2, self.dim))
        else:
            for name, grid in (("template_position", self.template_grid), ("search_position", self.search_grid)):
                table = sincos_table(grid, self.dim)
                if position == "sincos_mae":
                    sin_y, sin_x, cos_y, cos_x = table.chunk(4, dim=2)
                    table = torch.cat((sin_x, cos_x, sin_y, cos_y), dim=2)
                self.register_buffer(name, table, persistent=False)
        # Not in the paper: one vector for each of template, online template and search, off by default.
        num_images = 3 if online_template else 2
        self.token_type = nn.Parameter(_random_table(num_images, 1, self.dim)) if token_type else None

    def forward(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> EncoderOutput:
        """Encode normalised images (B, 3, S, S) jointly; three of them exactly when the encoder was built for three."""
        assert (online_template is not None) == self.online_template, "the encoder was built for other inputs"
        images = [self.embed(template, "template")]
        if online_template is not None:
            images.append(self.embed(online_template, "online_template"))
        images.append(self.embed(search, "search"))

        templates = sum(tokens.shape[1] for tokens in images[:-1])
        candidates = self.candidates(templates)
        encoded = self._transform(torch.cat(images, dim=1), candidates)
        encoded_templates = encoded[:, :templates].split(images[0].shape[1], dim=1)
        search = candidates.restore(encoded[:, templates:], images[-1].shape[1])
        return EncoderOutput(encoded_templates[0], encoded_templates[1] if self.online_template else None, search)

    def embed(self, image: Tensor, kind: Literal["template", "online_template", "search"]) -> Tensor:
        """Return the tokens (B, L, D) with which one normalised image (B, 3, S, S) enters the first block."""
        position = self.search_position if kind == "search" else self.template_position
        tokens = self.patch_embed(image).flatten(1, 2) + position
        if self.token_type is None:
            return tokens
        return tokens + self.token_type[{"template": 0, "online_template": 1, "search": -1}[kind]]

    def candidates(self, num_templates: int) -> "Candidates":
        """Return the search tokens of one pass, which has so many template tokens."""
        return Candidates(num_templates, (self.template_grid - 1) // 2 * (self.template_grid + 1), self.keep_ratio)

    def _transform(self, tokens: Tensor, candidates: "Candidates") -> Tensor:
        tokens = self.norm_pre(tokens)
        for index, block in enumerate(self.blocks):
            if self.checkpoint_activations and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            elif index in self.eliminate_at and not self.training:
                assert isinstance(block, Block)
                tokens = take(block(tokens), candidates.eliminate(block, tokens))
            else:
                tokens = block(tokens)
        return self.norm(tokens)


def sincos_table(grid: int, dim: int) -> Tensor:
    """Return the fixed two-dimensional sine and cosine position table (1, grid * grid, dim).

    Raises:
        ValueError: `dim` is no multiple of 4 (sine and cosine of two coordinates).
    """
    if dim % 4:
        raise ValueError(f"a sin-cos position embedding needs a width that is a multiple of 4, not {dim}")
    return build_sincos2d_pos_embed([grid, grid], dim=dim).unsqueeze(0)


def _plain_vit(
    name: str, drop_path: float, dim: int | None, depth: int | None, num_heads: int | None, patch_size: int | None
) -> VisionTransformer:
    """Build the named ViT without its classifier; one that takes images of any size."""
    examples = ", ".join(PLAIN_VIT_EXAMPLES)
    if not timm.models.is_model_in_modules(name, ("vision_transformer", "deit")) or "distilled" in name:
        raise ValueError(f"the encoder {name!r} is no plain ViT of timm; try one of {examples}")
    sizes = {"embed_dim": dim, "depth": depth, "num_heads": num_heads, "patch_size": patch_size}
    overrides: dict[str, Any] = {key: value for key, value in sizes.items() if value is not None}
    try:
        vit = timm.create_model(
            name,
            pretrained=False,
            num_classes=0,
            global_pool="",
            dynamic_img_size=True,
            drop_path_rate=drop_path,
            **overrides,
        )
    except AssertionError as error:  # timm's check that the heads divide the width.
        raise ValueError(f"the encoder {name!r} cannot be built with dim={dim}, num_heads={num_heads}: {error}; "
                         "give both, and a width that is a multiple of the heads") from error  # fmt: skip
    if not isinstance(vit, VisionTransformer) or not all(type(block) is Block for block in vit.blocks):
        raise ValueError(f"the encoder {name!r} has blocks that are not a plain ViT's; try one of {examples}")
    return vit


def _grid(what: str, size: int, patch_size: int) -> int:
    if size % patch_size:
        raise ValueError(f"{what} {size} is no multiple of the patch size {patch_size}")
    return size // patch_size


def _random_table(*shape: int) -> Tensor:
    return nn.init.trunc_normal_(torch.empty(shape), std=0.02)


class Candidates:
    """The search tokens that are left in one pass of the encoder: those that the target attends to.

    Source: Ye et al., "Joint Feature Learning and Relation Modeling for Tracking: A One-Stream Framework", 2022.

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
        width, weights, biases = attention.num_heads * attention.head_dim, attention.qkv.weight, attention.qkv.bias
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
