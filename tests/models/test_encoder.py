"""The joint encoder: equal to timm's ViT on one image, truly joint on three."""

import numpy as np
import pytest
import timm
import torch
from timm.layers.drop import DropPath
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from lib.models.encoder import JointEncoder, sincos_table


def tiny(name: str = "vit_tiny_patch16_224", **changes) -> JointEncoder:
    settings = {"template_size": 32, "search_size": 64, "online_template": True, "depth": 2, "dim": 32, "num_heads": 2}
    torch.manual_seed(0)
    return JointEncoder(name, **{**settings, **changes}).eval()


def images(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    template, online_template = torch.randn(2, batch, 3, 32, 32, generator=generator)
    return template, torch.randn(batch, 3, 64, 64, generator=generator), online_template


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_xsmall_patch16_clip_224", "vit_medium_patch16_gap_240"])
def test_one_image_equals_the_vit_of_timm_with_the_same_weights(name):
    encoder = tiny(name)
    vit = timm.create_model(
        name, class_token=False, global_pool="", num_classes=0, img_size=64, depth=2, embed_dim=32, num_heads=2
    ).eval()
    assert isinstance(vit, VisionTransformer)
    state = encoder.state_dict()
    state["pos_embed"] = state.pop("search_position")
    del state["template_position"]
    vit.load_state_dict(state)

    search = images()[1]
    alone = nn.Sequential(encoder.norm_pre, encoder.blocks, encoder.norm)(encoder.embed(search, "search"))
    torch.testing.assert_close(alone, vit.forward_features(search), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_xsmall_patch16_clip_224"])
def test_three_images_equal_the_blocks_over_one_row_of_tokens(name):
    encoder = tiny(name)
    template, search, online_template = images()
    rows = [
        encoder.patch_embed(image).flatten(1, 2) + position
        for image, position in (
            (template, encoder.template_position),
            (online_template, encoder.template_position),
            (search, encoder.search_position),
        )
    ]
    expected = encoder.norm(encoder.blocks(encoder.norm_pre(torch.cat(rows, dim=1))))
    output = encoder(template, search, online_template)
    torch.testing.assert_close(output.template, expected[:, :4])
    torch.testing.assert_close(output.online_template, expected[:, 4:8])
    torch.testing.assert_close(output.search, expected[:, 8:])


def test_exchanging_the_templates_exchanges_their_tokens_unless_they_carry_a_type():
    template, search, online_template = images()
    for token_type, same in ((False, True), (True, False)):
        encoder = tiny(token_type=token_type)
        one = encoder(template, search, online_template)
        other = encoder(online_template, search, template)
        assert torch.allclose(one.template, other.online_template, atol=1e-5) is same
        assert torch.allclose(one.search, other.search, atol=1e-5) is same


def test_every_output_sees_every_image():
    encoder = tiny()
    inputs = [image.requires_grad_() for image in images()]
    for tokens in encoder(*inputs):
        for gradient in torch.autograd.grad(tokens[..., 0].sum(), inputs, retain_graph=True):
            assert gradient.abs().amax() > 1e-5


def test_two_images_have_no_online_tokens_and_refuse_a_third_image():
    encoder = tiny(online_template=False, token_type=True)
    template, search, online_template = images()
    output = encoder(template, search)
    assert output.online_template is None
    assert output.template.shape == (2, 4, 32) and output.search.shape == (2, 16, 32)
    assert encoder.token_type is not None and encoder.token_type.shape == (2, 1, 32)
    with pytest.raises(AssertionError):
        encoder(template, search, online_template)


def test_recomputing_activations_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        encoder = tiny(checkpoint_activations=recompute, drop_path=0.3).train()
        torch.manual_seed(5)
        encoder(*images())[2].square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in encoder.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=0)


def test_drop_path_grows_linearly_to_the_given_rate():
    paths = [block.drop_path1 for block in tiny(drop_path=0.3, depth=4).blocks if isinstance(block, Block)]
    rates = [path.drop_prob if isinstance(path, DropPath) else 0.0 for path in paths]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_fixed_positions_are_no_weights_and_tell_all_cells_apart():
    state = tiny(position="sincos").state_dict()
    assert "template_position" not in state and "search_position" not in state
    table = sincos_table(8, 32)[0]
    distances = torch.cdist(table, table) + 10 * torch.eye(64)
    assert distances.amin() > 0.1
    # Fixed means the same whatever the seed, and the two coordinates are told apart.
    assert not torch.allclose(table.view(8, 8, 32), table.view(8, 8, 32).transpose(0, 1))


@pytest.mark.parametrize(  # the third has parallel blocks
    "name", ["resnet50", "swin_tiny_patch4_window7_224", "vit_small_patch16_18x2_224",
             "deit_tiny_distilled_patch16_224", "vit_bse_patch16_224", ""]
)  # fmt: skip
def test_other_networks_are_refused_with_names_that_work(name):
    with pytest.raises(ValueError, match="vit_base_patch16_224") as caught:
        JointEncoder(name, template_size=128, search_size=256, online_template=True)
    assert repr(name) in str(caught.value)


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"template_size 40 .* 16"):
        tiny(template_size=40)
    with pytest.raises(ValueError, match=r"search_size 100 .* 16"):
        tiny(search_size=100)
    with pytest.raises(ValueError, match="dim=100, num_heads=3"):
        tiny(dim=100, num_heads=3)
    with pytest.raises(ValueError, match="multiple of 4, not 30"):
        tiny(dim=30, num_heads=2, position="sincos")


def test_overrides_reach_the_vit():
    encoder = tiny(dim=48, depth=3, num_heads=4, patch_size=8)
    assert (encoder.dim, len(encoder.blocks), encoder.num_heads, encoder.patch_size) == (48, 3, 4, 8)
    assert (encoder.template_grid, encoder.search_grid) == (4, 8)
    output = encoder(*images())
    assert output.template.shape == (2, 16, 48) and output.search.shape == (2, 64, 48)


def test_the_table_of_mae_is_its_published_formula_and_the_plain_one_stays():
    """`get_2d_sincos_pos_embed` of MAE: the meshgrid puts x first, and each half is the sines, then the cosines."""
    encoder = tiny(position="sincos_mae")
    grid, dim = encoder.search_grid, encoder.dim
    x, y = np.meshgrid(np.arange(grid, dtype=float), np.arange(grid, dtype=float))
    rates = 1 / 10000 ** (np.arange(dim // 4) / (dim / 4))
    angles_x, angles_y = x.reshape(-1, 1) * rates, y.reshape(-1, 1) * rates
    expected = np.hstack((np.sin(angles_x), np.cos(angles_x), np.sin(angles_y), np.cos(angles_y)))
    np.testing.assert_allclose(encoder.search_position[0].numpy(), expected, atol=1e-5)
    before = np.hstack((np.sin(angles_y), np.sin(angles_x), np.cos(angles_y), np.cos(angles_x)))
    np.testing.assert_allclose(tiny(position="sincos").search_position[0].numpy(), before, atol=1e-5)
    assert "search_position" not in encoder.state_dict()
