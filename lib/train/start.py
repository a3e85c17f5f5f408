"""What a run begins with: the stage, and weights that are pre-trained or those of another run."""

from pathlib import Path

from lib.config.consistency import check_stage
from lib.config.schema import Experiment
from lib.data.samples.training_set import Batch
from lib.models.build import build_model
from lib.models.mmg import MMG
from lib.models.pretrained import load_model_state
from lib.models.trained import RUNS, differing_model_keys, read_trained_model
from lib.train.checkpoint import LATEST, checkpoints
from lib.train.objective import Objective, TrackingObjective
from lib.train.score_objective import ScoreObjective


def check_start(experiment: Experiment, run: Path) -> None:
    """Refuse an experiment that does not fit its stage, or that starts from what is not there.

    Raises:
        ValueError: what does not fit, and the cure.
        FileNotFoundError: there are no weights to start from, and `run` has none of its own.
    """
    check_stage(experiment)
    if experiment.train.start_from is not None and not checkpoints(run):
        find_start(experiment.train.start_from)


def build_objective(experiment: Experiment, model: MMG) -> Objective[Batch]:
    """Return what an experiment teaches its model: boxes and reconstructions, or in the second stage the score."""
    if experiment.train.stage == "score":
        return ScoreObjective(model)
    return TrackingObjective(model, experiment.train.loss)


def build_starting_model(experiment: Experiment, run: Path) -> MMG:
    """Build the network of an experiment with the weights that `run` begins with.

    A run that has checkpoints loads them next, and needs nothing here. The score module of the second stage always
    starts anew: the first stage has not trained it.

    Raises:
        FileNotFoundError: the weights to start from are not there.
        ValueError: they are of another model, or the file is damaged.
    """
    start_from = experiment.train.start_from
    if checkpoints(run):
        return build_model(experiment, pretrained=False)
    if start_from is None:
        return build_model(experiment)
    path = find_start(start_from)
    trained = read_trained_model(path)
    differing = differing_model_keys(trained.experiment, experiment)
    if differing:
        raise ValueError(f"train.start_from: {path} holds the weights of another model (trained as "
                         f"{trained.experiment.name}); these keys differ: {', '.join(differing)}")  # fmt: skip
    model = build_model(experiment, pretrained=False)
    state = {name: value for name, value in trained.state.items() if not name.startswith("score.")}
    load_model_state(model, state, allow_missing=("score.",), source=str(path))
    return model


def find_start(start_from: str) -> Path:
    """Return the file that `train.start_from` means.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = Path(start_from)
    if path.is_file():
        return path
    if path.suffix == ".pth" or len(path.parts) > 1:
        raise FileNotFoundError(f"train.start_from: there is no checkpoint {start_from}")
    newest = RUNS / start_from / LATEST
    if not newest.is_file():
        raise FileNotFoundError(
            f"train.start_from: {start_from} means its newest checkpoint, and there is no {newest}. Train that first, "
            f"`python tracking/train.py --config {start_from}`, or name a file: --set train.start_from=FILE.pth"
        )
    return newest
