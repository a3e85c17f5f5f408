"""From an experiment to a finished run: open data, build a model or start from weights, hand both to the trainer."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml

from lib.config.consistency import check_stage
from lib.config.load import experiment_to_dict, load
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.data.samples.mask_set import MaskSet
from lib.data.samples.mixture import open_sources
from lib.data.samples.training_set import TrainingSet
from lib.files import whole_file
from lib.models.build import build_model
from lib.models.mmg import MMG
from lib.models.pretrained import is_ostrack, load_model_state, start_from_ostrack
from lib.models.refine.network import build_refine_model
from lib.models.trained import RUNS, SHIPPED, differing_model_keys, read_trained_model, read_weights_file
from lib.train import distributed
from lib.train.checkpoint import LATEST, checkpoints, is_begun
from lib.train.environment import describe_environment, record_environment
from lib.train.objectives import Objective, RefineObjective, build_objective
from lib.train.trainer import Interrupted, Trainer

_SECOND_ONLY = ("train.stage", "train.start_from", "data.negatives")


def train(
    experiment: Experiment | RefineExperiment,
    run: Path,
    *,
    device: str = "auto",
    paths_file: Path | None = None,
    wandb: bool = False,
) -> int:
    """Train, or continue, and return the exit code: 0 when finished, 130 or 143 when interrupted with a saved state.

    With `wandb` the run is logged in Weights & Biases, too.
    """
    distributed.start(experiment.train.timeout_minutes)
    trainer = open_trainer(experiment, run, device=device, paths_file=paths_file)
    if wandb:
        trainer.log.add_wandb(run, experiment.name, experiment_to_dict(experiment))
    code = _train(trainer)
    # After an error there is no orderly end: the others may wait for this process for ever, and torchrun ends them.
    distributed.stop()
    return code


def _train(trainer: Trainer) -> int:
    log, run = trainer.log, trainer.run
    if distributed.is_main():
        log.say(f"training {trainer.experiment.name} on {distributed.world_size()} x {trainer.device}")
    if trainer.progress.step:
        log.say(f"continuing {run} at step {trainer.progress.step} of {trainer.num_steps}")
    try:
        trainer.fit()
    except Interrupted as interrupted:
        log.say(f"{interrupted}: saved {run} at step {trainer.progress.step}; run the same command to continue")
        return 143 if str(interrupted) == "SIGTERM" else 130
    except FloatingPointError as error:
        kept = checkpoints(run)
        where = f"{kept[0]} is intact" if kept else f"{run} holds no checkpoint yet"
        print(f"error: {error}; {where}", file=sys.stderr)
        return 1
    log.say(f"trained {trainer.experiment.name}: {run / 'latest.pth'}")
    return 0


def open_trainer(
    experiment: Experiment | RefineExperiment, run: Path, *, device: str = "auto", paths_file: Path | None = None
) -> Trainer:
    """Build everything that training needs and load the newest checkpoint of `run`, if it has one."""
    if isinstance(experiment, Experiment):
        check_stage(experiment)
        if experiment.train.start_from is not None and not is_begun(run):
            find_start(experiment.train.start_from)
    torch_device = distributed.choose_device(device)
    train, data = experiment.train, experiment.data
    sources = open_sources(data.sources, paths_file)
    validation = open_sources(data.validation, paths_file) if data.validation_samples else []
    torch.manual_seed(train.seed)
    sets: list[Any]
    mixtures = [sources, validation] if validation else [sources]
    if isinstance(experiment, RefineExperiment):
        sets = [MaskSet(each, experiment.data, experiment.crop, train.seed) for each in mixtures]
        objective: Objective = RefineObjective(build_refine_model(experiment), experiment.train.loss)
    else:
        sets = [TrainingSet(each, experiment.data, experiment.crop, train.seed) for each in mixtures]
        objective = build_objective(experiment, build_starting_model(experiment, run))
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(experiment, objective, sets[0], sets[1] if validation else None, run, torch_device)
    if distributed.is_main():
        with whole_file(run / "config.yaml") as aside:
            aside.write_text(yaml.safe_dump(experiment_to_dict(experiment), sort_keys=False), encoding="utf-8")
        used = [source for source in (*data.sources, *(data.validation if validation else ())) if source.ratio > 0]
        datasets = {
            f"{source.dataset}:{source.split}": mixed.dataset
            for source, mixed in zip(used, (*sources, *validation), strict=True)
        }
        for change in record_environment(run, trainer.progress.step, describe_environment(torch_device, datasets)):
            trainer.log.warn(f"{run} continues in another environment: {change}")
    return trainer


def first_stage(experiment: Experiment | RefineExperiment, settings: Iterable[str]) -> Experiment:
    """Return the experiment whose run the second stage starts from, with the settings that hold for both.

    Raises ValueError for what is no second stage, or starts from a file or from another model.
    """
    if not isinstance(experiment, Experiment) or experiment.train.stage != "score":
        raise ValueError(f"--with-first-stage: {experiment.name} is no second stage (train.stage: score)")
    start_from = str(experiment.train.start_from)
    if Path(start_from).suffix == ".pth" or len(Path(start_from).parts) > 1:
        raise ValueError(f"--with-first-stage: train.start_from names the file {start_from}, not a config")
    first = load(start_from, first_settings(settings))
    if differing := differing_model_keys(first, experiment):
        raise ValueError(f"--with-first-stage: {first.name} is another model than {experiment.name}; these keys "
                         f"differ: {', '.join(differing)}")  # fmt: skip
    return first


def first_settings(settings: Iterable[str]) -> list[str]:
    """Return those of the second stage's settings that hold for the first, too."""
    return [setting for setting in settings if setting.partition("=")[0].strip() not in _SECOND_ONLY]


