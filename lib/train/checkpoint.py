"""Checkpoints: tensors and plain values, complete where the file exists, and what lets a run go on from one."""

import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lib.config.load import experiment_from_dict, experiment_to_dict, flatten, refine_from_dict
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.models.pretrained import read_checkpoint

LATEST = "latest.pth"
# A run may be continued with other values of these: they do not change what is computed. For accumulate_to the samples
# of a step are compared instead, since other numbers of processes may make the same step.
_FREE_KEYS = (
    "name",
    "data.workers",
    "data.on_bad_frame",
    "train.accumulate_to",
    "train.compile",
    "train.on_nonfinite",
    "train.max_nonfinite",
    "train.timeout_minutes",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.keep_every",
    "train.picture_every",
    "train.validate_every",
    "track.",
)


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


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: number of finished steps.
        epochs: number of epochs that are over, validation included.
        left_out: number of steps that were not finite and changed nothing.
    """

    step: int = 0
    epochs: int = 0
    left_out: int = 0


def read_state(run: Path, experiment: Experiment | RefineExperiment, total: int) -> dict[str, Any] | None:
    """Read the newest checkpoint of a run, or return None when there is none.

    Args:
        run: its folder.
        experiment: the wanted one.
        total: samples that a step has now.

    Raises:
        ValueError: it is the checkpoint of another experiment or of other steps, or cannot be read.
    """
    state = load_newest(run)
    if state is None:
        return None
    missing = {"config", "model", "optimizer", "step", "samples"} - state.keys()
    if missing:
        raise ValueError(f"{run} holds a checkpoint that is none of this trainer's: it lacks {sorted(missing)}")
    # Read as an experiment, a config that was stored before a key existed gets the key's default.
    read = refine_from_dict if isinstance(experiment, RefineExperiment) else experiment_from_dict
    stored = experiment_to_dict(read(state["config"], str(run)))
    changed = changed_keys(stored, experiment_to_dict(experiment))
    if changed:
        raise ValueError(
            f"{run} holds a run of another config; these keys differ: {', '.join(changed)}. Choose another "
            "--run folder, restore the keys, or remove the folder to start anew"
        )
    before = state.get("total", state["samples"] // max(state["step"], 1) or total)
    if before != total:
        cure = f"give --set train.accumulate_to={before} (a multiple of processes x train.batch_size)"
        raise ValueError(f"{run} was trained with {before} samples a step, and there would be {total} now: train with "
                         f"as many processes as before, or {cure}")  # fmt: skip
    return state


def changed_keys(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the dotted keys that differ between two configs and that change what training computes."""
    one, other = flatten(stored), flatten(wanted)
    differing = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return [key for key in differing if not key.startswith(_FREE_KEYS)]
