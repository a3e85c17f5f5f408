"""Experiments of kind: refine go through the same strict checks, and are not mixed up with trackers'."""

import pytest
from conftest import load_refine

from lib.config.load import experiment_from_dict, experiment_to_dict, load, load_any, refine_from_dict


def test_overrides_reach_lists_of_numbers():
    experiment = load_refine("refine_tiny", ["model.encoder.channels=[8, 8, 16, 16]", "train.lr=1e-4"])
    assert experiment.model.encoder.channels == (8, 8, 16, 16)
    assert experiment.train.lr == 1e-4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("crop.size=100", "multiple of 32"),
        ("crop.search_size=256", "unknown key crop.search_size"),
        ("model.encoder.channels=[8, 8]", "four numbers"),
        ("model.encoder.channels=[8, 8, 8, x]", r"channels\[3\] must be a whole number"),
        ("model.encoder.channels=[4, 4, 4, 4]", r"channels\[0\] must be in \[8, 8192\], got 4"),  # PyTorch aborts there
        ("model.decoder.channels=4", r"decoder.channels must be in \[8, 8192\], got 4"),
        ("crop.size=1000000", r"crop.size must be in \[64, 2048\]"),
        ("model.encoder.name=resnet51", "did you mean 'resnet50'"),
        ("train.loss={cross_entropy: 0, iou: 0}", "nothing would be learned"),
        ("train.loss.l1=5", "unknown key train.loss.l1"),
        ("kind=refin", "did you mean 'refine'"),
        ("data.sources=[]", "data.sources must name"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(ValueError, match=message):
        load_refine("refine_tiny", [override])


def test_one_kind_is_not_taken_for_the_other():
    with pytest.raises(ValueError, match="refine_tiny is of kind: refine"):
        load("refine_tiny")
    with pytest.raises(ValueError, match=r"weights\.pth holds a mask network"):
        experiment_from_dict(experiment_to_dict(load_refine("refine_tiny")), "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth holds a tracker"):
        refine_from_dict(experiment_to_dict(load("mmg_tiny")), "weights.pth")
    with pytest.raises(ValueError, match=r"unknown key crop\.template_size"):
        load_any("mmg_tiny", ["kind=refine"])
