"""How the samples of one step are shared out: passes one after another, processes side by side."""

from typing import NamedTuple

from lib.config.schema import Optimization


class Batching(NamedTuple):
    """The split of a step; sample number 0 of a step is the same sample whatever the split.

    Attributes:
        batch_size: samples of one forward pass.
        passes: forward and backward passes of one process before the weights change.
        processes: processes side by side.
    """

    batch_size: int
    passes: int
    processes: int

    @property
    def total(self) -> int:
        """Samples of one step."""
        return self.batch_size * self.passes * self.processes

    def first_row(self, number: int, rank: int) -> int:
        """Return which of the step's samples is the first of pass `number` in process `rank`."""
        return (number * self.processes + rank) * self.batch_size


def plan_batching(train: Optimization, processes: int) -> Batching:
    """Split a step of `train.accumulate_to` samples, or of one pass a process where that is not set.

    Raises:
        ValueError: passes of `train.batch_size` do not add up to `train.accumulate_to`.
    """
    at_once = train.batch_size * processes
    if train.accumulate_to is None:
        return Batching(train.batch_size, 1, processes)
    if train.accumulate_to % at_once:
        raise ValueError(f"train.accumulate_to: {train.accumulate_to} is no multiple of the {at_once} samples that "
                         f"{processes} x train.batch_size: {train.batch_size} make at once")  # fmt: skip
    return Batching(train.batch_size, train.accumulate_to // at_once, processes)


def learning_rate_scale(train: Optimization, total: int) -> float:
    """Return what both learning rates are multiplied by for steps of `total` samples; 1 unless `train.scale_lr`.

    Source: the linear rule of Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return total / train.total_batch if train.scale_lr else 1.0


def advice(train: Optimization, batching: Batching) -> str | None:
    """Return what to say when a step has other than the samples that the learning rates were set for."""
    if batching.total == train.total_batch:
        return None
    passes = f" x {batching.passes} passes" if batching.passes > 1 else ""
    found = (f"{batching.processes} x {batching.batch_size} samples{passes} make {batching.total} a step, and the "
             f"learning rates are set for train.total_batch: {train.total_batch}")  # fmt: skip
    if train.scale_lr:
        return f"{found}; train.scale_lr multiplies them by {learning_rate_scale(train, batching.total):g}"
    at_once = batching.batch_size * batching.processes
    if train.total_batch % at_once:
        reach = f"a train.batch_size that makes a divisor of {train.total_batch} with train.accumulate_to reaches it"
    else:
        reach = f"--set train.accumulate_to={train.total_batch} adds up gradients to it"
    return f"{found}: {reach}, or --set train.scale_lr=true scales the learning rates"
