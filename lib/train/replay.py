"""Take a step again that was not finite, and say where in the network that begins."""

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.config.load import any_from_dict
from lib.data.samples.mask_set import MaskBatch
from lib.data.samples.training_set import Batch
from lib.models.pretrained import load_model_state, read_checkpoint
from lib.train.nonfinite import nonfinite_terms
from lib.train.session import open_trainer

_LISTED = 8  # parameters whose gradient is not finite


def replay(path: Path, *, device: str = "auto", paths_file: Path | None = None) -> int:
    """Print the losses of a dumped step, the first layer with an output that is not finite, and such gradients.

    The dump is a `nonfinite_step_NNNNNNNN.pth` of a run, ValueError for another file. The fault may need the kind of
    device on which it arose. Returned is 1 when the step is not finite here either, 0 when it is.
    """
    dump = read_checkpoint(path)
    if not {"config", "model", "step", "first_rows", "batches", "total"} <= dump.keys():
        raise ValueError(f"{path} is no dump of a step: it is made beside the checkpoints when a loss is not finite")
    experiment = any_from_dict(dump["config"], str(path))
    # To be computed by one process, in as many passes as make the same step.
    train = dataclasses.replace(experiment.train, accumulate_to=dump["total"], total_batch=dump["total"], compile=False)
    experiment = dataclasses.replace(experiment, train=train)
    with tempfile.TemporaryDirectory() as folder:
        trainer = open_trainer(experiment, Path(folder), device=device, paths_file=paths_file)
        load_model_state(trainer.model, dump["model"], source=str(path))
        if trainer.scaler.is_enabled():
            trainer.scaler.load_state_dict(dump["scaler"])
        print(f"step {dump['step']} of {experiment.name}, {len(dump['batches'])} passes")
        finite = True
        trainer.objective.train()
        for first_row, stored in zip(dump["first_rows"], dump["batches"], strict=True):
            batch = (Batch if stored.keys() == set(Batch._fields) else MaskBatch)(**stored).to(trainer.device)
            with _first_fault(trainer.model) as layers:
                losses = trainer.forward(batch, dump["step"], first_row)
            shown = {**losses.terms, "total": losses.total, **losses.measures}
            print("  ".join(f"{name} {float(value.detach()):.6g}" for name, value in shown.items()))
            inputs = [name for name, tensor in stored.items() if not torch.isfinite(tensor.float()).all()]
            trainer.model.zero_grad(set_to_none=True)
            trainer.scaler.scale(losses.total / len(dump["batches"])).backward()
            gradients = [
                name
                for name, parameter in trainer.model.named_parameters()
                if parameter.grad is not None and not parameter.grad.isfinite().all()
            ]
            terms = nonfinite_terms(losses)
            _print_fault("inputs", inputs)
            _print_fault("first layer", layers)
            _print_fault("loss terms", terms)
            _print_fault("gradients", gradients)
            finite = finite and not (inputs or layers or terms or gradients)
        trainer.log.close()
    if finite:
        print("all is finite here: the fault may need the device or the precision of the run")
    return 0 if finite else 1


@contextmanager
def _first_fault(model: nn.Module) -> Iterator[list[str]]:
    """Watch a network within the block; the list gets the name of the first layer with an output that is not finite."""
    names: list[str] = []

    def look(name: str, module: nn.Module, inputs: object, output: object) -> None:
        # Layers finish from the inside out, so the first one that is met is the innermost.
        if not names and any(not tensor.isfinite().all() for tensor in _tensors(output)):
            names.append(f"{name} ({type(module).__name__})")

    handles = [module.register_forward_hook(partial(look, name)) for name, module in model.named_modules()]
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: object) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for item in output:
            yield from _tensors(item)


def _print_fault(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        print(f"not finite: {what} {', '.join(names[:_LISTED])}{more}")
