"""The network made ready to track gives the model's own boxes and scores, and leaves out what nobody reads."""

import copy

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import nn

from lib.models.build import build_model
from lib.models.inference import TrackingNetwork, fold_batch_norm
from lib.models.mmg import MMG
from lib.models.precision import tracking_dtype
from lib.models.tracking_parts import TrackingHead, run_block

CPU = torch.device("cpu")
VARIANTS = {
    "no score": ("model.score.enabled=false",),
    "score": ("model.score.enabled=true",),
    "token types": ("model.encoder.token_type=true",),
    "sin-cos": ("model.encoder.position=sincos",),
    "two images": ("model.online_template=false", "model.decoder.search_to_online=false", "track.update=none"),
}


@pytest.fixture
def trained(small_experiment):
    """Build a model whose batch statistics are those of some training."""

    def build(*settings: str) -> MMG:
        torch.manual_seed(0)
        model = build_model(small_experiment(*settings))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 3)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.3)
        return model.eval()

    return build


def images(model: MMG, batch: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    template, search, online = (
        torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator) for size in (32, 64, 32)
    )
    return template, search, online if model.encoder.online_template else None


@pytest.mark.parametrize("variant", VARIANTS)
def test_float32_gives_the_model_s_own_boxes_and_scores(trained, variant):
    model = trained(*VARIANTS[variant])
    ready = TrackingNetwork(copy.deepcopy(model))
    for batch, seed in ((1, 1), (3, 2)):
        expected = model.track(*images(model, batch, seed))
        found = ready.track(*images(model, batch, seed))
        torch.testing.assert_close(found.crop_boxes_xyxy, expected.crop_boxes_xyxy, rtol=0, atol=1e-5)
        assert (found.scores is None) == (expected.scores is None) == (model.score is None)
        if expected.scores is not None:
            torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-5)


def test_bfloat16_is_closer_than_autocast_since_sums_embedding_and_head_are_float32(trained):
    model = trained("model.score.enabled=true")
    inputs = images(model)
    expected = model.track(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        cast = model.track(*inputs)
    ready = TrackingNetwork(copy.deepcopy(model), torch.bfloat16)
    found = ready.track(*inputs)
    error = (found.crop_boxes_xyxy - expected.crop_boxes_xyxy).abs().max()
    usual = (cast.crop_boxes_xyxy - expected.crop_boxes_xyxy).abs().max()
    assert 0 < error < 0.7 * usual
    assert found.crop_boxes_xyxy.dtype == torch.float32
    products = {
        name: module.weight.dtype
        for name, module in ready.model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    in_blocks = {name for name, dtype in products.items() if dtype == torch.bfloat16}
    assert in_blocks == {name for name in products if name.startswith(("encoder.blocks", "score.blocks"))}
    norms = [module.weight.dtype for module in ready.modules() if isinstance(module, nn.LayerNorm)]
    assert set(norms) == {torch.float32}
    assert ready.model.encoder.template_position.dtype == torch.float32


def test_no_batch_normalisation_is_left_and_the_head_is_the_same(trained):
    model = trained()
    features = torch.randn(2, 16, 32)
    expected = model.head(features).crop_boxes_xyxy
    fold_batch_norm(model)
    assert not [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    torch.testing.assert_close(model.head(features).crop_boxes_xyxy, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_a_block_s_rows_can_be_computed_alone(bias):
    torch.manual_seed(0)
    block = Block(32, 4, qkv_bias=bias, qk_norm=True, init_values=0.5).eval()
    tokens = torch.randn(2, 10, 32)
    expected = block(tokens)
    for rows in (slice(6, 10), slice(0, 1), slice(None)):
        torch.testing.assert_close(run_block(block, tokens, tokens[:, rows]), expected[:, rows])


def test_a_template_is_embedded_when_it_changes_and_not_otherwise(trained):
    model = trained()
    ready = TrackingNetwork(copy.deepcopy(model))
    calls: list[int] = []
    ready.model.encoder.patch_embed.register_forward_hook(
        lambda module, inputs, output: calls.append(inputs[0].shape[-1])
    )
    template, search, online = images(model)
    assert online is not None
    for _ in range(3):
        ready.track(template, search, online)
    assert sorted(calls) == [32, 32, 64, 64, 64]
    other = images(model, seed=9)[2]
    assert other is not None
    found = ready.track(template, search, other)
    assert sorted(calls) == [32, 32, 32, 64, 64, 64, 64]
    expected = model.track(template, search, other)
    torch.testing.assert_close(found.crop_boxes_xyxy, expected.crop_boxes_xyxy, rtol=0, atol=1e-5)


def test_a_model_in_training_mode_is_refused(trained):
    with pytest.raises(ValueError, match="eval"):
        TrackingNetwork(trained().train())


@pytest.mark.slow
def test_the_compiled_network_gives_the_same_boxes(trained):
    model = trained("model.score.enabled=true")
    ready = TrackingNetwork(copy.deepcopy(model), compiled=True)
    for seed in range(2):
        expected, found = model.track(*images(model, seed=seed)), ready.track(*images(model, seed=seed))
        torch.testing.assert_close(found.crop_boxes_xyxy, expected.crop_boxes_xyxy, rtol=0, atol=1e-4)


def test_auto_is_bfloat16_exactly_where_the_cpu_multiplies_it(monkeypatch):
    for amx, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda amx=amx: {"amx_bf16": amx})
        assert tracking_dtype("auto", CPU) is expected
    assert tracking_dtype("fp32", CPU) is None
    assert tracking_dtype("bf16", CPU) is torch.bfloat16
    with pytest.raises(ValueError, match="fp16 is for GPUs"):
        tracking_dtype("fp16", CPU)
