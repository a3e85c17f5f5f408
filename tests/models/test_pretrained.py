"""Weights from outside: nothing runs code, nothing is silently left out."""

import pickle
import warnings
from collections import OrderedDict
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from conftest import Attack
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lib.models.encoder import JointEncoder
from lib.models.pretrained import load_from_hub, load_mae, load_model_state, read_checkpoint


def mae_state(dim: int, depth: int, patch: int = 16, grid: int = 14) -> "OrderedDict[str, Tensor]":
    """Return the names and shapes of MAE's published encoder, for any width and depth; each tensor of one number."""
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + grid**2, dim)}
    shapes |= {"patch_embed.proj.weight": (dim, 3, patch, patch), "patch_embed.proj.bias": (dim,)}
    for block in range(depth):
        for name, rows, columns in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            shapes[f"blocks.{block}.{name}.weight"] = (rows * dim, columns * dim)
            shapes[f"blocks.{block}.{name}.bias"] = (rows * dim,)
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{name}.weight": (dim,), f"blocks.{block}.{name}.bias": (dim,)}
    shapes |= {"norm.weight": (dim,), "norm.bias": (dim,)}
    return OrderedDict((name, torch.zeros(1).expand(shape)) for name, shape in shapes.items())


def random_mae_state() -> "OrderedDict[str, Tensor]":
    generator = torch.Generator().manual_seed(0)
    state = mae_state(dim=32, depth=2)
    return OrderedDict((name, 0.2 * torch.randn(value.shape, generator=generator)) for name, value in state.items())


def tiny(**changes) -> JointEncoder:
    sizes = {"template_size": 128, "search_size": 224, "dim": 32, "depth": 2, "num_heads": 2}
    torch.manual_seed(7)
    return JointEncoder("vit_tiny_patch16_224", online_template=True, **{**sizes, **changes}).eval()


def same_weights(one: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("how", ["torch", "torch_legacy", "pickle"])
def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(tmp_path, how):
    evidence, path = tmp_path / "evidence", tmp_path / "evil.pth"
    content = {"model": {"weight": torch.zeros(2)}, "settings": Attack(evidence)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    for read in (read_checkpoint, lambda path: load_mae(tiny(), path)):
        with pytest.raises(ValueError, match="refused") as caught:
            read(path)
        assert str(path) in str(caught.value) and "weights_only" not in str(caught.value)
    assert not evidence.exists()
    # The file is a real attack: an unrestricted reader does run it.
    if how != "pickle":
        torch.load(path, weights_only=False)
        assert evidence.exists()


def test_files_that_are_no_checkpoint_are_named(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match=r"weights\.pth"):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        read_checkpoint(tmp_path)
    for content in (b"", b"hello world", b"\x80\x02garbage", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.pth"):
            read_checkpoint(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ValueError, match="list, not a dictionary"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "odd", [torch.eye(3).to_sparse(), torch.empty(3, device="meta"), torch.nested.as_nested_tensor([torch.ones(2)])]
)
def test_tensors_that_are_not_dense_are_refused_however_deep(tmp_path, odd):
    torch.save({"optimizer": {"state": [{"exp_avg": odd}]}}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth"):
        read_checkpoint(tmp_path / "odd.pth")


def test_the_published_key_list_fits_the_papers_encoder(tmp_path):
    path = tmp_path / "mae_pretrain_vit_base.pth"
    torch.save({"model": mae_state(dim=768, depth=12)}, path)
    with torch.device("meta"):
        encoder = JointEncoder("vit_base_patch16_224", template_size=128, search_size=256, online_template=True)
    # The contract both ways: nothing of the encoder but its position tables is left without a published key.
    left = encoder.state_dict().keys() - mae_state(dim=768, depth=12).keys()
    assert left == {"template_position", "search_position"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tensors without memory take no values
        load_mae(encoder, path)
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize("wrapped", [True, False])
def test_every_value_arrives_and_positions_are_resampled(tmp_path, wrapped):
    state = random_mae_state()
    torch.save({"model": state} if wrapped else state, tmp_path / "mae.pth")
    encoder = tiny()
    load_mae(encoder, tmp_path / "mae.pth")
    own = encoder.state_dict()
    for name in state.keys() - {"cls_token", "pos_embed"}:
        assert torch.equal(own[name], state[name]), name
    # The search grid here is 14 x 14, MAE's own; the template's is 8 x 8.
    table = state["pos_embed"][:, 1:]
    assert torch.equal(own["search_position"], table)
    picture = table.view(1, 14, 14, 32).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(picture, size=(8, 8), mode="bicubic", antialias=True)
    torch.testing.assert_close(own["template_position"], expected.flatten(2).transpose(1, 2))


def test_fixed_positions_stay_and_a_learned_token_type_stays(tmp_path):
    torch.save({"model": random_mae_state()}, tmp_path / "mae.pth")
    encoder = tiny(position="sincos", token_type=True)
    before = encoder.search_position.clone()
    assert encoder.token_type is not None
    token_type = encoder.token_type.detach().clone()
    load_mae(encoder, tmp_path / "mae.pth")
    assert torch.equal(encoder.search_position, before) and torch.equal(encoder.token_type, token_type)
    assert torch.equal(encoder.state_dict()["norm.bias"], random_mae_state()["norm.bias"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"blocks.1.mlp.fc1.bias": None}, r"1 missing: blocks\.1\.mlp\.fc1\.bias"),
        ({"decoder_embed.weight": torch.zeros(2, 2)}, r"1 unexpected: decoder_embed\.weight"),
        ({"patch_embed.proj.weight": torch.zeros(32, 3, 8, 8)},
         r"patch_embed\.proj\.weight \(32, 3, 8, 8\) instead of \(32, 3, 16, 16\)"),
        ({"pos_embed": None}, "pos_embed"),
        ({"pos_embed": torch.zeros(1, 100, 32)}, "99 rows of pos_embed"),
        ({"norm.bias": "text"}, r"norm\.bias str instead of \(32,\)"),
    ],
    ids=["missing", "unexpected", "shape", "no positions", "no grid", "no tensor"],
)  # fmt: skip
def test_a_key_out_of_place_is_named_with_the_source_and_nothing_changes(tmp_path, change, named):
    state = {name: value for name, value in {**random_mae_state(), **change}.items() if value is not None}
    torch.save({"model": state}, tmp_path / "mae.pth")
    encoder = tiny()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(ValueError, match=named) as caught:
        load_mae(encoder, tmp_path / "mae.pth")
    assert "facebookresearch/mae" in str(caught.value) and "mae.pth" in str(caught.value)
    assert same_weights(encoder, before)


def test_absent_weights_say_where_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="facebookresearch/mae"):
        load_mae(tiny(), tmp_path / "mae.pth")
    torch.save({"model": 3}, tmp_path / "mae.pth")
    with pytest.raises(ValueError, match="'model' is a int"):
        load_mae(tiny(), tmp_path / "mae.pth")


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_hub_weights_fill_the_encoder(monkeypatch, pool):
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, global_pool=pool, embed_dim=32, depth=2, num_heads=2, reg_tokens=2
    )
    assert isinstance(vit, VisionTransformer) and vit.pos_embed is not None
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.1)
    encoder = tiny()
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, num_classes: vit)
    load_from_hub(encoder, "vit_tiny_patch16_224.anything")
    own, hub = encoder.state_dict(), vit.state_dict()
    assert torch.equal(own["search_position"], hub["pos_embed"][:, 3:])
    assert torch.equal(own["blocks.1.mlp.fc2.weight"], hub["blocks.1.mlp.fc2.weight"])
    assert torch.equal(own["norm.weight"], hub["norm.weight" if pool == "token" else "fc_norm.weight"])


