"""The second stage: only the score module learns, it learns, and the merged checkpoint tracks."""

import shutil

import pytest
import torch
from conftest import SMALL, first_samples

from lib.config.load import load
from lib.data.samples.training_set import Batch
from lib.models.build import build_model
from lib.models.inference import TrackingNetwork
from lib.models.trained import SHIPPED, read_trained_model
from lib.tracker.build import build_mmg_tracker
from lib.train.pictures import score_target
from lib.train.session import find_start, open_trainer

STAGES = ("mmg_vitb_score", "mmg_vitb_got10k_score", "mmg_vits_score", "mmg_vitt_score", "mmg_tiny_score")


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory):
    """Train a first stage for a few steps and return its checkpoint, which no test may change."""
    run = tmp_path_factory.mktemp("first")
    open_trainer(load("mmg_tiny", (*SMALL, "data.validation_samples=0")), run, device="cpu").fit()
    return run / "latest.pth"


@pytest.fixture
def second_stage(small_experiment, first_stage):
    """Return a function that opens the second stage with further settings."""

    def start(run, *settings):
        experiment = small_experiment(
            f"train.start_from={first_stage}", "train.schedule=step", *settings, config="mmg_tiny_score"
        )
        return open_trainer(experiment, run, device="cpu")

    return start


def test_only_score_parameters_change_and_no_batch_statistics(first_stage, second_stage, tmp_path):
    before = torch.load(first_stage, weights_only=True)["model"]
    trainer = second_stage(tmp_path / "second")
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.fit()
    after = torch.load(tmp_path / "second" / "latest.pth", weights_only=True)
    assert after["score_trained"] is True
    assert any("running_mean" in name for name in before)
    for name, value in after["model"].items():
        if name.startswith("score."):
            assert not torch.equal(value, start[name]), f"{name} has not learned"
        else:
            assert torch.equal(value, before[name]), f"{name} has changed"


def test_a_score_of_another_kind_is_trained_on_the_same_tracker(second_stage, tmp_path):
    trainer = second_stage(tmp_path / "second", "model.score.kind=box", "model.score.depth=3")
    batch = first_samples(trainer, 4)
    trainer.objective.train()
    assert torch.isfinite(trainer.train_step(batch)[0].total)


def test_the_score_tells_what_it_was_taught(second_stage, tmp_path):
    """Eight samples, half of them negatives, are learned by heart."""
    trainer = second_stage(
        tmp_path / "second", "train.lr=3e-3", "train.clip_norm=1", "train.batch_size=8", "train.total_batch=8",
        "data.samples_per_epoch=8", "train.epochs=30", "train.drop_epoch=30",
    )  # fmt: skip
    batch = first_samples(trainer, 8)
    assert 0 < batch.present.sum() < 8
    trainer.objective.train()
    measures = [trainer.train_step(batch)[0].measures["accuracy"].item() for _ in range(30)]
    assert measures[-1] == 1.0


def test_resume_equals_uninterrupted_without_the_first_stage_at_hand(first_stage, second_stage, tmp_path):
    start = f"train.start_from={shutil.copy(first_stage, tmp_path / 'first.pth')}"
    second_stage(tmp_path / "whole", start).fit()
    part = second_stage(tmp_path / "part", start)
    part.objective.train()
    for step in (0, 1):
        part.train_step(first_samples(part, 4, 4 * step))
    part.save()
    (tmp_path / "first.pth").unlink()
    again = second_stage(tmp_path / "part", start)
    assert again.progress.step == 2
    again.fit()
    ends = [torch.load(tmp_path / run / "latest.pth", weights_only=True)["model"] for run in ("whole", "part")]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_the_merged_checkpoint_tracks_with_its_score_and_the_first_stage_does_not(second_stage, first_stage, tmp_path):
    second_stage(tmp_path / "second").fit()
    merged = tmp_path / "second" / "latest.pth"
    assert read_trained_model(merged).experiment.track.update == "score"
    build_mmg_tracker(None, merged, "cpu", "synthetic")
    first = torch.load(first_stage, weights_only=True)
    first["config"]["track"]["update"] = "score"
    torch.save(first, tmp_path / "first.pth")
    with pytest.raises(ValueError, match="not trained: train the second stage"):
        build_mmg_tracker(None, tmp_path / "first.pth", "cpu", "synthetic")


