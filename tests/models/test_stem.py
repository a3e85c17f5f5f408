"""The stem: a CNN of timm, its batch normalisation folded, whose early stages never learn."""

from typing import Any

import pytest
import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from lib.models.stem import StemEmbed, fold_batch_norm
from lib.models.trained import load_stem, write_weights

NAME = "tf_efficientnet_lite0"


def classifier(name: str = NAME) -> Any:
    """A classifier whose batch normalisation does something."""
    torch.manual_seed(0)
    model = timm.create_model(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, std=0.2)
    return model.eval()


@pytest.mark.parametrize("name", [NAME, "resnet18", "mobilenetv2_100"])
@torch.no_grad()
def test_a_folded_network_is_the_same_function(name):
    model, images = classifier(name), torch.randn(2, 3, 64, 64)
    expected = model(images)
    fold_batch_norm(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model(images), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("renamed", [False, True])
@torch.no_grad()
def test_tokens_are_the_features_of_the_classifier(renamed):
    model = classifier()
    state = {f"_{name}" if renamed else name: value for name, value in model.state_dict().items()}
    stem = StemEmbed(NAME, (16, 8), dim=272).eval()
    stem.load(state)
    nn.init.eye_(stem.proj.weight)
    nn.init.zeros_(stem.proj.bias)

    images = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    tokens = stem((images - mean) / std)
    fine, coarse = model.forward_intermediates(images * 2 - 1, indices=[2, 3], intermediates_only=True)
    assert tokens.shape == (1, 4, 4, 272)
    # The token in row 1, column 2 holds the two by two finer cells under it, then its own.
    under = torch.cat((fine[0, :, 2:4, 4:6].flatten(), coarse[0, :, 1, 2]))
    torch.testing.assert_close(tokens[0, 1, 2], nn.functional.layer_norm(under, (272,)), atol=1e-4, rtol=1e-3)


def test_a_tracker_gives_its_stem_to_one_of_as_many_stages_or_fewer(tmp_path):
    torch.manual_seed(0)
    given = StemEmbed(NAME, (8, 16), dim=8)
    file = tmp_path / "tracker.safetensors"
    write_weights(file, {f"encoder.patch_embed.{name}": value for name, value in given.state_dict().items()}, {})
    taking = StemEmbed(NAME, (8,), dim=4)
    load_stem(taking, file)
    expected = given.features.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in taking.features.state_dict().items())
    with pytest.raises(ValueError, match=rf"tracker.safetensors: not the weights of timm's {NAME}"):
        load_stem(StemEmbed(NAME, (32,), dim=4), file)


def test_only_stages_after_the_finest_map_learn():
    stem = StemEmbed(NAME, (8, 16), dim=8)
    stem.learn_late_stages(True)
    stem(torch.randn(1, 3, 32, 32)).sum().backward()
    learning = {name.split(".")[1] for name, value in stem.features.named_parameters() if value.grad is not None}
    assert learning == {"3", "4"}
    assert all(value.requires_grad == name.startswith(("blocks.3", "blocks.4")) for name, value in
               stem.features.named_parameters())  # fmt: skip
    stem.learn_late_stages(False)
    assert not any(value.requires_grad for value in stem.features.parameters())


def test_what_cannot_be_a_stem_is_refused():
    with pytest.raises(ValueError, match="strides 2, 4, 8, 16, 32, not 7"):
        StemEmbed(NAME, (7,), dim=8)
    with pytest.raises(ValueError, match="no model of timm"):
        StemEmbed("efficientnet_lite", (16,), dim=8)
    with pytest.raises(ValueError, match="no CNN with batch normalisation"):
        StemEmbed("vit_tiny_patch16_224", (16,), dim=8)
    with pytest.raises(ValueError, match=f"not the weights of timm's {NAME}"):
        StemEmbed(NAME, (16,), dim=8).load(timm.create_model("resnet18").state_dict())
