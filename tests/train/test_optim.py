"""Two learning rates, the schedule as a function of progress, the running average by hand, and states that fit."""

import dataclasses

import pytest
import torch
from torch import nn

from lib.config.load import load
from lib.models.build import build_model
from lib.train.optim import WeightAverage, build_optimizer, learning_rate_factor, load_optimizer


def test_the_encoder_has_its_own_rate_and_every_parameter_is_in_one_group(small_experiment):
    experiment = small_experiment("train.lr=1e-3", "train.encoder_lr=1e-4")
    model = build_model(experiment)
    optimizer = build_optimizer(model, experiment.train)
    encoder = {id(parameter) for parameter in model.encoder.parameters()}
    by_rate = {group["lr"]: {id(parameter) for parameter in group["params"]} for group in optimizer.param_groups}
    assert by_rate[1e-4] == encoder
    assert by_rate[1e-3] == {id(parameter) for parameter in model.parameters()} - encoder


def test_the_paper_schedule_drops_tenfold_at_400():
    train = load("mmg_vitb").train
    factors = [learning_rate_factor(train, progress) for progress in (0, 399.99, 400, 499.9)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1])


def test_warm_up_and_cosine():
    train = dataclasses.replace(load("mmg_tiny").train, epochs=10, warmup_epochs=2.0, schedule="cosine")
    factors = [learning_rate_factor(train, progress) for progress in (0, 1, 2, 6, 10)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-12)


def test_the_average_of_two_steps_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 8.0)
    average = WeightAverage(model, 0.25)
    nn.init.constant_(model.weight, 4.0)
    average.update(model, step=1)  # decay min(0.25, 2 / 11) = 2 / 11
    first = 8 * 2 / 11 + 4 * 9 / 11
    assert average.state["weight"].item() == pytest.approx(first, rel=1e-6)
    nn.init.constant_(model.weight, 0.0)
    average.update(model, step=1000)  # decay 0.25
    assert average.state["weight"].item() == pytest.approx(first / 4, rel=1e-6)


def test_statistics_are_averaged_and_counters_copied():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, 0.5)
    model.train()(torch.tensor([[0.0, 2.0], [4.0, 6.0]]))
    average.update(model, step=10**6)
    assert average.state["running_mean"].tolist() == pytest.approx([0.1, 0.2])  # half of 0.1 * (2, 4)
    assert int(average.state["num_batches_tracked"]) == 1


def test_a_model_gets_its_own_weights_back_even_after_an_error():
    model = nn.Linear(3, 3)
    own = model.weight.detach().clone()
    average = WeightAverage(model, 0.5)
    average.state["weight"].fill_(7)
    with pytest.raises(KeyError), average.applied(model):
        assert torch.equal(model.weight, torch.full((3, 3), 7.0))
        raise KeyError
    assert torch.equal(model.weight, own)


def test_a_stored_state_of_other_shapes_is_refused(small_experiment):
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model, small_experiment().train)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    stored = optimizer.state_dict()
    load_optimizer(optimizer, {"state": stored["state"]})
    moments = stored["state"][0]
    for odd in ({**moments, "exp_avg": torch.zeros(3)}, {"step": moments["step"]}):
        with pytest.raises(ValueError, match="parameter 0 has not its shape"):
            load_optimizer(optimizer, {"state": {0: odd}})
    with pytest.raises(ValueError, match="average of weight has another shape"):
        WeightAverage(model, 0.5).load({"weight": torch.zeros(1), "bias": torch.zeros(2)})
