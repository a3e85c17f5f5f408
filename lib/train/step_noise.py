"""The noise of training steps: masks and drop-path as functions of the seed, the step and a sample's place in it."""

import torch
from torch import nn

from lib.models.noise import StepGenerator, StepRows, draw_by_step


class StepNoise:
    """Seeds every pass of a step alike and says which rows of the step's noise are its own.

    Args:
        model: whose drop-path is to follow.
        seed: of the run.
        total: samples of a step, all processes and passes together.
        device: of the model.
    """

    def __init__(self, model: nn.Module, seed: int, total: int, device: torch.device) -> None:
        self._seed = seed
        self._rows = StepRows(total, torch.arange(0, device=device))
        self.generator = StepGenerator(self._rows)
        draw_by_step(model, self._rows)

    def begin_pass(self, step: int, first_row: int, num_samples: int) -> None:
        """Prepare for a pass over samples `first_row` and on of a step."""
        assert first_row + num_samples <= self._rows.total, "a pass beyond the samples of its step"
        self._rows.index = torch.arange(first_row, first_row + num_samples, device=self.generator.device)
        seed = (self._seed * 1_000_003 + step) * 4096
        torch.manual_seed(seed)  # drop-path draws from the default generator
        self.generator.manual_seed(seed)
