"""What happened since the last line of the log."""

import resource
import sys
import time
from collections.abc import Mapping

import torch

from lib.train import distributed


class Meter:
    """Means of the values of each step; keeps tensors, so that a GPU is waited for once a line."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._rows: list[dict[str, torch.Tensor]] = []
        self._waited = 0.0
        self._samples = 0

    def add(self, values: Mapping[str, torch.Tensor], waited: float, samples: int) -> None:
        """Add one step.

        Args:
            values: scalars by name, the same names at every step.
            waited: seconds spent waiting for data.
            samples: of all processes together.
        """
        self._rows.append({name: value.detach() for name, value in values.items()})
        self._waited += waited
        self._samples += samples

    def read_and_reset(self, device: torch.device) -> dict[str, float]:
        """Return the means over steps and processes, speed, share of time waiting for data and memory in GB.

        Steps at which a value was not finite do not count in its mean: float16's scaler leaves such steps out.
        Every process has to call this at the same step.
        """
        elapsed = time.perf_counter() - self._started
        names = list(self._rows[0])
        table = torch.stack([torch.stack([row[name].float() for name in names]) for row in self._rows])
        means = torch.where(table.isfinite(), table, torch.nan).nanmean(dim=0)
        own = torch.tensor([self._waited / elapsed, memory_gb(device)], device=means.device)
        values = dict(zip(names, distributed.mean_over_ranks(means).tolist(), strict=True))
        waits, memory = distributed.largest_over_ranks(own).tolist()
        values |= {"samples_per_second": self._samples / elapsed, "data_wait": waits, "memory_gb": memory}
        self._started, self._rows, self._waited, self._samples = time.perf_counter(), [], 0.0, 0
        return values


def memory_gb(device: torch.device) -> float:
    """Return the most memory used so far, in 10^9 bytes: of tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def describe(values: Mapping[str, float]) -> str:
    """Return a line for the terminal: every loss, then rate, speed, waiting, gradient and memory."""
    last = ("lr", "samples_per_second", "data_wait", "gradient_norm", "memory_gb", "scale")
    losses = "  ".join(f"{name} {value:.3f}" for name, value in values.items() if name not in last)
    return (
        f"{losses} | lr {values['lr']:.2e}  {values['samples_per_second']:.1f} samples/s  "
        f"data wait {100 * values['data_wait']:.0f} %  gradient {values['gradient_norm']:.2f}  "
        f"memory {values['memory_gb']:.2f} GB"
    )
