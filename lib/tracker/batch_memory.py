"""Does a batch fit in memory? Found out before hours of tracking, and said with the size that would."""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch

_FEW = 4  # targets of the small batch that is measured
_ROOM = 0.9  # share of the free memory that a suggested batch may take


class MemoryMeter(Protocol):
    """How much memory there is, and how much something takes; in bytes."""

    @property
    def refuses(self) -> bool:
        """True where too large a request raises torch.cuda.OutOfMemoryError; else the system may end the process."""
        ...

    def free(self) -> int:
        """Return what can still be had."""
        ...

    def taken_by(self, work: Callable[[], object]) -> int:
        """Do the work, and return what it took at its peak beyond what was taken before."""
        ...


class CudaMemory:
    """The memory of a GPU, as PyTorch manages it."""

    refuses = True

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Return what the device has left, and what PyTorch keeps of it without use."""
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + kept

    def taken_by(self, work: Callable[[], object]) -> int:
        """Do the work, and return the peak of what was allocated meanwhile."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before


class LinuxMemory:
    """The main memory, as Linux counts it for this process."""

    refuses = False

    def free(self) -> int:
        """Return what programs can have without swapping."""
        return _read_kilobytes(Path("/proc/meminfo"), "MemAvailable")

    def taken_by(self, work: Callable[[], object]) -> int:
        """Do the work, and return the peak of the resident memory meanwhile."""
        with suppress(AttributeError):  # a C library without it keeps nothing that is not used
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
        status = Path("/proc/self/status")
        before = _read_kilobytes(status, "VmRSS")
        work()
        return max(_read_kilobytes(status, "VmHWM") - before, 0)


def memory_meter(device: torch.device) -> MemoryMeter | None:
    """Return how to measure a device's memory, or None for the main memory of a system that does not show it."""
    if device.type == "cuda":
        return CudaMemory(device)
    return LinuxMemory() if Path("/proc/self/clear_refs").exists() else None


def check_memory(run: Callable[[int], object], size: int, meter: MemoryMeter | None) -> None:
    """Find out whether a batch fits, by running it; where too large a one would end the process, by a small one.

    Args:
        run: runs a batch of the given size.
        size: of the batch asked for.
        meter: None where nothing can be measured, and nothing is checked.

    Raises:
        ValueError: it does not fit: by how much, and which size would.
    """
    if meter is None or (not meter.refuses and size <= _FEW):
        return
    if meter.refuses:
        try:
            run(size)
            return
        except torch.cuda.OutOfMemoryError:
            pass  # what the failed batch holds is free again only after this block
    else:
        run(1)  # makes what is made once, and is no part of what a target takes
    few = max(min(_FEW, size - 1), 1)
    each = max(meter.taken_by(lambda: run(few)) // few, 1)
    free = meter.free()
    fitting = max(int(_ROOM * free) // each, 1)
    if meter.refuses or each * size > free:
        short = f", {_gigabytes(each * size - free)} too little" if each * size > free else ""
        raise ValueError(f"a batch of {size} does not fit in memory: it needs about {_gigabytes(each * size)}, and "
                         f"{_gigabytes(free)} are free{short}; {min(fitting, size - 1)} would fit")  # fmt: skip


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


def _read_kilobytes(path: Path, key: str) -> int:
    """Return the bytes that a line `key: N kB` states."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, rest = line.partition(":")
        if name == key:
            return 1024 * int(rest.split()[0])
    raise OSError(f"{path} has no line {key}")