@pytest.mark.parametrize("kind", ["region", "box"])
def test_the_score_logits_are_those_of_the_whole_forward(kind, small_experiment):
    torch.manual_seed(0)
    model = build_model(small_experiment(f"model.score.kind={kind}")).eval()
    template, online = (torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8) for _ in range(2))
    search = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    whole = model(template, search, online, predict_score=True, reconstruct=False).score_logits
    logits, boxes = model.rate(template, search, online)
    torch.testing.assert_close(logits, whole)
    assert (boxes is None) == (kind == "region")
    tracking = TrackingNetwork(model).track(template, search, online).scores
    assert tracking is not None
    torch.testing.assert_close(tracking, whole.sigmoid())


def test_a_rated_box_is_right_where_it_overlaps_a_target_that_is_there():
    box = torch.tensor([[0.2, 0.2, 0.6, 0.6]]).expand(3, 4)
    crops = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    batch = Batch(crops, crops, crops, box, torch.tensor([True, True, False]))
    rated = torch.tensor([[0.2, 0.2, 0.6, 0.5], [0.2, 0.4, 0.6, 0.8], [0.2, 0.2, 0.6, 0.6]])  # IoU 3/4, 1/3, 1
    assert score_target(batch, rated).tolist() == [True, False, False]
    assert score_target(batch, None).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        ("mmg_tiny_score", ["train.start_from=null"], "set train.start_from to its checkpoint"),
        ("mmg_tiny_score", ["train.start_from=nowhere.pth"], "there is no checkpoint nowhere.pth"),
        ("mmg_tiny_score", ["train.start_from=mmg_vitt"], "Train that first"),
        ("mmg_tiny_score", ["data.negatives=0"], "set data.negatives"),
        ("mmg_tiny_score", ["model.score.enabled=false", "track.update=fixed"], "model.score.enabled is false"),
        ("mmg_tiny", ["data.negatives=0.5"], "set it to 0"),
    ],
)
def test_stages_that_cannot_be_are_refused(small_experiment, tmp_path, monkeypatch, config, settings, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_trainer(small_experiment(*settings, config=config), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_what_comes_with_the_project_wherever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start_from = load("mmg_small_finetune").train.start_from
    assert start_from is not None and find_start(start_from).samefile(SHIPPED / "mmg_small.safetensors")


def test_a_first_stage_of_another_model_is_refused(small_experiment, first_stage, tmp_path):
    experiment = small_experiment(f"train.start_from={first_stage}", "model.encoder.dim=64", config="mmg_tiny_score")
    with pytest.raises(ValueError, match=r"another model.*model\.encoder\.dim"):
        open_trainer(experiment, tmp_path / "run", device="cpu")


def test_training_may_start_from_another_run(small_experiment, first_stage, tmp_path):
    """Fine-tuning: the first stage again, from given weights."""
    trainer = open_trainer(small_experiment(f"train.start_from={first_stage}"), tmp_path / "tuned", device="cpu")
    before = torch.load(first_stage, weights_only=True)["model"]
    after = trainer.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if not name.startswith("score."))


@pytest.mark.parametrize("name", STAGES)
def test_second_stages_differ_from_their_first_in_what_the_stage_needs_alone(name):
    second = load(name)
    assert second.train.start_from is not None
    first = load(second.train.start_from)
    assert second.model == first.model and second.crop == first.crop and second.data.sources == first.data.sources
    assert second.train.stage == "score" and second.data.negatives == 0.5 and second.track.update == "score"
