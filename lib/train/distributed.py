"""The few places where several processes matter; with one process all of them are trivial."""

import os
import re

import torch
from torch import distributed


def start() -> None:
    """Join the process group that torchrun announces in the environment; do nothing when started by hand."""
    if "RANK" not in os.environ or distributed.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend)


def stop() -> None:
    """Leave the process group, if there is one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Return this process's number among all; 0 when alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes; 1 when alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    """Return True in the one process that writes files and draws progress."""
    return rank() == 0


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this process: `auto` is the local rank's GPU, else the CPU.

    Raises:
        ValueError: no such kind of device, or it is not there.
    """
    if name == "auto":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"unknown device {name!r}: write auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"device {name} was asked for, and PyTorch sees {torch.cuda.device_count()} CUDA devices "
                             "here; use --device cpu")  # fmt: skip
        torch.cuda.set_device(device)
    return device


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of a tensor over all processes."""
    if not distributed.is_initialized():
        return values
    values = values.clone()
    distributed.all_reduce(values)
    return values / world_size()
