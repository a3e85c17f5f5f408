"""A training step without data: synthetic tensors to run it on, and a sketch of it that has shapes and no numbers.

The sketch runs every operation of the step, forward and backward, on tensors that have no storage. A counter of
operations or of bytes that watches it sees what the step would do, for ViT-Base in seconds and without its memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

# The documented way to run a model without storage; its module has an underscore all the same.
from torch._subclasses.fake_tensor import FakeTensorMode

from lib.config.schema import Experiment
from lib.data.samples.training_set import Batch
from lib.models.build import build_model
from lib.models.mmg import MMG
from lib.train.objective import Objective
from lib.train.start import build_objective


class Sketch(NamedTuple):
    """A training step's network, objective and batch, on tensors without storage."""

    model: MMG
    objective: Objective[Batch]
    batch: Batch


def synthetic_batch(experiment: Experiment, batch_size: int, device: torch.device | str = "cpu") -> Batch:
    """Return random images of the experiment's sizes with boxes in the middle; every other sample shows its target."""
    crop = experiment.crop
    template, online_template, search = (
        torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8, device=device)
        for size in (crop.template_size, crop.template_size, crop.search_size)
    )
    box_xyxy = torch.tensor([[0.4, 0.4, 0.6, 0.6]], device=device).repeat(batch_size, 1)
    present = torch.arange(batch_size, device=device) % 2 == 0
    return Batch(template, online_template, search, box_xyxy, present)


@contextmanager
def sketched_step(experiment: Experiment, batch_size: int) -> Iterator[Sketch]:
    """Give a sketch to run inside the `with` block; nothing of it may be read as a number."""
    with torch.device("meta"):
        model = build_model(experiment, pretrained=False, init="default")
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device="cpu")
        objective = build_objective(experiment, model)
        objective.train()
        yield Sketch(model, objective, synthetic_batch(experiment, batch_size))
