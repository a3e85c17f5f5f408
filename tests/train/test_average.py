"""The running average against values worked out by hand."""

import pytest
import torch
from torch import nn

from lib.train.optim import WeightAverage


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
