"""Steps whose loss or gradient is not a finite number: what they leave behind, and how many a run may have."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lib.config.schema import Optimization
from lib.train.checkpoint import write_checkpoint
from lib.train.losses import Losses
from lib.train.objectives import AnyBatch


class NonfinitePolicy:
    """What becomes of a step that is not finite: its batches are kept, and it is left out or ends the run.

    One that is left out leaves the running statistics of the model as they were.
    """

    def __init__(self, run: Path, model: nn.Module, train: Optimization) -> None:
        self._run = run
        self._train = train
        layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self._statistics = [buffer for layer in layers for buffer in layer.buffers()]
        self._before: list[Tensor] = []

    def begin_step(self) -> None:
        """Remember what the forward passes of a step change before it is known whether they are finite."""
        if self._train.on_nonfinite == "skip":
            self._before = [buffer.clone() for buffer in self._statistics]

    def leave_out(
        self,
        state: Mapping[str, Any],
        rank: int,
        first_rows: Sequence[int],
        batches: Sequence[AnyBatch],
        passes: Sequence[Losses],
    ) -> str:
        """Undo what a step has changed, keep it for `train.py --replay`, and return what is to be said of it.

        The state is as a checkpoint holds it, before this step; `first_rows` are the places in the step of the first
        samples of this process's batches, and `passes` what these cost. FloatingPointError where the run has to stop.
        """
        for buffer, before in zip(self._statistics, self._before, strict=bool(self._before)):
            buffer.copy_(before)
        step = state["step"]
        terms = list(dict.fromkeys(name for losses in passes for name in nonfinite_terms(losses)))
        what = f"loss terms {terms} are not finite" if terms else "a gradient or another process's loss is not finite"
        kept = self._dump(state, rank, first_rows, batches)
        how = f"; to see where it arises: python tracking/train.py --replay {kept}" if kept else ""
        if self._train.on_nonfinite == "stop":
            raise FloatingPointError(
                f"step {step}: {what}{how}; to go on without such steps: --set train.on_nonfinite=skip"
            )
        if state["left_out"] >= self._train.max_nonfinite:
            raise FloatingPointError(f"step {step}: {what}, after {self._train.max_nonfinite} others that were left "
                                     f"out (train.max_nonfinite){how}")  # fmt: skip
        return f"step {step} is left out: {what}{how}"

    def _dump(
        self, state: Mapping[str, Any], rank: int, first_rows: Sequence[int], batches: Sequence[AnyBatch]
    ) -> Path | None:
        """Write what is needed to take a step again; None where that cannot be written, which is no reason to fail."""
        path = self._run / f"nonfinite_step_{state['step']:08d}{f'_rank_{rank}' if rank else ''}.pth"
        content = {
            **{name: value for name, value in state.items() if name not in ("optimizer", "average")},
            "first_rows": list(first_rows),
            "batches": [{name: tensor.cpu() for name, tensor in batch._asdict().items()} for batch in batches],
        }
        try:
            write_checkpoint(path, content)
        except OSError as error:
            print(f"warning: the batch of the non-finite step could not be kept: {error}", file=sys.stderr)
            return None
        return path


def nonfinite_terms(losses: Losses) -> list[str]:
    """Return the names of the terms that are not finite; `total` where only the sum is not."""
    bad = [name for name, term in losses.terms.items() if not term.isfinite()]
    return bad if bad or losses.total.isfinite() else ["total"]
