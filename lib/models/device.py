"""Devices: by the name that people give them, and what they can do."""

import os
import re
import sys

import torch


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
                         "here; use --device cpu")  # fmt: skip
    return device


def has_bfloat16_units(device: torch.device) -> bool:
    """Return True where matrix units multiply bfloat16: CUDA devices from Ampere on, CPUs with AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def available_cores() -> int:
    """Return how many CPU cores this process may use, which a cluster may have pinned to fewer than there are."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
