"""Mask backends: the plain box, Alpha-Refine on a network that can be predicted, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import load_refine

from lib.config.load import experiment_to_dict, load
from lib.models.refine.network import AlphaRefineNet, build_refine_model
from lib.tracker import TrackerSpec
from lib.tracker.alpha_refine import AlphaRefine
from lib.tracker.masks import BoxMask, MaskSpec, box_to_mask

IMAGE = np.zeros((60, 80, 3), np.uint8)
BOX = np.array([20.0, 10.0, 24.0, 16.0])


def test_a_box_is_filled_where_pixel_centres_lie_in_it():
    mask = box_to_mask(np.array([1.5, 0.6, 2.0, 1.0]), 4, 6)
    # Columns with centres 1.5 and 2.5, since a box holds its near edge and not its far one; the row with centre 1.5.
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2]]
    assert box_to_mask(np.array([-5.0, -5.0, 100.0, 100.0]), 4, 6).all()
    assert not box_to_mask(np.array([-5.0, -5.0, 5.0, 5.0]), 4, 6).any()
    with pytest.raises(ValueError, match="finite"):
        box_to_mask(np.array([np.nan, 0, 1, 1]), 4, 6)


def test_the_plain_box_backend():
    backend = BoxMask()
    backend.initialize(IMAGE, BOX)
    assert np.array_equal(backend.segment(IMAGE, BOX), box_to_mask(BOX, 60, 80))
    with pytest.raises(ValueError, match="outside"):
        backend.initialize(IMAGE, np.array([200.0, 10.0, 5.0, 5.0]))


class Copies(AlphaRefineNet):
    """A network whose answer is the search crop's red channel, in which the test writes probabilities."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)  # without the layers
        self.described: list[tuple[torch.Tensor, torch.Tensor]] = []

    def describe(self, reference: torch.Tensor, crop_box_xyxy: torch.Tensor) -> torch.Tensor:
        self.described.append((reference, crop_box_xyxy))
        return torch.tensor(len(self.described))

    def predict(self, kernel: torch.Tensor, search: torch.Tensor) -> torch.Tensor:
        assert kernel == len(self.described)
        return search[:, 0].float() / 255


def test_alpha_refine_brings_the_networks_answer_to_the_frame():
    network = Copies()
    backend = AlphaRefine(network, size=64, factor=2.0, threshold=0.5)
    image = IMAGE.copy()
    image[14:24, 30:40, 0] = 255  # within the box's crop
    image[40:50, 5:9, 0] = 255  # outside of it
    backend.initialize(image, BOX)
    reference, crop_box_xyxy = network.described[0]
    assert reference.shape == (1, 3, 64, 64)
    assert crop_box_xyxy.tolist() == [pytest.approx([0.25, 0.25, 0.75, 0.75])]
    mask = backend.segment(image, BOX)
    assert mask.dtype == bool and mask.shape == (60, 80)
    places = np.argwhere(mask)
    assert (places.min(axis=0).tolist(), places.max(axis=0).tolist(), len(places)) == ([14, 30], [23, 39], 100)


def test_the_threshold_decides():
    image = np.full((60, 80, 3), 140, np.uint8)  # probability .55 everywhere
    for threshold, found in ((0.5, True), (0.6, False)):
        backend = AlphaRefine(Copies(), size=64, factor=2.0, threshold=threshold)
        backend.initialize(image, BOX)
        assert backend.segment(image, BOX).any() == found


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A mask network's checkpoint and a tracker's, as training writes them but for the optimiser."""
    folder = tmp_path_factory.mktemp("weights")
    refine, tracker = load_refine("refine_tiny"), load("mmg_tiny")
    paths = {"refine": folder / "refine.pth", "tracker": folder / "tracker.pth"}
    torch.manual_seed(0)
    state = build_refine_model(refine).state_dict()
    torch.save({"config": experiment_to_dict(refine), "model": state}, paths["refine"])
    torch.save({"config": experiment_to_dict(tracker), "model": {}}, paths["tracker"])
    return paths


def test_a_checkpoint_says_all_that_the_backend_needs(checkpoints):
    spec = MaskSpec("alpha_refine", checkpoints["refine"], "cpu")
    assert spec.label == "refine_tiny"
    backend = spec.build()
    backend.initialize(IMAGE, BOX)
    assert backend.segment(IMAGE, BOX).shape == (60, 80)


def test_a_tracker_is_not_taken_for_a_mask_network_nor_the_other_way_round(checkpoints):
    with pytest.raises(ValueError, match="holds a tracker, not a mask network"):
        MaskSpec("alpha_refine", checkpoints["tracker"], "cpu").build()
    with pytest.raises(ValueError, match="--refine-checkpoint"):
        TrackerSpec("mmg", None, checkpoints["refine"], "cpu").build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alpha_refin",), "did you mean 'alpha_refine'"),
        (("alpha_refine",), "--refine-checkpoint"),
        (("box", Path("x.pth")), "not trained"),
        (("alpha_refine", Path("x.pth"), "cpu", 1.5), r"\[0, 1\]"),
    ],
)
def test_specs_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskSpec(*arguments)


def test_options_without_masks_are_refused_and_missing_weights_are_named(tmp_path):
    assert MaskSpec.from_options(None, None, "cpu", None) is None
    with pytest.raises(ValueError, match="give --masks"):
        MaskSpec.from_options(None, Path("x.pth"), "cpu", None)
    with pytest.raises(FileNotFoundError, match="absent"):
        MaskSpec("alpha_refine", tmp_path / "absent.pth", "cpu").build()
    torch.save({"weights": {}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="neither a checkpoint"):
        MaskSpec("alpha_refine", tmp_path / "other.pth", "cpu").build()
