"""Alpha-Refine's network: its parts against values by hand and other implementations, and that all of it learns."""

import pytest
import torch
import torchvision

from lib.models.refine.encoder import ResNetEncoder, load_resnet
from lib.models.refine.network import AlphaRefineNet, ChannelAttention, SpatialAttention, pixelwise_correlation

CENTRED = torch.tensor([[0.25, 0.25, 0.75, 0.75]])


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = AlphaRefineNet(
        size=64, encoder="resnet18", channels=8, encoder_channels=(8, 8, 8, 8), encoder_layers=(1, 1, 1, 1)
    )
    for module in net.modules():  # some start at zero, which would hide the branch that they close
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    return net


def crops(seed: int, count: int = 1, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_each_correlation_map_is_one_cell_of_the_target_times_the_search_map():
    kernel = torch.arange(8.0).view(1, 2, 2, 2)  # channel 0 holds 0 1 2 3, channel 1 holds 4 5 6 7
    features = torch.tensor([[1.0, 10.0], [2.0, 20.0]]).view(1, 2, 1, 2)  # places (1, 2) and (10, 20)
    maps = pixelwise_correlation(kernel, features)
    assert maps.shape == (1, 4, 1, 2)
    assert maps[0, :, 0, 0].tolist() == [0 + 8, 1 + 10, 2 + 12, 3 + 14]
    assert maps[0, :, 0, 1].tolist() == [80, 110, 140, 170]


def test_spatial_attention_starts_as_the_identity_and_channel_attention_only_scales_maps():
    maps = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(SpatialAttention(16)(maps), maps)
    ratio = ChannelAttention(16)(maps) / maps
    assert torch.allclose(ratio, ratio[..., :1, :1].expand_as(ratio), atol=1e-5)
    assert ((ratio > 0) & (ratio < 1)).all()


def test_the_encoder_is_torchvisions_resnet(tmp_path):
    theirs = torchvision.models.resnet18().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            torch.nn.init.normal_(module.running_mean)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = ResNetEncoder("resnet18").eval()
    load_resnet(ours, str(tmp_path / "resnet18.pth"))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        state = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        for stage, ours_map in zip(("layer1", "layer2", "layer3", "layer4"), ours.pyramid(images), strict=True):
            state = theirs.get_submodule(stage)(state)
            assert torch.allclose(ours_map, state, atol=1e-6), stage


def test_pretrained_weights_of_another_network_are_refused(tmp_path):
    small = ResNetEncoder("resnet18", channels=(8, 8, 8, 8), layers=(1, 1, 1, 1))
    deeper = ResNetEncoder("resnet18", channels=(8, 8, 8, 8), layers=(2, 1, 1, 1))
    torch.save(deeper.state_dict(), tmp_path / "deeper.pth")
    with pytest.raises(ValueError, match=r"unexpected: layer1\.1"):
        load_resnet(small, str(tmp_path / "deeper.pth"))
    with pytest.raises(FileNotFoundError, match="torchvision"):
        load_resnet(small, str(tmp_path / "absent.pth"))


def test_every_parameter_learns(net):
    net.train()
    logits = net(crops(0, 2), CENTRED.expand(2, 4), crops(1, 2))
    assert logits.shape == (2, 64, 64)
    logits.square().mean().backward()
    silent = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # A constant added to all keys changes no softmax.
    assert silent in ([], ["spatial_attention.key.bias"])


def test_the_mask_depends_on_the_target_and_a_described_target_serves_many_frames(net):
    net.eval()
    search = crops(2)
    kernels = [net.describe(crops(seed), CENTRED) for seed in (3, 4)]
    masks = [net.predict(kernel, search) for kernel in kernels]
    assert not torch.allclose(masks[0], masks[1])
    with torch.no_grad():
        assert torch.allclose(net(crops(3), CENTRED, search).sigmoid(), masks[0], atol=1e-6)


def test_the_box_is_pooled_where_the_encoder_saw_it(net):
    # One bright square; the pooled features of its box differ from a flat crop's, those of a far box do not.
    net.eval()
    flat = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    marked = flat.clone()
    marked[..., 48:, 48:] = 255
    boxes = {"marked": torch.tensor([[0.75, 0.75, 1.0, 1.0]]), "far": torch.tensor([[0.0, 0.0, 0.25, 0.25]])}
    change = {
        name: (net.describe(marked, box) - net.describe(flat, box)).abs().mean().item() for name, box in boxes.items()
    }
    assert change["marked"] > 10 * change["far"]
