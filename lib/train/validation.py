"""Validation shared by all processes: which samples each computes, and the means over all of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch

from lib.data.samples.mixture import VALIDATION_EPOCH, sample_id
from lib.train import distributed
from lib.train.losses import Losses
from lib.train.objectives import AnyBatch


class Group(NamedTuple):
    """Validation samples of one forward pass.

    Attributes:
        number: of the group among all; seeds its masks, so that they do not depend on the number of processes.
        ids: of the samples.
        repeated: True where it only keeps this process in step with the others, and does not count.
    """

    number: int
    ids: list[int]
    repeated: bool


def validation_share(num_samples: int, batch_size: int, rank: int, processes: int) -> list[Group]:
    """Return the groups of one process; every process has as many, so that they can agree on things in between."""
    starts = range(0, num_samples, batch_size)
    share = []
    for first in range(0, len(starts), processes):
        repeated = first + rank >= len(starts)
        number = first if repeated else first + rank
        indices = range(starts[number], min(starts[number] + batch_size, num_samples))
        share.append(Group(number, [sample_id(VALIDATION_EPOCH, index) for index in indices], repeated))
    return share


def mean_over_groups(
    share: Sequence[Group],
    batches: Iterable[AnyBatch],
    compute: Callable[[AnyBatch, Group], Losses],
    pause: Callable[[], None],
    device: torch.device,
) -> tuple[dict[str, float], list[str]]:
    """Return the means over the samples of all processes, and the names of those that are measures.

    Args:
        share: the groups of this process.
        batches: their samples.
        compute: what a batch costs.
        pause: called before each group, by all processes at the same point.
        device: on which to add up.
    """
    sums = {"samples": 0.0}
    measures: list[str] = []
    for group, batch in zip(share, batches, strict=True):
        pause()
        losses = compute(batch, group)
        measures = list(losses.measures)
        samples = 0 if group.repeated else batch.num_samples
        sums["samples"] += samples
        for name, value in {**losses.terms, "total": losses.total, **losses.measures}.items():
            sums[name] = sums.get(name, 0.0) + float(value) * samples
    pause()
    totals = torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
    num_samples, *values = distributed.sum_over_ranks(totals).tolist()
    return {name: value / num_samples for name, value in zip(list(sums)[1:], values, strict=True)}, measures
