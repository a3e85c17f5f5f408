"""Masked mutual guidance: what is masked, who guides whom, and what the switches build."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from lib.models.decoder import GuidedBlock, MaskedMutualGuidance, MMGReconstruction, patchify, random_mask, unpatchify
from lib.models.encoder import EncoderOutput

BATCH, TEMPLATE_GRID, SEARCH_GRID, PATCH, DIM = 3, 4, 8, 4, 16
# Table IV: self-decoder, online to search, search to online.
TABLE_IV = [(True, False, False), (True, True, False), (True, False, True), (False, True, True), (True, True, True)]


def tiny(
    self_decoder: bool = True, online_to_search: bool = True, search_to_online: bool = True, **changes
) -> MaskedMutualGuidance:
    settings = {"encoder_dim": 24, "template_grid": TEMPLATE_GRID, "search_grid": SEARCH_GRID, "patch_size": PATCH,
                "dim": DIM, "self_depth": 1, "guided_depth": 2, "num_heads": 2}  # fmt: skip
    torch.manual_seed(0)
    return MaskedMutualGuidance(
        self_decoder=self_decoder,
        online_to_search=online_to_search,
        search_to_online=search_to_online,
        **{**settings, **changes},
    )


def encoded(online: bool = True) -> EncoderOutput:
    generator = torch.Generator().manual_seed(1)
    template, online_template = torch.randn(2, BATCH, TEMPLATE_GRID**2, 24, generator=generator)
    search = torch.randn(BATCH, SEARCH_GRID**2, 24, generator=generator)
    return EncoderOutput(
        template.requires_grad_(), online_template.requires_grad_() if online else None, search.requires_grad_()
    )


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    online_image = torch.randn(BATCH, 3, TEMPLATE_GRID * PATCH, TEMPLATE_GRID * PATCH, generator=generator)
    return torch.randn(BATCH, 3, SEARCH_GRID * PATCH, SEARCH_GRID * PATCH, generator=generator), online_image


def rebuild(decoder: MaskedMutualGuidance, tokens: EncoderOutput, seed: int = 3) -> MMGReconstruction:
    search_image, online_image = images()
    generator = torch.Generator().manual_seed(seed)
    return decoder(tokens, search_image, online_image if tokens.online_template is not None else None, generator)


def predictions(output: MMGReconstruction) -> dict[str, Tensor]:
    named = output._asdict().items()
    return {name: patches for name, patches in named if name.startswith(("coarse", "fine")) and patches is not None}


def total(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum()


@pytest.mark.parametrize(("length", "mask_ratio", "kept"), [
    (64, 0.75, 16), (256, 0.75, 64), (64, 0.5, 32), (64, 0.0, 64), (10, 0.9, 1), (10, 0.25, 7), (49, 0.75, 12),
])  # fmt: skip
def test_every_row_keeps_exactly_the_stated_count(length, mask_ratio, kept):
    masked = random_mask(50, length, mask_ratio, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert masked.dtype == torch.bool
    assert (~masked).sum(dim=1).tolist() == [kept] * 50


def test_masks_are_drawn_anew_for_every_row_uniformly_and_from_the_generator_alone():
    def draw(seed: int) -> Tensor:
        return random_mask(4000, 16, 0.75, torch.Generator().manual_seed(seed), torch.device("cpu"))

    masked = draw(0)
    assert torch.equal(masked, draw(0)) and not torch.equal(masked, draw(1))
    assert len(masked.unique(dim=0)) > 1000
    # Three standard deviations of a share of 0.75 in 4000 draws are 0.0205.
    assert (masked.float().mean(dim=0) - 0.75).abs().amax() < 0.03


def test_what_masked_tokens_held_reaches_no_reconstruction():
    decoder, tokens = tiny(), encoded()
    first = rebuild(decoder, tokens)
    assert tokens.online_template is not None and first.mask_online is not None
    noise = torch.randn(BATCH, SEARCH_GRID**2, 24)
    changed = EncoderOutput(
        tokens.template,
        tokens.online_template + first.mask_online.unsqueeze(-1) * noise[:, : TEMPLATE_GRID**2],
        tokens.search + first.mask_search.unsqueeze(-1) * noise,
    )
    for name, patches in predictions(rebuild(decoder, changed)).items():
        assert torch.equal(patches, predictions(first)[name]), name
    # Positions are kept: what a visible token held does reach every reconstruction of its frame.
    changed = EncoderOutput(
        tokens.template,
        tokens.online_template + ~first.mask_online.unsqueeze(-1) * noise[:, : TEMPLATE_GRID**2],
        tokens.search + ~first.mask_search.unsqueeze(-1) * noise,
    )
    for name, patches in predictions(rebuild(decoder, changed)).items():
        assert (patches - predictions(first)[name]).abs().amax(dim=(1, 2)).amin() > 1e-4, name


@pytest.mark.parametrize("mask_ratio", [0.0, 0.75, 0.95])
def test_the_template_is_never_masked(mask_ratio):
    decoder, tokens = tiny(mask_ratio=mask_ratio), encoded()
    contexts: list[Tensor] = []
    guided = decoder.guided_decoders["shared"]
    guided.register_forward_pre_hook(lambda _, inputs: contexts.append(inputs[1]))
    rebuild(decoder, tokens)
    expected = decoder.projection(tokens.template) + decoder.template_position
    assert [context.shape[1] for context in contexts] == [16 + 16, 16 + 64]
    for context in contexts:
        torch.testing.assert_close(context[:, :16], expected, rtol=0, atol=0)


@pytest.mark.parametrize("self_decoder", [True, False])
@pytest.mark.parametrize("share_directions", [True, False])
def test_the_online_template_sees_the_search_frame_only_when_that_direction_is_on(self_decoder, share_directions):
    tokens = encoded()
    assert tokens.online_template is not None
    both = rebuild(tiny(self_decoder, share_directions=share_directions), tokens)
    assert both.fine_online is not None and both.fine_search is not None
    assert gradient_size(both.fine_online, tokens.search) > 1e-4
    assert gradient_size(both.fine_search, tokens.online_template) > 1e-4
    assert gradient_size(both.fine_online, tokens.template) > 1e-4
    assert gradient_size(both.fine_search, tokens.template) > 1e-4
    if self_decoder:
        one_way = rebuild(tiny(search_to_online=False), tokens)
        assert one_way.fine_online is None and one_way.coarse_online is not None
        assert gradient_size(one_way.coarse_online, tokens.search) == 0
        assert one_way.coarse_search is not None and one_way.fine_search is not None
        assert gradient_size(one_way.coarse_search, tokens.online_template) == 0
        assert gradient_size(one_way.fine_search, tokens.online_template) > 1e-4


def gradient_size(patches: Tensor, tokens: Tensor) -> float:
    (gradient,) = torch.autograd.grad(patches.square().sum(), tokens, retain_graph=True, allow_unused=True)
    return 0.0 if gradient is None else gradient.abs().amax().item()


def test_without_an_online_template_the_template_alone_guides_the_search():
    decoder, tokens = tiny(search_to_online=False, online_template=False), encoded(online=False)
    output = rebuild(decoder, tokens)
    assert set(predictions(output)) == {"coarse_search", "fine_search"}
    assert output.mask_online is None and output.target_online is None
    assert output.coarse_search is not None and output.fine_search is not None
    assert gradient_size(output.fine_search, tokens.template) > 1e-4
    assert gradient_size(output.coarse_search, tokens.template) == 0


def test_guiding_refines_each_token_by_itself_unless_self_attention_is_asked_for():
    torch.manual_seed(0)
    query, template, reference = torch.randn(1, 5, DIM), torch.randn(1, 3, DIM), torch.randn(1, 4, DIM)
    other = query.clone()
    other[:, 0] = torch.randn(DIM)
    for self_attention in (False, True):
        decoder = tiny(guided_self_attention=self_attention)
        difference = decoder.guide(query, template, reference) - decoder.guide(other, template, reference)
        assert difference[:, 0].abs().amax() > 1e-3
        others = difference[:, 1:].abs().amax()
        assert others > 1e-3 if self_attention else others < 1e-6


@pytest.mark.parametrize("row", TABLE_IV)
@pytest.mark.parametrize("share_directions", [True, False])
def test_each_row_rebuilds_what_it_names_with_no_idle_parameter(row, share_directions):
    self_decoder, online_to_search, search_to_online = row
    decoder, tokens = tiny(*row, share_directions=share_directions), encoded()
    output = rebuild(decoder, tokens)
    expected = {"coarse_online", "coarse_search"} if self_decoder else set()
    expected |= {"fine_search"} if online_to_search else set()
    expected |= {"fine_online"} if search_to_online else set()
    assert set(predictions(output)) == expected
    for name, patches in predictions(output).items():
        target = output.target_online if name.endswith("online") else output.target_search
        assert target is not None and patches.shape == target.shape
    total(predictions(output).values()).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_separate_directions_have_their_own_weights_and_what_is_off_is_not_built():
    assert set(tiny().guided_decoders) == {"shared"}
    assert set(tiny(share_directions=False).guided_decoders) == {"online_to_search", "search_to_online"}
    assert set(tiny(online_to_search=False, share_directions=False).guided_decoders) == {"search_to_online"}
    assert not tiny(online_to_search=False, search_to_online=False).guided_decoders
    assert tiny(self_decoder=False).self_decoder is None


def test_heads_that_cannot_share_the_width_are_refused():
    with pytest.raises(ValueError, match="num_heads 3"):
        tiny(num_heads=3)


def test_patches_run_along_rows_and_hold_row_column_channel():
    image = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).view(2, 3, 4, 6)
    patches = patchify(image, 2)
    assert patches.shape == (2, 6, 12)
    # Patch 4 of image 1 is grid row 1, column 1: pixel rows 2-3, columns 2-3.
    assert patches[1, 4].tolist() == [
        image[1, c, 2 + i, 2 + j].item() for i in (0, 1) for j in (0, 1) for c in (0, 1, 2)
    ]
    square = torch.randn(2, 3, 12, 12)
    assert torch.equal(unpatchify(patchify(square, 4), 4), square)


def test_targets_are_the_input_or_its_patches_standardised():
    search_image, online_image = images()
    output = rebuild(tiny(), encoded())
    assert output.target_online is not None
    assert torch.equal(unpatchify(output.target_search, PATCH), search_image)
    assert torch.equal(unpatchify(output.target_online, PATCH), online_image)
    target = rebuild(tiny(normalize_target=True), encoded()).target_search
    patches = patchify(search_image, PATCH)
    expected = (patches - patches.mean(-1, keepdim=True)) / patches.std(-1, keepdim=True)
    torch.testing.assert_close(target, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("self_attention", [False, True])
def test_guided_block_equals_torchs_attention_with_the_same_weights(self_attention):
    torch.manual_seed(0)
    dim, heads = 24, 3
    block = GuidedBlock(dim, heads, 2.0, self_attention)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    query, context = torch.randn(2, 5, dim), torch.randn(2, 7, dim)

    def attend(layer, tokens: Tensor, source: Tensor) -> Tensor:
        reference = nn.MultiheadAttention(dim, heads, batch_first=True)
        weights = {f"in_proj_{kind}": torch.cat([getattr(layer.query, kind), getattr(layer.key_value, kind)])
                   for kind in ("weight", "bias")}  # fmt: skip
        weights |= {"out_proj.weight": layer.output.weight, "out_proj.bias": layer.output.bias}
        reference.load_state_dict(weights)
        return reference(tokens, source, source)[0]

    expected = query
    if block.self_norm is not None:
        own = block.self_norm(query)
        expected = query + attend(block.self_attention, own, own)
    expected = expected + attend(block.cross_attention, block.query_norm(expected), block.context_norm(context))
    hidden = nn.functional.gelu(block.mlp.fc1(block.mlp_norm(expected)))
    expected = expected + block.mlp.fc2(hidden)
    torch.testing.assert_close(block(query, context), expected)
