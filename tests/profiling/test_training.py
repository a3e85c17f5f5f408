"""The cost of a training step: its operations counted right, its stages complete, its limit measured."""

import json
from functools import cache

import pytest
import torch
from conftest import SMALL

from lib.config.load import load
from lib.profiling import clock as peak
from lib.profiling import training as cost_module
from lib.profiling.report import profile_training
from lib.profiling.training import (
    StepFlops,
    TimedTrainer,
    count_step_flops,
    describe_cost,
    measure_training,
    synthetic_batch,
)
from lib.train.session import open_trainer

STAGES = {"data wait", "encoder", "decoders", "head", "rest", "backward", "optimiser"}
SECOND_STAGE = ("train.stage=score", "data.negatives=0.5", "train.start_from=x", "model.score.enabled=true")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    monkeypatch.setattr(peak, "SIDES", {"cpu": (64, 128)})


@cache
def flops_of(*settings: str) -> StepFlops:
    return count_step_flops(load("mmg_tiny", (*SMALL, *settings)))


def test_the_operations_of_the_paper_s_encoder_are_those_of_its_equations():
    """ViT-Base over 384 tokens: 12 D^2 of weights and 2 L D of attention a token and block; two operations each."""
    tokens, width, blocks = 384, 768, 12
    embedded = 2 * 3 * 16 * 16 * width * tokens
    by_hand = embedded + blocks * 2 * tokens * (12 * width**2 + 2 * tokens * width)
    undecoded = [f"model.decoder.{name}=false" for name in ("self_decoder", "online_to_search", "search_to_online")]
    assert count_step_flops(load("mmg_vitb", ["train.batch_size=2", *undecoded])).forward["encoder"] == 2 * by_hand


def test_a_backward_pass_costs_twice_the_forward_pass_but_for_the_first_layer():
    flops = flops_of()
    # No gradient flows to the images: of the patch embedding only the weights' half of the backward pass is there.
    tokens, batch = 2 * 2**2 + 4**2, 4
    first = batch * tokens * 2 * 3 * 16 * 16 * 32
    assert set(flops.forward) == {"encoder", "decoders", "head"}
    assert flops.total == 3 * sum(flops.forward.values()) - first


def test_operations_are_those_of_the_model_whatever_the_step_repeats_or_freezes():
    plain = flops_of()
    assert flops_of("model.encoder.checkpoint_activations=true") == plain
    assert flops_of("train.batch_size=8").total == 2 * plain.total
    second_stage = flops_of(*SECOND_STAGE)
    assert set(second_stage.forward) == {"encoder", "score"}
    backward = second_stage.total - sum(second_stage.forward.values())
    assert second_stage.forward["score"] < backward <= 2 * second_stage.forward["score"]


def test_a_timed_step_is_the_trainer_s(small_experiment, tmp_path):
    """Masks, drop-path, losses, clipping and optimiser: the same weights after a step."""
    experiment = small_experiment("model.encoder.drop_path=0.3", "train.precision=bf16")
    trainer = open_trainer(experiment, tmp_path / "run", device="cpu")
    step = TimedTrainer(experiment, CPU)
    step.model.load_state_dict(trainer.model.state_dict())
    batch = synthetic_batch(experiment, 4)
    trainer.objective.train()
    trainer.train_step(batch)
    step.take(lambda: batch)
    for (name, one), other in zip(trainer.model.state_dict().items(), step.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("loader", [False, True])
def test_a_measurement_is_consistent(small_experiment, monkeypatch, loader):
    monkeypatch.setattr(cost_module, "count_step_flops", lambda experiment: flops_of())
    cost = measure_training(small_experiment(), CPU, steps=3, loader=loader)
    assert set(cost.stage_seconds) == STAGES
    assert cost.samples_per_second == pytest.approx(4 / cost.step_seconds)
    assert cost.utilisation * cost.steps_per_limit == pytest.approx(1)
    assert cost.utilisation == pytest.approx(cost.flops.total / cost.step_seconds / cost.peak_flops)
    low, high = cost.step_seconds_spread
    assert low <= cost.step_seconds <= high
    text = describe_cost(cost)
    assert "of the limit" in text
    assert ("real data" in text) == loader


def test_the_second_stage_and_a_two_image_tracker_have_the_stages_that_they_run(small_experiment):
    score = TimedTrainer(small_experiment(*SECOND_STAGE), CPU)
    assert set(score.take(lambda: synthetic_batch(small_experiment(), 4))) == {
        "data wait", "encoder", "score", "rest", "backward", "optimiser", "step"
    }  # fmt: skip
    two = small_experiment("model.online_template=false", "model.decoder.search_to_online=false", "track.update=none")
    assert "decoders" in TimedTrainer(two, CPU).take(lambda: synthetic_batch(two, 4))


def test_figures_are_written_as_json(small_experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_module, "count_step_flops", lambda experiment: flops_of())
    file = tmp_path / "step.json"
    profile_training(small_experiment(), device_name="cpu", steps=1, json_file=file)
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["config"] == "mmg_tiny"
    assert set(found["stage_seconds"]) == STAGES
    assert found["flops"]["total"] > 0
