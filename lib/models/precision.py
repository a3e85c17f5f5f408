"""The number format of a tracker's matrix products."""

from typing import Literal

import torch

from lib.models.device import has_bfloat16_units

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def tracking_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Return the format to store and multiply weights in, or None for plain float32.

    `auto` is bfloat16 where the device has matrix units for it (CUDA devices from Ampere on, CPUs with AMX), else
    float32: measured to be the fastest in each case where the project could measure.

    Raises:
        ValueError: the device does not have the format.
    """
    has_bfloat16 = has_bfloat16_units(device)
    if device.type == "cuda":
        if precision == "bf16" and not has_bfloat16:
            raise ValueError(f"track.precision: bf16 needs a GPU from Ampere on, and {device} is a "
                             f"{torch.cuda.get_device_name(device)}; use fp16 or fp32")  # fmt: skip
    elif precision == "fp16":
        raise ValueError("track.precision: fp16 is for GPUs; on a CPU use auto, bf16 or fp32")
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16 else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
