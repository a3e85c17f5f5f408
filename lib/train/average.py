"""A running average of the weights, which often tracks better than the last weights themselves."""

import copy

import torch
from torch import nn


class WeightAverage:
    """Holds a second model whose weights are the exponential moving average of the trained one's.

    Early steps count more: the decay is at most (1 + n) / (10 + n) after n steps, so that the random start is
    forgotten however short the training. Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by
    Averaging", 1992.

    Args:
        model: the model that is trained; it is copied.
        decay: what stays of the average at each step, late in training.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards `model`; `step` counts the finished steps, this one included."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for average, value in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:  # a counter, such as a BatchNorm's
                average.copy_(value)