def test_a_hub_out_of_reach_is_an_error_that_names_the_file_to_use_instead(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("vit_tiny_patch16_224.augreg_in21k", "vit_tiny_patch16_224.no_such_tag", "no_such_vit"):
        with pytest.raises(ValueError, match="facebookresearch/mae") as caught:
            load_from_hub(tiny(), name)
        assert repr(name) in str(caught.value)


class Model(nn.Module):
    def __init__(self, *parts: str) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({part: nn.Linear(2, 2) for part in parts})


def test_a_whole_model_is_loaded_strictly():
    trained, model = Model("encoder", "head"), Model("encoder", "head")
    load_model_state(model, trained.state_dict())
    assert same_weights(model, trained.state_dict())
    with pytest.raises(ValueError, match=r"2 unexpected: parts\.head\.bias, parts\.head\.weight"):
        load_model_state(Model("encoder"), trained.state_dict())
    with pytest.raises(ValueError, match=r"run\.pth .*2 missing: parts\.score\.bias"):
        load_model_state(Model("encoder", "head", "score"), trained.state_dict(), source="run.pth")
    with pytest.raises(ValueError, match=r"parts\.head\.bias \(3,\) instead of \(2,\)"):
        load_model_state(model, {**trained.state_dict(), "parts.head.bias": torch.zeros(3)})
    with pytest.raises(ValueError, match="1 unexpected: 7"):
        load_model_state(model, {**trained.state_dict(), **dict[Any, Tensor]({7: torch.zeros(3)})})
    assert same_weights(model, trained.state_dict())


def test_only_the_named_parts_may_be_absent_or_left_over():
    trained = Model("encoder", "decoder")
    tracker, second_stage = Model("encoder"), Model("encoder", "score")
    load_model_state(tracker, trained.state_dict(), allow_unexpected=("parts.decoder.",))
    torch.testing.assert_close(
        tracker.state_dict()["parts.encoder.weight"], trained.state_dict()["parts.encoder.weight"]
    )
    fresh = {name: value.clone() for name, value in second_stage.state_dict().items()}

    def load(state: dict[str, Tensor]) -> None:
        load_model_state(second_stage, state, allow_missing=("parts.score.",), allow_unexpected=("parts.decoder.",))

    load(trained.state_dict())
    after = second_stage.state_dict()
    assert torch.equal(after["parts.score.weight"], fresh["parts.score.weight"])
    assert torch.equal(after["parts.encoder.weight"], trained.state_dict()["parts.encoder.weight"])
    # Allowed to be absent is not allowed to be of another shape, nor anything else to be absent.
    with pytest.raises(ValueError, match=r"parts\.score\.bias"):
        load({**trained.state_dict(), "parts.score.bias": torch.zeros(9)})
    with pytest.raises(ValueError, match=r"parts\.encoder\.bias"):
        load({"parts.encoder.weight": torch.zeros(2, 2)})
