"""AdamW with two learning rates, and the schedule as a function of the step."""

import math

from torch import nn
from torch.optim import AdamW

from lib.config.schema import Optimization


def build_optimizer(model: nn.Module, train: Optimization) -> AdamW:
    """Give the encoder its own learning rate; everything else learns at `train.lr`.

    Each group carries `base_lr`, which `set_learning_rate` scales.
    """
    encoder, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (encoder if name.startswith("encoder.") else rest).append(parameter)
    groups = [
        {"params": encoder, "lr": train.encoder_lr, "base_lr": train.encoder_lr, "name": "encoder"},
        {"params": rest, "lr": train.lr, "base_lr": train.lr, "name": "rest"},
    ]
    # One kernel for all weights, on CPUs too: a step of mmg_tiny takes a twentieth less; see LOG.md.
    return AdamW([group for group in groups if group["params"]], weight_decay=train.weight_decay, fused=True)


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
