"""Training a mask network: it learns, its checkpoint serves the tracker, and its run is not taken for another kind."""

import numpy as np
import pytest
import torch
from conftest import load_refine

from lib.config.load import load
from lib.config.refine_schema import RefineLoss
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.samples.mask_set import MaskSet
from lib.data.samples.mixture import MixedSource, sample_id
from lib.models.pretrained import read_checkpoint
from lib.models.refine.network import build_refine_model
from lib.tracker.masks import MaskSpec
from lib.train.objectives import RefineObjective
from lib.train.pictures import picture_masks
from lib.train.session import train

TOY = (
    "crop.size=64", "model.encoder.channels=[8, 8, 16, 16]", "model.decoder.channels=8", "data.samples_per_epoch=8",
    "data.validation_samples=4", "data.workers=0", "train.epochs=1", "train.batch_size=4", "train.total_batch=4",
    "train.warmup_epochs=0", "train.precision=fp32",
)  # fmt: skip


@pytest.fixture
def toy():
    return load_refine("refine_tiny", TOY)


@pytest.fixture
def batch(toy):
    samples = MaskSet([MixedSource(SyntheticDataset("train"), 1)], toy.data, toy.crop, seed=1)
    return samples.collate([samples[sample_id(0, index)] for index in range(2)])


def test_a_few_steps_on_one_batch_lower_its_loss(toy, batch):
    torch.manual_seed(0)
    objective = RefineObjective(build_refine_model(toy), RefineLoss(cross_entropy=1.0, iou=1.0))
    optimizer = torch.optim.AdamW(objective.model.parameters(), lr=5e-3)
    generator = torch.Generator()
    first = last = float("nan")
    for step in range(20):
        losses = objective.losses(objective.model, batch, generator)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        last = float(losses.total.detach())
        first = last if step == 0 else first
    assert last < 0.85 * first


def test_pictures_show_reference_truth_and_prediction(toy, batch):
    model = build_refine_model(toy).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    picture = picture_masks(model, batch)
    assert picture.shape == (2 * 160, 3 * 160, 3) and picture.dtype == np.uint8
    # The shaded truth differs from the bare crop, and drawing leaves the network as it was.
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_command_trains_and_the_checkpoint_makes_masks(tmp_path):
    run = tmp_path / "run"
    assert train(load_refine("refine_tiny", (*TOY, "train.ema_decay=0.9")), run, device="cpu") == 0
    content = read_checkpoint(run / "latest.pth")
    assert content["config"]["kind"] == "refine" and content["step"] == 2
    # The backend takes the running average where there is one: without the last weights it is the same.
    del content["model"]
    torch.save(content, tmp_path / "average.pth")
    backend = MaskSpec("alpha_refine", tmp_path / "average.pth", "cpu").build()
    image = np.zeros((40, 50, 3), np.uint8)
    backend.initialize(image, np.array([10.0, 10.0, 12.0, 12.0]))
    assert backend.segment(image, np.array([10.0, 10.0, 12.0, 12.0])).shape == (40, 50)
    with pytest.raises(ValueError, match="mask network"):
        train(load("mmg_tiny"), run, device="cpu")
