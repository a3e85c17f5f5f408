"""Checkpoints: tensors and plain values only, written aside and renamed, so that a file that exists is complete."""

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lib.models.pretrained import read_checkpoint

LATEST = "latest.pth"


def save_checkpoint(run: Path, step: int, state: Mapping[str, Any], keep: int, keep_every: int = 0) -> Path:
    """Write `step_NNNNNNNN.pth`, point `latest.pth` at it, and remove those that need not stay.

    A failure, such as a full disk, leaves every older checkpoint and `latest.pth` as they were.

    Args:
        run: folder of the run.
        step: number of finished steps.
        state: tensors and plain values.
        keep: number of newest checkpoints that stay.
        keep_every: checkpoints whose step is a multiple of it stay for ever; 0 for none.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    path = run / f"step_{step:08d}.pth"
    temporary = _write_aside(path, state)
    try:
        # First, so that a process killed in between leaves a `latest.pth` that is ahead, never one that stays behind.
        _replace_latest(run, temporary)
        temporary.replace(path)
        _flush_folder(run)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    for old in checkpoints(run)[keep:]:
        if not keep_every or _step(old) % keep_every:
            old.unlink()
    return path


def remove_remains(run: Path) -> None:
    """Remove what a process that was killed while it saved has left behind."""
    for pattern in (".step_*.pth.*", f".{LATEST}.*"):
        for path in run.glob(pattern):
            path.unlink()


def checkpoints(run: Path) -> list[Path]:
    """Return the run's checkpoints, newest first."""
    return sorted(run.glob("step_*.pth"), reverse=True)


def load_newest(run: Path) -> dict[str, Any] | None:
    """Read the newest checkpoint of a run that is whole, or return None when there is none.

    One that cannot be read (a machine that lost power, a copy that broke off) is named in a warning and the one
    before it is used.

    Raises:
        ValueError: there are checkpoints and none of them can be read.
    """
    files = checkpoints(run)
    for path in files:
        try:
            return read_checkpoint(path)
        except ValueError as error:
            warnings.warn(f"{error}; trying the checkpoint before it", stacklevel=2)
    if files:
        raise ValueError(f"none of the {len(files)} checkpoints in {run} can be read; move them away to start anew")
    return None


def write_atomically(path: Path, state: Mapping[str, Any]) -> None:
    """Save to a temporary file beside `path`, flush it to the disk, rename it, and flush the folder.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing at `path` has changed.
    """
    _write_aside(path, state).replace(path)
    _flush_folder(path.parent)


def _write_aside(path: Path, state: Mapping[str, Any]) -> Path:
    """Save to a temporary file beside `path` and flush it to the disk; nothing is left of it when that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # A failed write reaches us as the RuntimeError that torch raises when it then closes its archive.
        cause = error.__context__
        if isinstance(error, RuntimeError) and isinstance(cause, OSError):
            raise OSError(cause.errno, f"{cause.strerror}, while saving", str(path)) from error
        raise
    return temporary


def _replace_latest(run: Path, whole: Path) -> None:
    """Let `latest.pth` be the same file as `whole`, or a copy of it."""
    temporary = run / f".{LATEST}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    try:
        os.link(whole, temporary)
    except OSError:  # a file system without hard links
        _copy(whole, temporary)
    temporary.replace(run / LATEST)


def _copy(source: Path, target: Path) -> None:
    """Copy a file to the disk; nothing is left of it when that fails."""
    try:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder outlive a loss of power; a file's own flush does not cover its name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))
