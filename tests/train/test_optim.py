"""Two learning rates, and the schedule as a function of progress."""

import dataclasses

import pytest

from lib.config.load import load
from lib.models.build import build_model
from lib.train.optim import build_optimizer, learning_rate_factor, set_learning_rate


def test_the_encoder_has_its_own_rate_and_every_parameter_is_in_one_group(small_experiment):
    experiment = small_experiment("train.lr=1e-3", "train.encoder_lr=1e-4")
    model = build_model(experiment)
    optimizer = build_optimizer(model, experiment.train)
    encoder = {id(parameter) for parameter in model.encoder.parameters()}
    by_rate = {group["lr"]: {id(parameter) for parameter in group["params"]} for group in optimizer.param_groups}
    assert by_rate[1e-4] == encoder
    assert by_rate[1e-3] == {id(parameter) for parameter in model.parameters()} - encoder


def test_frozen_parameters_are_left_out(small_experiment):
    experiment = small_experiment()
    model = build_model(experiment)
    assert model.score is not None
    model.score.requires_grad_(False)
    grouped = {id(p) for group in build_optimizer(model, experiment.train).param_groups for p in group["params"]}
    assert grouped.isdisjoint({id(parameter) for parameter in model.score.parameters()})


def test_the_paper_schedule_drops_tenfold_at_400():
    train = load("mmg_vitb").train
    factors = [learning_rate_factor(train, progress) for progress in (0, 399.99, 400, 499.9)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1])


def test_warm_up_and_cosine():
    train = dataclasses.replace(load("mmg_tiny").train, epochs=10, warmup_epochs=2.0, schedule="cosine")
    factors = [learning_rate_factor(train, progress) for progress in (0, 1, 2, 6, 10)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-12)


def test_setting_the_rate_keeps_the_ratio(small_experiment):
    experiment = small_experiment("train.lr=1e-3", "train.encoder_lr=1e-4")
    optimizer = build_optimizer(build_model(experiment), experiment.train)
    set_learning_rate(optimizer, 0.5)
    set_learning_rate(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-5, 1e-4])
