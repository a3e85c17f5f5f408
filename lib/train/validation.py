"""Which validation samples each process computes; together all of them, once."""

from typing import NamedTuple

from lib.data.training_set import sample_id

VALIDATION_EPOCH = 10**6  # an epoch number that training never reaches, so validation noise is its own


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
