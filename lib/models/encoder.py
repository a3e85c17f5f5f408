"""The joint encoder: one plain ViT over the tokens of all images together; paper section III-A, Eq. (1-3)."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import timm
import torch
from timm.layers.attention import Attention
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lib.models.elimination import Candidates, take
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
        self.num_heads = _attentions(vit.blocks)[0].num_heads
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

    def candidates(self, num_templates: int) -> Candidates:
        """Return the search tokens of one pass, which has so many template tokens."""
        return Candidates(num_templates, (self.template_grid - 1) // 2 * (self.template_grid + 1), self.keep_ratio)

    def _transform(self, tokens: Tensor, candidates: Candidates) -> Tensor:
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


def _attentions(blocks: nn.Sequential) -> list[Attention]:
    return [module for module in blocks.modules() if isinstance(module, Attention)]


def _grid(what: str, size: int, patch_size: int) -> int:
    if size % patch_size:
        raise ValueError(f"{what} {size} is no multiple of the patch size {patch_size}")
    return size // patch_size


def _random_table(*shape: int) -> Tensor:
    return nn.init.trunc_normal_(torch.empty(shape), std=0.02)
