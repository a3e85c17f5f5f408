"""The number format of the forward pass, and the gradient scaler that float16 needs."""

import torch

from lib.models.device import has_bfloat16_units


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
