"""From a config and a checkpoint to a tracker that runs: the one place where `lib.tracker` meets `lib.config`."""

import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

import torch

from lib.config.load import experiment_from_dict, experiment_to_dict, flatten, load
from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.inference import TrackingNetwork
from lib.models.precision import tracking_dtype
from lib.models.pretrained import load_model_state, read_checkpoint
from lib.tracker.mmg import MMGTracker
from lib.tracker.template_update import TemplateUpdate

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
    state: dict[str, torch.Tensor]
    score_trained: bool


def build_mmg_tracker(config: str | None, checkpoint: Path | None, device: str, benchmark: str) -> MMGTracker:
    """Build the tracker that a checkpoint describes.

    The decoders are not built: they serve training only. The score module is built for the update that needs it.

    Args:
        config: name or path of an experiment, whose `track` section then applies; None for the checkpoint's own.
        checkpoint: file; None for the newest of `runs/<config>`.
        device: auto, cpu, cuda or cuda:N.
        benchmark: name of the benchmark, which may have an update interval of its own; any text.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: the checkpoint is damaged or of another config, or does not give what the update needs.
    """
    path = find_checkpoint(config, checkpoint)
    trained = read_trained_model(path, config)
    experiment, track = trained.experiment, trained.experiment.track
    if track.update == "score" and not trained.score_trained:
        raise ValueError(f"track.update is 'score', but the score module in {path} is not trained: train the second "
                         "stage, or give a --config with track.update: fixed or none")  # fmt: skip
    torch_device = choose_device(device)
    model = build_model(as_tracked(experiment), pretrained=False)
    load_model_state(model, trained.state, allow_unexpected=("decoder.", "score."), source=str(path))
    return MMGTracker(
        TrackingNetwork(
            model.to(torch_device).eval(), tracking_dtype(track.precision, torch_device), compiled=track.compile
        ),
        template_size=experiment.crop.template_size,
        template_factor=experiment.crop.template_factor,
        search_size=experiment.crop.search_size,
        search_factor=experiment.crop.search_factor,
        update=TemplateUpdate(
            track.update, track.update_intervals.get(benchmark, track.update_interval), track.score_threshold
        ),
        online_template=experiment.model.online_template,
        clip_margin=track.clip_margin,
        device=torch_device,
    )


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
    """Read a checkpoint and check it against a config, when one is given.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: the checkpoint is damaged, lacks its config or weights, or was trained as another model.
    """
    content = read_checkpoint(path)
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


def choose_device(name: str) -> torch.device:
    """Return a device by name; `auto` is CUDA where PyTorch sees one, else the CPU.

    Raises:
        ValueError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"unknown device {name!r}: write auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name} was asked for, and PyTorch sees {torch.cuda.device_count()} CUDA devices "
                         "here; use --device cpu")  # fmt: skip
    return device


def differing_model_keys(one: Experiment, other: Experiment) -> list[str]:
    """Return the dotted keys of `crop` and `model` in which two experiments differ, as far as weights care."""
    ones, others = flatten(experiment_to_dict(one)), flatten(experiment_to_dict(other))
    return sorted(
        key
        for key in ones.keys() | others.keys()
        if key.startswith(("crop.", "model.")) and key not in _FREE_KEYS and ones.get(key) != others.get(key)
    )


def as_tracked(experiment: Experiment) -> Experiment:
    """Return the experiment without what tracking does not use, so that it is not built."""
    model = experiment.model
    decoder = dataclasses.replace(model.decoder, self_decoder=False, online_to_search=False, search_to_online=False)
    score = dataclasses.replace(model.score, enabled=experiment.track.update == "score")
    # Special starting weights cost time and are overwritten by the checkpoint's.
    encoder = dataclasses.replace(model.encoder, init="default")
    return dataclasses.replace(
        experiment, model=dataclasses.replace(model, encoder=encoder, decoder=decoder, score=score)
    )
