"""The network made ready to track gives the model's own boxes and scores, and leaves out what nobody reads."""

import copy

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Block
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from lib.models.build import build_model
from lib.models.device import tracking_dtype
from lib.models.inference import TrackingNetwork, WinogradConvolution, run_block
from lib.models.mmg import MMG, TrackOutput

CPU = torch.device("cpu")
TWO_IMAGES = ("model.online_template=false", "model.decoder.search_to_online=false", "track.update=none")
VARIANTS = {
    "no score": ("model.score.enabled=false",),
    "score": ("model.score.enabled=true",),
    "token types": ("model.encoder.token_type=true",),
    "elimination": ("model.score.enabled=true", "model.encoder.eliminate_at=[0]"),
    "sin-cos": ("model.encoder.position=sincos",),
    "two images": TWO_IMAGES,
    "OSTrack": (*TWO_IMAGES, "model.head.kind=center", "model.encoder.eliminate_at=[0]"),
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
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-4), (torch.bfloat16, 2e-3)])
def test_the_compiled_network_gives_the_same_boxes(trained, dtype, tolerance):
    model = trained("model.score.enabled=true")
    ready = TrackingNetwork(copy.deepcopy(model), dtype, compiled=True)
    for batch in (1, 2):  # compiled for each size
        expected, found = model.track(*images(model, batch)), ready.track(*images(model, batch))
        torch.testing.assert_close(found.crop_boxes_xyxy, expected.crop_boxes_xyxy, rtol=0, atol=tolerance)
        torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=10 * tolerance)


def test_auto_is_bfloat16_exactly_where_the_cpu_multiplies_it(monkeypatch):
    for amx, expected in ((True, torch.bfloat16), (False, None)):
        capabilities = {"architecture": "x86_64", "amx_bf16": amx}
        monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities.copy, raising=False)
        assert tracking_dtype("auto", CPU, 192) is expected
        assert tracking_dtype("auto", CPU, 128) is None, "narrow networks lose more than they gain"
        assert tracking_dtype("fp32", CPU, 768) is None
    with pytest.raises(ValueError, match="bf16 needs a CPU with AMX or AVX512-BF16"):
        tracking_dtype("bf16", CPU, 768)
    for capabilities in ({"architecture": "x86_64", "avx512_bf16": True}, {"architecture": "aarch64"}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities.copy, raising=False)
        assert tracking_dtype("bf16", CPU, 32) is torch.bfloat16
    with pytest.raises(ValueError, match="fp16 is for GPUs"):
        tracking_dtype("fp16", CPU, 768)


class HostCopies(TorchDispatchMode):
    """Counts what crosses from a GPU to the host; on fake tensors whatever reads a value raises by itself."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in (*args, result) if isinstance(each, torch.Tensor)]
        self.count += [each.device.type for each in tensors] == ["cuda", "cpu"]
        return result


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_nothing_in_a_frame_waits_for_a_gpu(trained, dtype):
    """On a GPU without a machine that has one: tensors that know their shape, format and device alone."""
    with FakeTensorMode():
        try:
            fake = torch.empty(1, 1, 4, 4, device="cuda")
            functional.scaled_dot_product_attention(fake, fake, fake)
        except RuntimeError:
            pytest.skip(f"PyTorch {torch.__version__} asks a driver even for fake tensors")
    ready = TrackingNetwork(trained("model.score.enabled=true"), dtype)
    with FakeTensorMode(), HostCopies() as copies:
        for module in ready.modules():
            for name, weight in module.named_parameters(recurse=False):
                fake = torch.empty(weight.shape, dtype=weight.dtype, device="cuda")
                setattr(module, name, nn.Parameter(fake, requires_grad=False))
            for name, constant in module.named_buffers(recurse=False):
                setattr(module, name, torch.empty(constant.shape, dtype=constant.dtype, device="cuda"))
        template, search, online = (
            torch.empty(1, 3, size, size, dtype=torch.uint8, device="cuda") for size in (32, 64, 32)
        )
        output = ready.track(template, search, online)
        assert copies.count == 0
        assert output.crop_boxes_xyxy.device.type == "cuda"
        output.crop_boxes_xyxy.cpu()
        assert copies.count == 1


@pytest.mark.parametrize("scores", [None, torch.tensor([0.25, 0.75])])
def test_boxes_and_scores_cross_to_the_host_together(scores, monkeypatch):
    crossings: list[torch.Size] = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: crossings.append(tensor.shape) or cpu(tensor))
    boxes = torch.rand(2, 4)
    found_boxes, found_scores = TrackOutput(boxes, scores).to_host()
    assert len(crossings) == 1
    np.testing.assert_array_equal(found_boxes, boxes.double().numpy())
    np.testing.assert_array_equal(found_scores, [np.nan, np.nan] if scores is None else [0.25, 0.75])


@pytest.mark.parametrize("size", [(2, 6, 4, 10), (1, 3, 8, 2)])
def test_fewer_products_give_the_same_convolutions(size):
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(size[1], outputs, 3, padding=1) for outputs in (5, 1, 3)]
    features = torch.randn(size)
    expected = torch.cat([convolution(features) for convolution in convolutions], dim=1)
    found = WinogradConvolution(convolutions)(features)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("score", [False, True])
def test_the_last_blocks_compute_only_tokens_that_are_read(trained, score):
    """Of the encoder those of the search, and of the template for a score module; of that the class token."""
    ready = TrackingNetwork(trained(f"model.score.enabled={score}"))
    rows: list[int] = []
    for block in ready.model.modules():
        if isinstance(block, Block):
            block.mlp.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[1]))
    ready.track(*images(ready.model))
    template, search = 2**2, 4**2
    read = [template + search, 1 + template + search, 1] if score else [search]
    assert rows == [2 * template + search, *read]


def test_a_compiler_that_is_not_there_is_named(trained, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="no no-such-compiler on the path"):
        TrackingNetwork(trained(), compiled=True)


def test_bfloat16_agrees_within_half_a_pixel(trained):
    """On maps with peaks, as training makes them: without, every box is the crop's middle."""
    model = trained()
    for branch in (model.head.top_left, model.head.bottom_right):
        branch.fine_logits.weight.data.mul_(30)
    inputs = images(model, batch=16)
    expected = model.track(*inputs).crop_boxes_xyxy
    assert expected.std(dim=0).min() > 0.05
    found = TrackingNetwork(copy.deepcopy(model), torch.bfloat16).track(*inputs).crop_boxes_xyxy
    pixels = 256 * (found - expected).abs().amax(dim=1)
    assert pixels.max() < 0.5
    assert pixels.median() < 0.05
