"""Masked mutual guidance, training only: rebuild masked frames from themselves, then from each other; section III-B."""

from typing import Literal, NamedTuple

import torch
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from lib.models.attention import CrossAttention
from lib.models.encoder import EncoderOutput, sincos_table
from lib.models.noise import sample_uniform

Direction = Literal["online_to_search", "search_to_online"]


class MMGReconstruction(NamedTuple):
    """What the decoders rebuilt, what they should have, and which tokens they had not seen.

    Patches are (B, L, P * P * 3) of the normalised image, in the order of `patchify`; a prediction covers all tokens,
    masked or not. A stage that is off gives None; a frame that does not enter has neither mask nor target.

    Attributes:
        coarse_online, coarse_search: patches after the self-decoder.
        fine_online, fine_search: patches after the guided decoder.
        mask_online, mask_search: (B, L) bool, True where the token was masked.
        target_online, target_search: the true patches.
    """

    coarse_online: Tensor | None
    coarse_search: Tensor | None
    fine_online: Tensor | None
    fine_search: Tensor | None
    mask_online: Tensor | None
    mask_search: Tensor
    target_online: Tensor | None
    target_search: Tensor


class MaskedMutualGuidance(nn.Module):
    """The decoders: a plug-in for a one-stream tracker, with or without an online template. What is off is not built.

    Without an online template only the search region is rebuilt, guided by the template alone.

    Args:
        encoder_dim: width of the encoder's tokens.
        template_grid, search_grid: tokens per side.
        patch_size: side of a patch in pixels.
        dim, num_heads, mlp_ratio: width, heads and feed-forward ratio of all decoder blocks.
        self_depth, guided_depth: number of blocks.
        mask_ratio: share of tokens replaced by the mask token, in [0, 1).
        self_decoder: rebuild each masked frame from itself; its tokens then feed the guided decoder.
        online_to_search: guide the search region by template and online template.
        search_to_online: guide the online template by template and search region.
        guided_self_attention: self-attention in the guided blocks, before the cross-attention.
        share_directions: one guided decoder for both directions.
        normalize_target: normalise each target patch to zero mean and unit variance.
        online_template: False for a two-image tracker.

    Raises:
        ValueError: `dim` cannot be shared out among the heads.
    """

    template_position: Tensor
    search_position: Tensor

    def __init__(
        self,
        *,
        encoder_dim: int,
        template_grid: int,
        search_grid: int,
        patch_size: int,
        dim: int = 512,
        self_depth: int = 8,
        guided_depth: int = 8,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        mask_ratio: float = 0.75,
        self_decoder: bool = True,
        online_to_search: bool = True,
        search_to_online: bool = True,
        guided_self_attention: bool = False,
        share_directions: bool = True,
        normalize_target: bool = False,
        online_template: bool = True,
    ) -> None:
        super().__init__()
        assert self_decoder or online_to_search or search_to_online, "it would rebuild nothing"
        assert online_template or not search_to_online, "there is no online template to rebuild"
        if dim % num_heads:
            raise ValueError(f"the decoder's dim {dim} is no multiple of its num_heads {num_heads}")

        self.patch_size = patch_size
        self.mask_ratio = mask_ratio
        self.online_to_search = online_to_search
        self.search_to_online = search_to_online
        self.normalize_target = normalize_target
        self.online_template = online_template

        self.projection = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("template_position", sincos_table(template_grid, dim), persistent=False)
        self.register_buffer("search_position", sincos_table(search_grid, dim), persistent=False)

        pixels = patch_size**2 * 3
        self.self_decoder = SelfDecoder(dim, self_depth, num_heads, mlp_ratio, pixels) if self_decoder else None
        directions: list[str] = []
        if online_to_search:
            directions.append("shared" if share_directions else "online_to_search")
        if search_to_online:
            directions.append("shared" if share_directions else "search_to_online")
        self.guided_decoders = nn.ModuleDict(
            {
                direction: GuidedDecoder(dim, guided_depth, num_heads, mlp_ratio, pixels, guided_self_attention)
                for direction in dict.fromkeys(directions)
            }
        )
        self.share_directions = share_directions
        self.apply(init_as_mae)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self,
        encoded: EncoderOutput,
        search_image: Tensor,
        online_image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> MMGReconstruction:
        """Mask the encoded frames at random and rebuild their images.

        Args:
            encoded: the encoder's tokens.
            search_image: (B, 3, S, S) normalised search region.
            online_image: (B, 3, S, S) normalised online template; None for a two-image tracker.
            generator: source of the masks; torch's global one when None.
        """
        template = self.projection(encoded.template) + self.template_position
        online = mask_online = target_online = None
        if self.online_template:
            assert encoded.online_template is not None and online_image is not None
            mask_online = self._mask(encoded.online_template, generator)
            target_online = self._target(online_image)
            online = self._embed(encoded.online_template, mask_online, self.template_position)
        mask_search = self._mask(encoded.search, generator)
        search = self._embed(encoded.search, mask_search, self.search_position)

        coarse_online = coarse_search = fine_online = fine_search = None
        if self.self_decoder is not None:
            search = self.self_decoder(search)
            coarse_search = self.self_decoder.to_pixels(search)
            if online is not None:
                online = self.self_decoder(online)
                coarse_online = self.self_decoder.to_pixels(online)
        if self.online_to_search:
            guided = self.guide(search, template, online, "online_to_search")
            fine_search = self._guided_decoder("online_to_search").to_pixels(guided)
        if self.search_to_online:
            assert online is not None
            guided = self.guide(online, template, search, "search_to_online")
            fine_online = self._guided_decoder("search_to_online").to_pixels(guided)
        target_search = self._target(search_image)
        return MMGReconstruction(coarse_online, coarse_search, fine_online, fine_search, mask_online, mask_search,
                                 target_online, target_search)  # fmt: skip

    def guide(
        self, query: Tensor, template: Tensor, reference: Tensor | None, direction: Direction = "online_to_search"
    ) -> Tensor:
        """Refine one frame's coarse reconstruction by attending to the target seen elsewhere; Eq. (4).

        Args:
            query: (B, Lq, D) self-decoded tokens of the frame being rebuilt.
            template: (B, Lz, D) projected encoder tokens of the first frame, never masked.
            reference: (B, Lr, D) self-decoded tokens of the other frame; None where the template alone guides.
            direction: which frame guides which; selects the weights unless the directions share them.

        Returns:
            (B, Lq, D) refined tokens, in the order of `query`.
        """
        context = template if reference is None else torch.cat((template, reference), dim=1)
        return self._guided_decoder(direction)(query, context)

    def _guided_decoder(self, direction: Direction) -> "GuidedDecoder":
        decoder = self.guided_decoders["shared" if self.share_directions else direction]
        assert isinstance(decoder, GuidedDecoder)
        return decoder

    def _mask(self, tokens: Tensor, generator: torch.Generator | None) -> Tensor:
        batch, length, _ = tokens.shape
        return random_mask(batch, length, self.mask_ratio, generator, tokens.device)

    def _embed(self, tokens: Tensor, masked: Tensor, position: Tensor) -> Tensor:
        """Project the tokens, replace the masked ones by the mask token, add the position of each."""
        projected = self.projection(tokens)
        return torch.where(masked.unsqueeze(-1), self.mask_token.to(projected.dtype), projected) + position

    def _target(self, image: Tensor) -> Tensor:
        patches = patchify(image, self.patch_size)
        if not self.normalize_target:
            return patches
        mean = patches.mean(dim=-1, keepdim=True)
        variance = patches.var(dim=-1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()


class SelfDecoder(nn.Module):
    """f_s: ViT blocks over the tokens of one masked frame; `to_pixels` reads its coarse reconstruction."""

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_ratio: float, pixels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(dim, num_heads, mlp_ratio, qkv_bias=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.to_pixels = nn.Linear(dim, pixels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the frame's (B, L, D) decoded tokens."""
        return self.norm(self.blocks(tokens))


class GuidedDecoder(nn.Module):
    """f_g: guided blocks over the tokens of one frame; `to_pixels` reads its fine reconstruction."""

    def __init__(
        self, dim: int, depth: int, num_heads: int, mlp_ratio: float, pixels: int, self_attention: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(GuidedBlock(dim, num_heads, mlp_ratio, self_attention) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.to_pixels = nn.Linear(dim, pixels)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Return `query` (B, Lq, D) refined by what `context` (B, Lc, D) shows; the context stays as it is."""
        for block in self.blocks:
            query = block(query, context)
        return self.norm(query)


class GuidedBlock(nn.Module):
    """A pre-norm block: optional self-attention, cross-attention to the context, feed-forward; each with a residual."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0, self_attention: bool = False) -> None:
        super().__init__()
        # Not in the paper: Eq. (4) shows cross-attention only; this is an option, off by default.
        self.self_norm = nn.LayerNorm(dim) if self_attention else None
        self.self_attention = CrossAttention(dim, num_heads) if self_attention else None
        self.query_norm = nn.LayerNorm(dim)
        self.context_norm = nn.LayerNorm(dim)
        self.cross_attention = CrossAttention(dim, num_heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Return (B, Lq, D) for a query (B, Lq, D) and a context (B, Lc, D)."""
        if self.self_norm is not None and self.self_attention is not None:
            own = self.self_norm(query)
            query = query + self.self_attention(own, own)
        query = query + self.cross_attention(self.query_norm(query), self.context_norm(context))
        return query + self.mlp(self.mlp_norm(query))


def random_mask(
    batch: int, length: int, mask_ratio: float, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Draw for each row the positions to mask.

    The noise is drawn where the generator lives, so a CPU generator gives the same masks on every device.

    Returns:
        (batch, length) bool, True = masked; every row keeps exactly int(length * (1 - mask_ratio)) positions.
    """
    kept = int(length * (1 - mask_ratio) + 1e-6)  # 10 tokens at 0.9 keep 1, although 10 * (1 - 0.9) < 1 in floats.
    noise = sample_uniform(batch, length, generator, device)
    order = noise.to(device).argsort(dim=1)
    return torch.ones(batch, length, dtype=torch.bool, device=device).scatter_(1, order[:, :kept], False)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut (B, C, H, W) images into (B, L, P * P * C) patches: row-major over the grid, then row, column, channel."""
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // patch_size, patch_size, width // patch_size, patch_size)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch_size**2 * channels)


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """Invert `patchify` for square images: (B, L, P * P * C) to (B, C, S, S)."""
    batch, length, values = patches.shape
    side = round(length**0.5)
    grid = patches.reshape(batch, side, side, patch_size, patch_size, values // patch_size**2)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, side * patch_size, side * patch_size)


def init_as_mae(module: nn.Module) -> None:
    """Start a linear layer as MAE does; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
