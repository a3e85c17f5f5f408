"""Noise that belongs to samples: the same however a step's samples are split over processes and passes."""

from dataclasses import dataclass

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn


@dataclass
class StepRows:
    """Which of a training step's samples the current pass holds.

    Attributes:
        total: samples of the whole step, all processes and passes together.
        index: (B,) int64 positions of this pass's samples among them, on the model's device.
    """

    total: int
    index: Tensor


class StepGenerator(torch.Generator):
    """A generator for the masks of a training step: `sample_uniform` then draws for the whole step and takes rows.

    Args:
        rows: of the current pass; the owner changes them between passes, and seeds every pass of a step alike.
    """

    def __new__(cls, rows: StepRows) -> "StepGenerator":
        return super().__new__(cls, rows.index.device)  # pyright: ignore[reportCallIssue]  # built in C

    def __init__(self, rows: StepRows) -> None:
        super().__init__()
        self.rows = rows


def sample_uniform(batch: int, length: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Draw (batch, length) uniform numbers where the generator lives, or on `device` without one."""
    where = device if generator is None else generator.device
    if not isinstance(generator, StepGenerator):
        return torch.rand(batch, length, generator=generator, device=where)
    return torch.rand(generator.rows.total, length, generator=generator, device=where)[generator.rows.index]


class StepDropPath(nn.Module):
    """Stochastic depth of timm's `DropPath`, drawn for the whole step; of it the rows of the current pass are taken."""

    def __init__(self, drop_probability: float, rows: StepRows) -> None:
        super().__init__()
        self.drop_probability = drop_probability
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, ...) with whole samples set to zero and the others scaled up; in evaluation, the input."""
        if not self.training:
            return x
        kept = 1 - self.drop_probability
        factors = x.new_empty((self.rows.total, *[1] * (x.ndim - 1))).bernoulli_(kept).div_(kept)
        return x * factors[self.rows.index]


def draw_by_step(model: nn.Module, rows: StepRows) -> None:
    """Replace every drop-path of a model by one that knows which samples of a step it sees."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, DropPath) and child.drop_prob:
                setattr(module, name, StepDropPath(child.drop_prob, rows))


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
