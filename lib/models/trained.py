"""What a checkpoint or a safetensors file holds: the weights and the experiment that they were trained as."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lib.config.load import EXPERIMENTS, differing_keys, experiment_from_dict, load
from lib.config.schema import Experiment
from lib.config.text import parse_json
from lib.models.pretrained import is_ostrack, ostrack_state, read_checkpoint, read_own_or_published
from lib.models.stem import StemEmbed

RUNS = Path("runs")
SHIPPED = EXPERIMENTS.parent / "pretrained_models"  # weights that come with the project, <config>.safetensors
SAFETENSORS = ".safetensors"  # how the name of such a file ends
_KEY = "mmg"  # of the header's text entries; "format" is what other readers of weights ask for
_SUM = "sha256"  # of what a file says and holds; those of earlier versions lack it
_FORMAT = 1


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


class DefaultWeights(NamedTuple):
    """The weights that a command takes when it is told none.

    Attributes:
        config: to track by, or None for the weights' own.
        checkpoint: the file.
        why: one line for the user, which weights and why.
    """

    config: str | None
    checkpoint: Path
    why: str


def default_weights(runs: Path = RUNS) -> DefaultWeights:
    """Choose weights where neither config nor checkpoint is given, the best trained first; FileNotFoundError: none."""
    finished = newest_finished(runs, "mmg_vitb_score")
    if finished is not None:
        return DefaultWeights(None, finished, f"weights: {finished}, the newest finished run of mmg_vitb_score")
    finished = newest_finished(runs, "mmg_vitb")
    if finished is not None:
        why = f"weights: {finished}, since no run of mmg_vitb_score is finished; without template updates (table6_none)"
        return DefaultWeights("table6_none", finished, why)
    shipped = SHIPPED / "mmg_small.safetensors"
    if not shipped.is_file():
        raise FileNotFoundError(f"no run of mmg_vitb_score or mmg_vitb in {runs} is finished, and no weights come with "
                                f"this copy of the project (no {shipped}): give --config NAME, for the newest in "
                                "runs/NAME, or --checkpoint FILE")  # fmt: skip
    why = f"weights: {shipped}, which come with the project, since no run of mmg_vitb_score or mmg_vitb is finished"
    return DefaultWeights(None, shipped, why)


def newest_finished(runs: Path, config: str) -> Path | None:
    """Return the newest `latest.pth` below a folder of runs that holds the last epoch of a config's training."""
    newest_first = sorted(runs.glob("*/latest.pth"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in newest_first if is_finished(path, config)), None)


def is_finished(path: Path, config: str) -> bool:
    """Tell whether a run's `latest.pth` is there and holds the last epoch of a config's training."""
    if not path.is_file():
        return False
    written = path.parent / "config.yaml"  # a hint that spares reading every run's weights; a download has none
    if written.is_file() and f"name: {config}" not in written.read_text("utf-8", "replace").splitlines():
        return False
    try:
        content = read_checkpoint(path)
        stored = experiment_from_dict(content.get("config", {}), str(path))
        return stored.name == config and int(content.get("epochs", 0)) >= stored.train.epochs
    except (ValueError, TypeError, AttributeError, RuntimeError):
        return False


def find_checkpoint(config: str | None, checkpoint: Path | None) -> Path:
    """Return the checkpoint's file: the given one, or the newest of `runs/<config>`, or what comes with the project."""
    if checkpoint is not None:
        if not checkpoint.is_file():
            raise FileNotFoundError(f"there is no checkpoint {checkpoint}")
        return checkpoint
    if config is None:
        raise ValueError("the mmg tracker needs weights: give --config NAME, for the newest in runs/NAME, or "
                         "--checkpoint FILE")  # fmt: skip
    name = load(config).name
    newest, shipped = RUNS / name / "latest.pth", SHIPPED / f"{name}{SAFETENSORS}"
    if newest.is_file():
        return newest
    if not shipped.is_file():
        raise FileNotFoundError(f"there is no checkpoint {newest}: train it first (tracking/train.py or mmg-train, "
                                f"--config {config}), or give a file of weights (--checkpoint FILE; "
                                "pretrained_models/README.md says where published ones are)")  # fmt: skip
    return shipped


def read_trained_model(path: Path, config: str | None = None) -> TrainedModel:
    """Read a checkpoint, or its weights from a safetensors file, and check it against a config, when one is given.

    OSTrack's published files hold no config: the given one says what they are.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: the checkpoint is damaged, lacks its config or weights, or was trained as another model.
    """
    content = read_weights_file(path)
    if is_ostrack(content):
        if config is None:
            raise ValueError(f"{path} holds OSTrack's published weights, which do not say how they track: add --config "
                             "ostrack_256_ce, ostrack_256, ostrack_384_ce or ostrack_384")  # fmt: skip
        return TrainedModel(load(config), ostrack_state(content), score_trained=False)
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
    return TrainedModel(experiment, state, content.get("score_trained") is True)


def read_weights_file(path: Path) -> dict[str, Any]:
    """Return what a checkpoint of this project, a safetensors file of it, or OSTrack's holds; errors as above."""
    if path.suffix == ".onnx":
        raise ValueError(f"{path} is an ONNX file, which tracking/test.py and tracking/demo.py take by --onnx")
    return read_weights(path) if path.suffix == SAFETENSORS else read_own_or_published(path, is_ostrack)


def load_stem(stem: StemEmbed, path: Path) -> None:
    """Start a stem from the file of its CNN's classifier, or from a tracker's weights with the same stages or more.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds the weights of something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {path} for the stem: see pretrained_models/README.md, or set "
                                "the key model.encoder.pretrained to null")  # fmt: skip
    content = read_weights_file(path)
    state = content.get("average", content.get("model", content))
    try:
        stem.load(state)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, which tells weights from others of the same name."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def differing_model_keys(one: Experiment, other: Experiment) -> list[str]:
    """Return the dotted keys of `crop` and `model` in which two experiments differ, as far as weights care."""
    keys = set(differing_keys(one, other)) - {"model.encoder.drop_path"}  # of training alone
    return sorted(key for key in keys if key.startswith(("crop.", "model.")))


def write_weights(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write weights by name, and plain values about them, as JSON in the header."""
    text, whole = json.dumps({"format": _FORMAT, **about}), {name: value.contiguous() for name, value in state.items()}
    path.write_bytes(save(whole, {"format": "pt", _KEY: text, _SUM: _digest(text, whole)}))


def _digest(text: str, state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_weights(path: Path) -> dict[str, Any]:
    """Return what `write_weights` was given, the weights under `model`, as a checkpoint has them; else ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dictionary
    except SafetensorError as error:
        raise ValueError(f"the checkpoint {path} is truncated or no safetensors file; copy it or export it again. "
                         f"{error}") from error  # fmt: skip
    try:
        about = parse_json(header.get(_KEY, "null"))
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise ValueError(f"{path} is a safetensors file of another program: its header has no entry {_KEY!r} as "
                         "tracking/export.py writes it")  # fmt: skip
    if about.get("format") != _FORMAT:
        raise ValueError(f"{path} has format {about.get('format')!r}, and this code reads {_FORMAT}: export it again "
                         "from its checkpoint")  # fmt: skip
    if _SUM in header and header[_SUM] != _digest(header[_KEY], state):
        raise ValueError(f"the checkpoint {path} is damaged: its checksum is wrong; copy it or export it again")
    return {**about, "model": state}
