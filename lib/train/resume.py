"""Where a run stands, and what a stored one must share with the wanted one to be continued as it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.config.load import experiment_from_dict, experiment_to_dict, flatten, refine_from_dict
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.train.checkpoint import load_newest

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
