"""AdamW, its schedule and an average of the weights; how a network lies in memory and in what format it runs."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from lib.config.schema import Optimization
from lib.models.attention import set_fused_attention
from lib.models.compiling import compile_blocks
from lib.models.device import has_bfloat16_units
from lib.models.mmg import MMG

STEM = "encoder.patch_embed.features."  # how the names of a stem's weights begin


def build_optimizer(model: nn.Module, train: Optimization) -> AdamW:
    """Give the encoder and its stem their own learning rates; everything else learns at `train.lr`.

    Each group carries `base_lr`, which `set_learning_rate` scales.
    """
    stem, encoder, rest = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = stem if name.startswith(STEM) else encoder if name.startswith("encoder.") else rest
            group.append(parameter)
    groups = [
        {"params": stem, "lr": train.stem_lr, "base_lr": train.stem_lr, "name": "stem"},
        {"params": encoder, "lr": train.encoder_lr, "base_lr": train.encoder_lr, "name": "encoder"},
        {"params": rest, "lr": train.lr, "base_lr": train.lr, "name": "rest"},
    ]
    # One kernel for all weights, on CPUs too: a step of mmg_tiny takes a twentieth less; see LOG.md.
    return AdamW([group for group in groups if group["params"]], weight_decay=train.weight_decay, fused=True)


def load_optimizer(optimizer: AdamW, stored: Mapping[str, Any]) -> None:
    """Continue with the moments of a stored state, ValueError for other shapes; rates and decay stay as they are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, moments in stored["state"].items():
        shape = parameters[number].shape
        wanted = {"step": (), "exp_avg": shape, "exp_avg_sq": shape}
        if {name: value.shape for name, value in moments.items()} != wanted:
            raise ValueError(f"the optimiser's state of parameter {number} has not its shape {tuple(shape)}")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": stored["state"]})


def learning_rate_factor(train: Optimization, progress: float) -> float:
    """Return what the learning rates are multiplied by at `progress`, counted in epochs with fractions."""
    if progress < train.warmup_epochs:
        return progress / train.warmup_epochs
    if train.schedule == "cosine":
        span = max(train.epochs - train.warmup_epochs, 1e-9)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - train.warmup_epochs) / span)))
    return train.drop_factor if progress >= train.drop_epoch else 1.0


def set_learning_rate(optimizer: AdamW, factor: float) -> None:
    """Set every group to its base rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class WeightAverage:
    """The exponential moving average of a model's weights and statistics.

    Early steps count more: the decay is at most (1 + n) / (10 + n) after n steps, so that the random start is
    forgotten however short the training. Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by
    Averaging", 1992.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._decay = decay

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from an average that was stored; raise ValueError for one of another model."""
        for name, average in self.state.items():
            if state[name].shape != average.shape:
                raise ValueError(f"the average of {name} has another shape")
            average.copy_(state[name])

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards `model`; `step` counts the finished steps, this one included."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:  # a counter, such as a BatchNorm's
                self.state[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights for a while, and its own back afterwards, bit for bit."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)


def prepare_network(model: nn.Module, device: torch.device, *, compiled: bool) -> None:
    """Choose attention and layout by what was measured on each kind of device (LOG.md), and compile if wanted."""
    # On CPUs the fused attention's bfloat16 backward pass is slower than the plain products.
    set_fused_attention(model, device.type != "cpu")
    if device.type == "cuda" and isinstance(model, MMG):
        # Tokens arrive at the head with channels last; convolutions that agree need not copy them, and matrix
        # units want it so. On CPUs it gains a tenth at the paper's size and nothing at small ones.
        model.head.to(memory_format=torch.channels_last)
    if compiled:
        compile_blocks(model)


def resolve_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast type for a precision of the schema, or None for plain float32.

    `auto` chooses bfloat16 where matrix units multiply it. float16 is for cards before Ampere, and is never chosen by
    itself.
    """
    if name == "fp32":
        return None
    if name == "bf16":
        return torch.bfloat16
    if name == "fp16":
        return torch.float16
    return torch.bfloat16 if has_bfloat16_units(device) else None


def build_scaler(autocast_dtype: torch.dtype | None, device: torch.device) -> torch.amp.GradScaler:
    """Return the scaler that keeps small float16 gradients above zero; for every other type one that does nothing."""
    return torch.amp.GradScaler(device.type, enabled=autocast_dtype is torch.float16)


def scale_may_fall(scaler: torch.amp.GradScaler) -> bool:
    """Return True where a gradient that is not finite may only mean that the scale was too large.

    The scaler then leaves the step out and halves its scale, which is float16's normal life. Below a scale of 1 the
    gradient itself is at fault.
    """
    return scaler.is_enabled() and scaler.get_scale() >= 1
