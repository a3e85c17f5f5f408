"""From a config and a checkpoint to a tracker that runs: the one place where `lib.tracker` meets `lib.config`."""

import dataclasses
from pathlib import Path

import torch

from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.device import find_device, tracking_dtype
from lib.models.inference import TrackingNetwork
from lib.models.mmg import MMG
from lib.models.pretrained import load_model_state
from lib.models.trained import TrainedModel, find_checkpoint, read_trained_model
from lib.tracker.mmg import MMGTracker, TargetCrops, TrackingModel
from lib.tracker.template_update import TemplateUpdate


def build_mmg_tracker(config: str | None, checkpoint: Path | None, device: str, benchmark: str) -> MMGTracker:
    """Build the tracker that a checkpoint describes.

    Args:
        config: name or path of an experiment, whose `track` section then applies; None for the checkpoint's own.
        checkpoint: file; None for the newest of `runs/<config>`.
        device: auto, cpu, cuda or cuda:N.
        benchmark: name of the benchmark, which may have an update interval of its own; any text.
    """
    path = find_checkpoint(config, checkpoint)
    trained = read_trained_model(path, config)
    track, torch_device = trained.experiment.track, choose_device(device)
    model = build_trained_network(trained, path).to(torch_device)
    dtype = tracking_dtype(track.precision, torch_device, model.encoder.dim)
    network = TrackingNetwork(model, dtype, compiled=track.compile)
    return build_tracker_of(network, trained.experiment, torch_device, benchmark)


def build_tracker_of(
    network: TrackingModel, experiment: Experiment, device: torch.device, benchmark: str
) -> MMGTracker:
    """Build the tracker that an experiment describes around its network, which is on the device."""
    track = experiment.track
    interval = track.update_intervals.get(benchmark, track.update_interval)
    update = TemplateUpdate(track.update, interval, track.score_threshold)
    crops = TargetCrops.of({**vars(experiment.crop), **vars(track)})
    return MMGTracker(network, crops, update, online_template=experiment.model.online_template, device=device)


def build_trained_network(trained: TrainedModel, path: Path) -> MMG:
    """Build the network with a checkpoint's weights, in evaluation mode.

    The decoders are not built: they serve training only. The score module is built where it is trained.
    """
    check_update(trained, path)
    model = build_model(as_tracked(trained.experiment, score=trained.score_trained), pretrained=False)
    load_model_state(model, trained.state, allow_unexpected=("decoder.", "score."), source=str(path))
    return model.eval()


def check_update(trained: TrainedModel, path: Path) -> None:
    """Raise ValueError where the checkpoint, from `path`, does not give what its template update needs."""
    if trained.experiment.track.update == "score" and not trained.score_trained:
        raise ValueError(f"track.update is 'score', but the score module in {path} is not trained: train the second "
                         "stage, or give a --config with track.update: fixed or none")  # fmt: skip


def choose_device(name: str) -> torch.device:
    """Return a device by name; `auto` is CUDA where PyTorch sees one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return find_device(name)


def as_tracked(experiment: Experiment, *, score: bool) -> Experiment:
    """Return the experiment without what tracking does not use, so that it is not built; with a score module or not."""
    model = experiment.model
    decoder = dataclasses.replace(model.decoder, self_decoder=False, online_to_search=False, search_to_online=False)
    scored = dataclasses.replace(model.score, enabled=score)
    return dataclasses.replace(experiment, model=dataclasses.replace(model, decoder=decoder, score=scored))
