"""A running average of the weights, which often tracks better than the last weights themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a model's weights and statistics.

    Early steps count more: the decay is at most (1 + n) / (10 + n) after n steps, so that the random start is
    forgotten however short the training. Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by
    Averaging", 1992.

    Args:
        model: the model that is trained; its weights are copied.
        decay: what stays of the average at each step, late in training.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._decay = decay

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from an average that was stored."""
        for name, average in self.state.items():
            average.copy_(state[name])

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards `model`; `step` counts the finished steps, this one included."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:  # a counter, such as a BatchNorm's
                self.state[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights for a while, and its own back afterwards, bit for bit."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)
