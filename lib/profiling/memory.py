"""What a training step takes of a device's memory, as a table: computed for any device, measured on a CUDA one."""

import weakref
from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lib.config.schema import Experiment
from lib.profiling.clock import watch_parts
from lib.profiling.training import TimedTrainer, named_parts, sketched_step, synthetic_batch
from lib.train.optim import resolve_precision

MIB = 2**20
_CARD = 12 * 1024 * MIB
# Of a card's memory, what a program cannot use: the driver's context, cuBLAS's and cuDNN's workspaces, and what the
# allocator loses between blocks of different sizes. An allowance, not measured here.
_RESERVE = 1024 * MIB
WEIGHT_COPIES = "copies of weights"
GRADIENTS = "gradients"
_BLOCK = 512  # bytes; CUDA's allocator hands out no less


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one process at the moment of a step when they are most.

    Attributes:
        parameters: weights and buffers.
        optimizer: AdamW's two moments.
        average: the running average of the weights, where there is one.
        activations: what the forward pass has left for the backward pass, by part of the network; `rest` is the
            normalised images, the loss and its gradient's first tensors.
        weight_copies: the weights in the number format of autocast.
        gradients: of the parameters, as far as they are there at that moment.
        temporary: made in the backward pass and soon gone.
        buckets: with several processes, what their gradients are summed in; not part of `total`.
    """

    parameters: int
    optimizer: int
    average: int
    activations: dict[str, int]
    weight_copies: int
    gradients: int
    temporary: int
    buckets: int

    @property
    def total(self) -> int:
        """All of it, in a single process."""
        kept = self.parameters + self.optimizer + self.average + sum(self.activations.values())
        return kept + self.weight_copies + self.gradients + self.temporary


def compute_memory(experiment: Experiment, device: torch.device) -> StepMemory:
    """Run a step of `train.batch_size` samples on tensors without storage, and count what lives.

    Every tensor is counted, whatever part of torch keeps it: activations, inputs of recomputed blocks, copies made by
    autocast. The rules of autocast and the choice of attention kernel are the CPU's, with fused attention as on a GPU;
    both keep the same tensors. Not counted is what a kernel takes for itself while it runs. The device decides what
    `train.precision: auto` is.
    """
    train = experiment.train
    dtype = resolve_precision(train.precision, device)
    with sketched_step(experiment, train.batch_size) as sketch:
        with LiveBytes(sketch.model) as memory:

            def label(name: str) -> None:
                memory.label = name

            with (
                watch_parts(named_parts(sketch.model), enter=label, leave=lambda name: label("rest")),
                torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None),
            ):
                losses = sketch.objective.losses(sketch.objective.network, sketch.batch, torch.Generator())
            label("backward")
            losses.total.backward()
        tensors = [*sketch.model.parameters(), *sketch.model.buffers()]
        weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        learning = sum(p.numel() * p.element_size() for p in sketch.model.parameters() if p.requires_grad)
        parts = [*named_parts(sketch.model), "rest"]
    peak = memory.at_peak
    return StepMemory(
        parameters=weights,
        optimizer=2 * learning,
        average=weights if train.ema_decay else 0,
        activations={name: peak[name] for name in parts if peak[name]},
        weight_copies=peak[WEIGHT_COPIES],
        gradients=peak[GRADIENTS],
        temporary=peak["backward"],
        buckets=learning,
    )


def measure_memory(experiment: Experiment, device: torch.device) -> int:
    """Take two steps on a CUDA device and return the most bytes that its tensors took; the second has the moments."""
    torch.cuda.reset_peak_memory_stats(device)
    step = TimedTrainer(experiment, device)
    batch = synthetic_batch(experiment, experiment.train.batch_size, device)
    for _ in range(2):
        step.take(lambda: batch)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


@dataclass(frozen=True)
class MemoryTable:
    """The memory of an experiment's step, and by setting what others would make of it in one of several processes.

    `measured` are the most bytes that torch allocated for the step on a CUDA device; None without one.
    """

    config: str
    batch_size: int
    precision: str
    step: StepMemory
    other_settings: dict[str, int]
    measured: int | None


def tabulate_memory(experiment: Experiment, device: torch.device) -> MemoryTable:
    """Compute the memory of an experiment and of the settings that change it; on a CUDA device, measure it too."""
    step = compute_memory(experiment, device)
    others = {}
    for precision, checkpointed in product(("fp32", "bf16"), (False, True)):
        encoder = replace(experiment.model.encoder, checkpoint_activations=checkpointed)
        train = replace(experiment.train, precision=precision)
        other = replace(experiment, model=replace(experiment.model, encoder=encoder), train=train)
        memory = compute_memory(other, device)
        others[_setting(other)] = memory.total + memory.buckets
    return MemoryTable(
        experiment.name,
        experiment.train.batch_size,
        _setting(experiment),
        step,
        others,
        measure_memory(experiment, device) if device.type == "cuda" else None,
    )


def describe_memory(table: MemoryTable) -> str:
    """Return the table as text."""
    step = table.step
    rows = {
        "parameters and buffers": step.parameters,
        "AdamW's moments": step.optimizer,
        "running average": step.average,
        **{f"activations, {name}": size for name, size in step.activations.items()},
        "copies of weights for autocast": step.weight_copies,
        "gradients, as far as there": step.gradients,
        "temporary, backward": step.temporary,
    }
    lines = [f"{table.config}, {table.batch_size} samples a pass, {table.precision}: a step at its fullest moment"]
    lines += [f"  {name:34s} {size / MIB:9.0f} MiB" for name, size in rows.items() if size]
    lines.append(f"  {'all tensors, computed':34s} {step.total / MIB:9.0f} MiB")
    if table.measured is None:
        lines.append("  computed, not measured: there is no CUDA device here")
    else:
        lines.append(f"  {'all tensors, measured':34s} {table.measured / MIB:9.0f} MiB")
    kept = sum(step.activations.values()) / table.batch_size / MIB
    lines.append(f"  a sample more takes {kept:.0f} MiB")
    lines.append(f"  {'more, one of several GPUs: buckets':34s} {step.buckets / MIB:9.0f} MiB")
    lines.append(f"one of several cards of 12 GiB, {_RESERVE // MIB} MiB set aside for driver, workspaces and gaps")
    for name, total in table.other_settings.items():
        left = (_CARD - _RESERVE - total) / MIB
        verdict = f"fits, {left:.0f} left" if left >= 0 else f"{-left:.0f} too much"
        lines.append(f"  {name:34s} {total / MIB:9.0f} MiB: {verdict}")
    return "\n".join(lines)


def _setting(experiment: Experiment) -> str:
    recomputed = experiment.model.encoder.checkpoint_activations
    return experiment.train.precision + (", encoder recomputed" if recomputed else "")


class LiveBytes(TorchDispatchMode):
    """Counts every storage made inside the `with` block from its making to its end, once however many tensors share it.

    A storage belongs to the label that is set when it is made. Apart from that, a parameter's copy in another number
    format belongs to `WEIGHT_COPIES`, and what is added to a parameter's `grad` to `GRADIENTS`. Works on tensors
    without storage too.

    Attributes:
        label: who makes tensors now; the owner changes it.
        live: bytes by label.
        peak, at_peak: the most bytes that lived at once, and `live` then.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.label = "rest"
        self.live: Counter[str] = Counter()
        self.at_peak: Counter[str] = Counter()
        self.peak = 0
        self._labels: dict[int, tuple[str, int]] = {}
        self._weights = {_key(parameter) for parameter in model.parameters()}
        for value in (*model.parameters(), *model.buffers()):
            self._labels[_key(value)] = ("", 0)  # was there before
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._note_gradient)
            for parameter in model.parameters()
            if parameter.requires_grad
        ]

    @property
    def total(self) -> int:
        """Bytes that live now."""
        return sum(self.live.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        copied = func is torch.ops.aten._to_copy.default and _key(args[0]) in self._weights
        label = WEIGHT_COPIES if copied else self.label
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self._add(value, label)
        return result

    def __exit__(self, *exception: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*exception)

    def _add(self, value: Tensor, label: str) -> None:
        storage = value.untyped_storage()
        key = storage._cdata
        if key in self._labels:
            return
        size = -(-storage.nbytes() // _BLOCK) * _BLOCK
        self._labels[key] = (label, size)
        weakref.finalize(storage, self._remove, key)
        self.live[label] += size
        if (total := self.total) > self.peak:
            self.peak, self.at_peak = total, self.live.copy()

    def _remove(self, key: int) -> None:
        label, size = self._labels.pop(key)
        self.live[label] -= size

    def _note_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        key = _key(parameter.grad)
        label, size = self._labels[key]
        self._labels[key] = (GRADIENTS, size)
        self.live[label] -= size
        self.live[GRADIENTS] += size


def _key(value: Tensor) -> int:
    return value.untyped_storage()._cdata
