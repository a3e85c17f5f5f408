"""Masks and drop-path of a sample are the same however a step's samples are split."""

import torch
from timm.layers.drop import DropPath
from torch import nn

from lib.models.decoder import random_mask
from lib.models.noise import StepDropPath, StepGenerator, StepRows, draw_by_step

CPU = torch.device("cpu")


def test_masks_of_the_parts_are_the_masks_of_the_whole():
    rows = StepRows(6, torch.arange(6))
    generator = StepGenerator(rows)

    def draw(first: int, count: int) -> torch.Tensor:
        rows.index = torch.arange(first, first + count)
        generator.manual_seed(5)
        masks = [random_mask(count, length, 0.75, generator, CPU) for length in (8, 16)]
        return torch.cat(masks, dim=1)

    assert torch.equal(draw(0, 6), torch.cat([draw(0, 2), draw(2, 2), draw(4, 2)]))


def test_a_step_in_one_pass_draws_what_a_plain_generator_draws():
    step = StepGenerator(StepRows(3, torch.arange(3)))
    plain = torch.Generator().manual_seed(9)
    step.manual_seed(9)
    assert torch.equal(random_mask(3, 20, 0.5, step, CPU), random_mask(3, 20, 0.5, plain, CPU))


def test_drop_path_of_the_parts_is_that_of_the_whole_and_equals_timm():
    rows = StepRows(6, torch.arange(6))
    model = nn.ModuleDict({"on": DropPath(0.5), "off": DropPath(0.0)})
    x = torch.rand(6, 4, 3)
    torch.manual_seed(3)
    expected = model["on"](x)
    draw_by_step(model, rows)
    assert isinstance(model["on"], StepDropPath) and isinstance(model["off"], DropPath)
    torch.manual_seed(3)
    assert torch.equal(model["on"](x), expected)
    assert not torch.equal(expected, x)
    parts = []
    for first in (0, 3):
        rows.index = torch.arange(first, first + 3)
        torch.manual_seed(3)
        parts.append(model["on"](x[first : first + 3]))
    assert torch.equal(torch.cat(parts), expected)
    assert torch.equal(model["on"].eval()(x), x)