def build_starting_model(experiment: Experiment, run: Path) -> MMG:
    """Build the network of an experiment with the weights that `run` begins with.

    A run that has checkpoints loads them next, and needs nothing here. The score module always starts anew, whatever
    it was in the weights: the first stage has not trained it. Raises ValueError for weights of another model.
    """
    start_from = experiment.train.start_from
    if is_begun(run):
        return build_model(experiment, pretrained=False)
    if start_from is None:
        return build_model(experiment)
    path = find_start(start_from)
    content = read_weights_file(path)
    if is_ostrack(content):
        if experiment.train.stage == "score":
            raise ValueError(f"train.start_from: {path} holds OSTrack's published weights, which serve the first "
                             "stage: the score module is trained on a tracker that is finished")  # fmt: skip
        model = build_model(experiment, pretrained=False)
        start_from_ostrack(model, content, str(path))
        return model
    trained = read_trained_model(path)
    keys = differing_model_keys(trained.experiment, experiment)
    if differing := [key for key in keys if not key.startswith("model.score.")]:
        raise ValueError(f"train.start_from: {path} holds the weights of another model (trained as "
                         f"{trained.experiment.name}); these keys differ: {', '.join(differing)}")  # fmt: skip
    model = build_model(experiment, pretrained=False)
    state = {name: value for name, value in trained.state.items() if not name.startswith("score.")}
    load_model_state(model, state, allow_missing=("score.",), source=str(path))
    return model


def find_start(start_from: str) -> Path:
    """Return the file that `train.start_from` means; FileNotFoundError where it is not there."""
    path = Path(start_from)
    for file in (path, SHIPPED.parent / path):
        if file.is_file():
            return file
    if path.suffix in (".pth", ".tar") or len(path.parts) > 1:
        raise FileNotFoundError(f"train.start_from: there is no checkpoint {start_from}")
    newest = RUNS / start_from / LATEST
    if not newest.is_file():
        raise FileNotFoundError(
            f"train.start_from: {start_from} means its newest checkpoint, and there is no {newest}. Train that first, "
            f"`python tracking/train.py --config {start_from}`, or name a file: --set train.start_from=FILE.pth"
        )
    return newest
