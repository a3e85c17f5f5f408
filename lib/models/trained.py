"""What a checkpoint of this project holds: the weights and the experiment that they were trained as."""

import dataclasses
import hashlib
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lib.config.load import experiment_from_dict, experiment_to_dict, flatten, load
from lib.config.schema import Experiment
from lib.models.pretrained import read_checkpoint
from lib.models.weights_file import SAFETENSORS, read_weights

RUNS = Path("runs")

# A checkpoint may serve a config that differs in these: they say where training started or how it saved memory.
_FREE_KEYS = ("model.encoder.pretrained", "model.encoder.checkpoint_activations")


class TrainedModel(NamedTuple):
    """What a checkpoint of this project holds, as far as tracking goes.

    Attributes:
        experiment: what the weights were trained as; its `track` section is the asked config's where one was given.
        state: the model's weights by name; their running average where training kept one (train.ema_decay).
        score_trained: True when the second stage has trained the score module.
    """

    experiment: Experiment
    state: dict[str, Tensor]
    score_trained: bool


def find_checkpoint(config: str | None, checkpoint: Path | None) -> Path:
    """Return the checkpoint's file: the given one, or the newest of `runs/<config>`.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: neither config nor checkpoint is given.
    """
    if checkpoint is not None:
        if not checkpoint.is_file():
            raise FileNotFoundError(f"there is no checkpoint {checkpoint}")
        return checkpoint
    if config is None:
        raise ValueError("the mmg tracker needs weights: give --config NAME, for the newest in runs/NAME, or "
                         "--checkpoint FILE")  # fmt: skip
    newest = RUNS / load(config).name / "latest.pth"
    if not newest.is_file():
        raise FileNotFoundError(f"there is no checkpoint {newest}: train one by `python tracking/train.py --config "
                                f"{config}`, or give --checkpoint FILE")  # fmt: skip
    return newest


def read_trained_model(path: Path, config: str | None = None) -> TrainedModel:
    """Read a checkpoint, or its weights from a safetensors file, and check it against a config, when one is given.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: the checkpoint is damaged, lacks its config or weights, or was trained as another model.
    """
    if path.suffix == ".onnx":
        raise ValueError(f"{path} is an ONNX file, which tracking/test.py and tracking/demo.py take by --onnx")
    content = read_weights(path) if path.suffix == SAFETENSORS else read_checkpoint(path)
    stored, state = content.get("config"), content.get("average", content.get("model"))
    if not isinstance(stored, dict) or not isinstance(state, dict):
        raise ValueError(f"{path} is no checkpoint of tracking/train.py: it lacks its config or its weights")
    experiment = experiment_from_dict(stored, str(path))
    if config is not None:
        asked = load(config)
        differing = differing_model_keys(experiment, asked)
        if differing:
            raise ValueError(f"{path} holds the weights of another model than config {config} (trained as "
                             f"{experiment.name}); these keys differ: {', '.join(differing)}")  # fmt: skip
        experiment = dataclasses.replace(experiment, track=asked.track)
    return TrainedModel(experiment, state, bool(content.get("score_trained", False)))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, which tells weights from others of the same name."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def differing_model_keys(one: Experiment, other: Experiment) -> list[str]:
    """Return the dotted keys of `crop` and `model` in which two experiments differ, as far as weights care."""
    ones, others = flatten(experiment_to_dict(one)), flatten(experiment_to_dict(other))
    return sorted(
        key
        for key in ones.keys() | others.keys()
        if key.startswith(("crop.", "model.")) and key not in _FREE_KEYS and ones.get(key) != others.get(key)
    )
