"""The published weights: names and shapes as they were published, nothing missing or left over, nothing that runs."""

import sys
from collections import OrderedDict

import pytest
import torch

from lib.models.pretrained import read_own_or_published
from lib.models.refine.network import AlphaRefineNet
from lib.models.refine.published import is_published, load_published, published_names

# Of the published network's own description, a few of each part.
PUBLISHED_SHAPES = {
    "feature_extractor.conv1.weight": (64, 3, 7, 7),
    "feature_extractor.layer1.0.downsample.1.running_var": (256,),
    "feature_extractor.layer3.5.bn3.num_batches_tracked": (),
    "feature_extractor.layer4.2.conv3.weight": (2048, 512, 1, 1),
    "neck.channel_attention.fc1.weight": (36, 144, 1, 1),
    "neck.channel_attention.fc2.bias": (144,),
    "neck.spatial_attention.g.0.weight": (72, 144, 1, 1),
    "neck.spatial_attention.W.0.weight": (144, 72, 1, 1),
    "neck.spatial_attention.W.1.running_mean": (144,),
    "neck.spatial_attention.theta.weight": (72, 144, 1, 1),
    "neck.spatial_attention.phi.0.bias": (72,),
    "refiner.TSE.layer5.reduce.0.weight": (64, 2048, 1, 1),
    "refiner.TSE.layer2.reduce.0.weight": (64, 256, 1, 1),
    "refiner.TSE.layer4.transform.0.weight": (208, 208, 3, 3),
    "refiner.TSE.layer3.transform.4.weight": (64, 208, 3, 3),
    "refiner.RRB1.layer5.bblock.3.weight": (64, 64, 3, 3),
    "refiner.CAB.layer2.convreluconv.0.weight": (64, 128, 1, 1),
    "refiner.RRB2.layer3.bblock.1.running_mean": (64,),
    "refiner.project.conv1.weight": (32, 64, 3, 3),
    "refiner.project.conv2.bias": (1,),
}


def small_net() -> AlphaRefineNet:
    return AlphaRefineNet(
        size=64, encoder="resnet18", channels=8, encoder_channels=(8, 8, 8, 8), encoder_layers=(1, 1, 1, 1)
    )


def as_published(net: AlphaRefineNet) -> OrderedDict[str, torch.Tensor]:
    ours = net.state_dict()
    state = OrderedDict((published, ours[name]) for published, name in published_names(net).items())
    state["feature_extractor.fc.weight"] = torch.zeros(10, 8)
    return state


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        net = AlphaRefineNet()
    names, ours = published_names(net), net.state_dict()
    assert sorted(names.values()) == sorted(ours)
    for name, shape in PUBLISHED_SHAPES.items():
        assert tuple(ours[names[name]].shape) == shape, name
    assert not any(".bblock.3.bias" in name for name in names)  # published without


def test_published_weights_arrive_in_their_places():
    torch.manual_seed(1)
    source = small_net()
    torch.manual_seed(2)
    net = small_net()
    load_published(net, as_published(source), "a file")
    for name, value in source.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name


def test_weights_that_do_not_match_one_by_one_are_refused():
    net, whole = small_net(), as_published(small_net())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for named, change in {
        "squeeze": {"neck.channel_attention.fc1.weight": None},
        "refiner.extra": {"refiner.extra.weight": torch.zeros(1)},
        "logits": {"refiner.project.conv2.bias": torch.zeros(7)},
    }.items():
        state = {name: value for name, value in {**whole, **change}.items() if value is not None}
        with pytest.raises(ValueError, match=named):
            load_published(net, state, "a file")
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_the_bookkeeping_in_the_published_file_is_read_without_its_program(tmp_path, foreign_class, monkeypatch):
    settings = foreign_class("ltr.admin.settings", "Settings")()
    settings.batch_size = 32
    settings.env = foreign_class("ltr.admin.local", "EnvironmentSettings")()
    path = tmp_path / "ARnet_seg_mask_ep0040.pth.tar"
    content = {"epoch": 40, "net_type": "ARnet_seg_mask", "net": as_published(small_net()), "settings": settings}
    torch.save(content, path, _use_new_zipfile_serialization=False)  # as PyTorch 1.2 did
    for module in ("ltr.admin.settings", "ltr.admin.local", "ltr.admin", "ltr"):
        monkeypatch.delitem(sys.modules, module)
    read = read_own_or_published(path, is_published)
    assert is_published(read)
    load_published(small_net(), read["net"], str(path))


def test_objects_in_a_file_of_unknown_kind_are_refused(tmp_path, foreign_class):
    path = tmp_path / "other.pth.tar"
    torch.save({"weights": {}, "extra": foreign_class("somewhere", "Thing")()}, path)
    with pytest.raises(ValueError, match=r"somewhere\.Thing"):
        read_own_or_published(path, is_published)
