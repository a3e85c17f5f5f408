"""Devices: by the name that people give them, what they can do, and the format of products on them."""

import os
import re
import sys
from typing import Any, Literal

import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_LEAST_DIM = 192  # ViT-Tiny: bfloat16 takes 0.55 of float32's time on a CPU with AMX; 0.82 at a width of 128


def find_device(name: str) -> torch.device:
    """Return the device `cpu`, `cuda` or `cuda:N`.

    Raises:
        ValueError: no such kind of device, or it is not there.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"unknown device {name!r}: write auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name} was asked for, and PyTorch sees {torch.cuda.device_count()} CUDA devices "
                         "here; use cpu")  # fmt: skip
    return device


def cpu_capabilities() -> dict[str, Any]:
    """Return what PyTorch knows of the CPU's units; nothing where it is too old to tell, before 2.10 or so."""
    return getattr(torch.cpu, "get_capabilities", dict)()


def has_bfloat16_units(device: torch.device) -> bool:
    """Return True where matrix units multiply bfloat16: CUDA devices from Ampere on, CPUs with AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return bool(cpu_capabilities().get("amx_bf16", False))


def available_cores() -> int:
    """Return how many CPU cores this process may use, which a cluster may have pinned to fewer than there are."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tracking_dtype(precision: Precision, device: torch.device, dim: int) -> torch.dtype | None:
    """Return the format to store and multiply weights in, or None for plain float32.

    `auto` is bfloat16 where the device has matrix units for it (CUDA devices from Ampere on, CPUs with AMX), and
    float32 elsewhere, and for narrow networks, which would pay for less than a fifth of their time by their accuracy.

    Args:
        precision: as `track.precision` says.
        device: which multiplies.
        dim: width of the encoder's tokens.

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
    elif precision == "bf16" and not _multiplies_bfloat16():
        raise ValueError("track.precision: bf16 needs a CPU with AMX or AVX512-BF16, which this one does not have; "
                         "use auto or fp32")  # fmt: skip
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16 and dim >= _LEAST_DIM else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _multiplies_bfloat16() -> bool:
    """Return True where the CPU multiplies it at all; processors of other makers are not asked."""
    has = cpu_capabilities()
    return has.get("architecture") != "x86_64" or any(has.get(unit) for unit in ("amx_bf16", "avx512_bf16"))
