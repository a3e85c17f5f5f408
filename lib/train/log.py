"""The record of a run: lines on the terminal, JSON lines, and TensorBoard."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


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
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=start_step + 1 if start_step else None)

    def scalars(self, kind: str, step: int, values: dict[str, float], **also: Any) -> None:
        """Record named scalars of one step under a kind such as `train` or `validation`."""
        if not self._enabled:
            return
        try:
            self._file.write(json.dumps({"kind": kind, "step": step, **also, **values}) + "\n")
            self._file.flush()
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)
        except OSError as error:
            self._say_failure(error)

    def picture(self, name: str, step: int, image: np.ndarray) -> None:
        """Record an (H, W, 3) uint8 RGB picture in TensorBoard."""
        if not self._enabled:
            return
        try:
            self._board.add_image(name, image, step, dataformats="HWC")
        except OSError as error:
            self._say_failure(error)

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
        if not self._enabled:
            return
        for record in (self._file, self._board):
            try:
                record.close()
            except OSError as error:
                self._say_failure(error)

    def _say_failure(self, error: OSError) -> None:
        if not self._failed:
            self.warn(f"the log of this run cannot be written, training goes on: {error}")
        self._failed = True


def _drop_lines_after(path: Path, step: int) -> None:
    """Remove log lines of steps that will be computed again, and a last line that was cut off."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["step"] <= step:
            kept.append(line + "\n")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)
