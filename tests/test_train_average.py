"""The running average against values worked out by hand."""

import pytest
import torch
from torch import nn

from lib.train.average import WeightAverage


def test_the_average_of_two_steps_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 8.0)
    average = WeightAverage(model, 0.25)
    nn.init.constant_(model.weight, 4.0)
    average.update(model, step=1)  # decay min(0.25, 2 / 11) = 2 / 11
    first = 8 * 2 / 11 + 4 * 9 / 11
    assert average.model.weight.item() == pytest.approx(first, rel=1e-6)
    nn.init.constant_(model.weight, 0.0)
    average.update(model, step=1000)  # decay 0.25
    assert average.model.weight.item() == pytest.approx(first / 4, rel=1e-6)
    assert not average.model.weight.requires_grad and model.weight.requires_grad


def test_statistics_are_averaged_and_counters_copied():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, 0.5)
    model.train()(torch.tensor([[0.0, 2.0], [4.0, 6.0]]))
    average.update(model, step=10**6)
    assert average.model.running_mean is not None and average.model.num_batches_tracked is not None
    assert average.model.running_mean.tolist() == pytest.approx([0.1, 0.2])  # half of 0.1 * (2, 4)
    assert int(average.model.num_batches_tracked) == 1
    assert not average.model.training
