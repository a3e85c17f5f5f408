"""The record of a run: what happened since the last line, to the terminal, JSON lines, and TensorBoard."""

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lib.config.text import parse_json
from lib.files import whole_file
from lib.train import distributed


class RunLog:
    """Writes scalars and pictures of one run; in processes other than the main one it writes nothing.

    A record that cannot be written, as on a full disk, is said once and does not end the training.
    """

    def __init__(self, run: Path, *, start_step: int, enabled: bool) -> None:
        self._enabled = enabled
        self._failed = False
        if not enabled:
            return
        self._path = run / "log.jsonl"
        _drop_lines_after(self._path, start_step)
        self._file = self._path.open("a", encoding="utf-8")
        # What an interrupted run logged after its last checkpoint is computed again, and must not show twice.
        self._boards: list[Any] = [
            SummaryWriter(str(run / "tensorboard"), purge_step=start_step + 1 if start_step else None)
        ]

    def add_wandb(self, run: Path, name: str, config: dict[str, Any]) -> None:
        """Record in Weights & Biases, too; where and whether online is what its environment variables say."""
        if self._enabled:
            self._boards.append(WandbBoard(run, name, config))

    def scalars(self, kind: str, step: int, values: dict[str, float], **also: Any) -> None:
        """Record named scalars of one step under a kind such as `train` or `validation`."""
        if self._enabled:
            with self._going_on():
                self._file.write(json.dumps({"kind": kind, "step": step, **also, **values}) + "\n")
                self._file.flush()
                for name, value in values.items():
                    for board in self._boards:
                        board.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, image: np.ndarray) -> None:
        """Record an (H, W, 3) uint8 RGB picture in TensorBoard."""
        if self._enabled:
            with self._going_on():
                for board in self._boards:
                    board.add_image(name, image, step, dataformats="HWC")

    def say(self, text: str) -> None:
        """Print a line without breaking a progress bar."""
        if self._enabled:
            tqdm.write(text)

    def warn(self, text: str) -> None:
        """Print a warning where errors go."""
        if self._enabled:
            tqdm.write(f"warning: {text}", file=sys.stderr)

    def close(self) -> None:
        """Write what is left."""
        for record in (self._file, *self._boards) if self._enabled else ():
            with self._going_on():
                record.close()

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Say once when a record cannot be written."""
        try:
            yield
        except OSError as error:
            if not self._failed:
                self.warn(f"the log of this run cannot be written, training goes on: {error}")
            self._failed = True


class WandbBoard:
    """Weights & Biases behind the calls of a SummaryWriter; a run folder is one run there, however often continued."""

    def __init__(self, run: Path, name: str, config: dict[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ValueError("--wandb needs Weights & Biases: pip install wandb") from error
        self._image = wandb.Image
        number = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]
        try:
            self._run = wandb.init(project="mmg-tracker", name=name, id=number, resume="allow", dir=run, config=config)
        except wandb.Error as error:  # no account, or no way to it
            raise ValueError(f"--wandb: {error}; WANDB_MODE=offline keeps the record here") from error
        self._run.define_metric("*", step_metric="step")

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._run.log({name: value, "step": step})

    def add_image(self, name: str, image: np.ndarray, step: int, dataformats: str) -> None:
        self._run.log({name: self._image(image), "step": step})

    def close(self) -> None:
        self._run.finish()


def _drop_lines_after(path: Path, step: int) -> None:
    """Remove log lines of steps that will be computed again, and a last line that was cut off."""
    if not path.is_file():
        return
    *lines, _ = path.read_bytes().split(b"\n")
    kept, damaged = [], 0
    for line in lines:
        try:
            if int(parse_json(line)["step"]) <= step:
                kept.append(line + b"\n")
        except (ValueError, LookupError, TypeError, OverflowError):
            damaged += 1
    if damaged:
        set_aside(path, f"{damaged} of its lines are damaged")
    with whole_file(path) as aside:
        aside.write_bytes(b"".join(kept))


def set_aside(path: Path, why: str) -> None:
    """Rename a record that cannot be read, which no run needs to go on, and say so."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    warnings.warn(f"{path} is begun anew, the old file is {aside.name}: {why}", stacklevel=2)


class Meter:
    """Means of the values of each step; keeps tensors, so that a GPU is waited for once a line."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._rows: list[dict[str, torch.Tensor]] = []
        self._waited = 0.0
        self._samples = 0

    def add(self, values: Mapping[str, torch.Tensor], waited: float, samples: int) -> None:
        """Add one step: scalars of the same names as always, seconds waited for data, samples of all processes."""
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
        means = distributed.sum_over_ranks(means) / distributed.world_size()
        values = dict(zip(names, means.tolist(), strict=True))
        waits, memory = distributed.largest_over_ranks(own).tolist()
        values |= {"samples_per_second": self._samples / elapsed, "data_wait": waits, "memory_gb": memory}
        self._started, self._rows, self._waited, self._samples = time.perf_counter(), [], 0.0, 0
        return values


def memory_gb(device: torch.device) -> float:
    """Return the most memory used so far, in 10^9 bytes: of tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource  # not on Windows

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
