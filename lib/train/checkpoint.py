"""Checkpoints: tensors and plain values, complete where the file exists, and what lets a run go on from one."""

import errno
import os
import platform
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from lib.config.load import differing_keys, experiment_from_dict, refine_from_dict
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.files import whole_file
from lib.models.pretrained import read_checkpoint

LATEST = "latest.pth"
LOCK = ".lock"  # the file by which a training keeps others out of its run folder


def save_checkpoint(run: Path, step: int, state: Mapping[str, Any], keep: int, keep_every: int = 0) -> None:
    """Write `step_NNNNNNNN.pth`, point `latest.pth` at it, and remove those that need not stay.

    The newest `keep` stay, and for ever those whose step is a multiple of `keep_every`, if that is not 0. A failure,
    such as a full disk, leaves every older checkpoint and `latest.pth` as they were.
    """
    path = run / f"step_{step:08d}.pth"
    with whole_file(path) as aside:
        _save(state, aside)
        # First, so that a process killed in between leaves a `latest.pth` that is ahead, never one that stays behind.
        with whole_file(run / LATEST) as latest:
            latest.unlink(missing_ok=True)
            try:
                os.link(aside, latest)
            except OSError:  # a file system without hard links
                shutil.copyfile(aside, latest)
    for old in checkpoints(run)[keep:]:
        if not keep_every or _step(old) % keep_every:
            old.unlink()


def remove_remains(run: Path) -> None:
    """Remove what a process that was killed while it saved has left behind."""
    for pattern in (".step_*.pth.*", f".{LATEST}.*"):
        for path in run.glob(pattern):
            path.unlink()


def checkpoints(run: Path) -> list[Path]:
    """Return the run's numbered checkpoints, newest first; a user's `step_best.pth` is none of them."""
    numbered = [path for path in run.glob("step_*.pth") if re.fullmatch(r"step_[0-9]{1,18}", path.stem)]
    return sorted(numbered, key=_step, reverse=True)


def is_begun(run: Path) -> bool:
    """Tell whether a run folder holds a checkpoint, be it `latest.pth` alone."""
    return (run / LATEST).is_file() or bool(checkpoints(run))


def load_newest(run: Path) -> dict[str, Any] | None:
    """Read the newest checkpoint of a run that is whole, or return None when there is none.

    That is `latest.pth`, unless a numbered one is ahead of it. One that cannot be read (a machine that lost power, a
    copy that broke off) is named in a warning and the one before it is used.

    Raises:
        ValueError: there are checkpoints and none of them can be read.
    """
    numbered, latest = checkpoints(run), run / LATEST
    files = [latest, *numbered] if latest.is_file() else numbered
    for path in files:
        try:
            state = read_checkpoint(path)
        except ValueError as error:
            warnings.warn(f"{error}; trying the checkpoint before it", stacklevel=2)
            continue
        step = state.get("step")
        if path == latest and numbered and not (isinstance(step, int) and step >= _step(numbered[0])):
            continue
        return state
    if files:
        raise ValueError(f"none of the {len(files)} checkpoints in {run} can be read; move them away to start anew")
    return None


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a file that is complete where it exists."""
    with whole_file(path) as aside:
        _save(state, aside)


def _save(state: Mapping[str, Any], path: Path) -> None:
    """Save and flush to the disk."""
    try:
        with path.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:
        # A failed write reaches us as what torch raises when it then closes its archive.
        if isinstance(cause := error.__context__, OSError):
            raise OSError(cause.errno, cause.strerror) from error
        raise


def lock_run(run: Path) -> TextIO:
    """Keep a run folder from other trainings until the returned file is closed or this process ends, however it does.

    The lock is the operating system's, so one that a dead process has left in the file does not count.

    Raises:
        ValueError: another process trains there; it is named.
    """
    file = (run / LOCK).open("a+", encoding="utf-8")
    try:
        import fcntl  # not on Windows, where nothing is locked

        # Not flock, which the loader processes would inherit and hold for a while after the trainer is killed.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            warnings.warn(f"{run} is not locked against a second training there: {error}", stacklevel=2)
        else:
            file.seek(0)
            holder = file.read().strip() or "an unknown process"
            file.close()
            raise ValueError(f"{run} is in use: {holder} trains there. Wait for it, end it, or choose another "
                             "--run folder") from error  # fmt: skip
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))


@dataclass
class Progress:
    """Where a run stands: finished steps, those `left_out` as not finite, and epochs, whose validation is over, too."""

    step: int = 0
    epochs: int = 0
    left_out: int = 0


def read_state(run: Path, experiment: Experiment | RefineExperiment, total: int) -> dict[str, Any] | None:
    """Read the newest checkpoint of a run, or return None when there is none.

    Raises ValueError for one of another experiment, of steps of other than `total` samples, or that cannot be read.
    """
    state = load_newest(run)
    if state is None:
        return None
    missing = {"config", "model", "optimizer", "step", "samples"} - state.keys()
    if missing:
        raise ValueError(f"{run} holds a checkpoint that is none of this trainer's: it lacks {sorted(missing)}")
    wrong = [name for name in ("step", "samples", "epochs", "left_out", "total") if name in state
             and not (type(state[name]) is int and 0 <= state[name] < 2**60)]  # fmt: skip
    wrong += [name for name in ("config", "model", "optimizer", "average") if name in state
              and not isinstance(state[name], dict)]  # fmt: skip
    if wrong:
        raise ValueError(f"{run} holds a damaged checkpoint: its {', '.join(wrong)} cannot be what a trainer wrote")
    # Read as an experiment, a config that was stored before a key existed gets the key's default.
    read = refine_from_dict if isinstance(experiment, RefineExperiment) else experiment_from_dict
    # For train.accumulate_to, which is free, the samples of a step are compared below: other numbers of processes may
    # make the same step.
    if changed := differing_keys(read(state["config"], str(run)), experiment):
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
