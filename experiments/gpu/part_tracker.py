"""Part 5: the tracker that comes along, trained for the rest of the time; its weights are kept every minute."""

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml
from report import Part, run_part
from score import auc_of, load_videos

from lib.config.load import experiment_to_dict, load
from lib.data.datasets.folder import FolderDataset
from lib.data.storage.tree import open_tree
from lib.models.trained import read_trained_model, write_weights
from lib.profiling.training import measure_training
from lib.tracker.build import build_mmg_tracker

_ROOT = Path(__file__).resolve().parents[2]
_CONFIG = "mmg_small"
_WORKERS = 12
_EPOCH = 25.0  # seconds between checkpoints, about
_MOST_BYTES = 15 * 10**6
_END = 15.0  # seconds at the end, for the last checkpoint and the test
_RESERVE = 0.93  # of the remaining time, what the schedule is laid out for


def work(part: Part) -> None:
    paths, weights = part.paths_file(), part.out / "tracker.safetensors"
    run = part.out / "tracker"
    experiment = load(_CONFIG, _settings(part))
    cost = measure_training(experiment, part.device, 2 if part.tiny else 30, loader=True, paths_file=paths)
    waiting = f"{cost.data_wait_share:.0%} waiting for data"
    part.save(f"{cost.samples_per_second:.0f} samples/s, {waiting}", speed=dataclasses.asdict(cost))
    seconds = _RESERVE * (part.left - _END)
    samples = max(experiment.train.batch_size, int(cost.samples_per_second * seconds))
    epochs = 2 if part.tiny else max(2, round(seconds / _EPOCH))
    per_epoch = 2 * experiment.train.batch_size if part.tiny else samples // epochs
    budget = [f"train.epochs={epochs}", f"data.samples_per_epoch={per_epoch}"]
    config = part.out / f"{_CONFIG}.yaml"
    scheduled = load(_CONFIG, [*_settings(part), *budget])
    settings = experiment_to_dict(scheduled)
    settings.pop("name", None)
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "tracking/train.py", "--config", str(config), "--run", str(run), "--device",
               part.device.type, "--paths", str(paths)]  # fmt: skip
    shutil.rmtree(run, ignore_errors=True)  # of an earlier check, which had another schedule
    training = subprocess.Popen(command, cwd=_ROOT)
    try:
        while training.poll() is None and part.left > _END:
            time.sleep(0.5)
            keep_weights(run, weights)
        if training.poll() is None:
            training.send_signal(signal.SIGTERM)  # it saves its state, and the weights in it count
        training.wait(max(part.left, 1.0))
    finally:
        training.kill()
    keep_weights(run, weights)
    if training.returncode not in (0, 143):
        raise RuntimeError(f"training ended with {training.returncode}; see tracker.log")
    trained_model = read_trained_model(weights)
    step = torch.load(run / "latest.pth", weights_only=True, map_location="cpu")["step"]
    shown = step * experiment.train.batch_size
    size = weights.stat().st_size / 1e6
    line = f"{shown} samples, {cost.samples_per_second:.0f} a second with {waiting}; {size:.1f} MB"
    part.save(line, samples=shown, planned=per_epoch * epochs, config=trained_model.experiment.name, training=command)
    tracker = build_mmg_tracker(None, weights, part.device.type, "folder")
    auc = auc_of(tracker, load_videos(FolderDataset(open_tree(part.excerpts()))))
    part.save(f"{line}; AUC {100 * auc:.1f} on the excerpts", auc_excerpts=auc)


def _settings(part: Part) -> list[str]:
    """Return what a GPU changes in the recipe, or what makes a toy of it."""
    if part.tiny:
        return ["model.encoder.pretrained=null", "model.encoder.depth=1", "train.batch_size=4", "train.total_batch=4",
                "data.workers=0", "data.validation_samples=4", "train.picture_every=0",
                "train.warmup_epochs=0", "track.update=none"]  # fmt: skip
    start = None if part.data is None else part.data / "start.safetensors"
    goes_on = [f"train.start_from={start}"] if start is not None and start.is_file() else []
    return [*goes_on, "track.update=none",  # no time for its score
            f"data.workers={_WORKERS}", "train.picture_every=0", "train.precision=auto",
            "train.keep_checkpoints=2"]  # fmt: skip


def keep_weights(run: Path, out: Path) -> None:
    """Write the newest checkpoint's weights in half precision over `out`, if it is newer.

    Raises:
        ValueError: the file would be larger than can be brought back.
    """
    newest = run / "latest.pth"
    if not newest.is_file() or (out.is_file() and out.stat().st_mtime >= newest.stat().st_mtime):
        return
    trained = read_trained_model(newest)
    tracked = {name: value for name, value in trained.state.items() if not name.startswith(("decoder.", "score."))}
    half = {name: value.half() if value.is_floating_point() else value for name, value in tracked.items()}
    aside = out.with_suffix(".part")
    write_weights(aside, half, {"config": experiment_to_dict(trained.experiment), "score_trained": False})
    if aside.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{out} would take {aside.stat().st_size} bytes, and {_MOST_BYTES} are allowed")
    aside.replace(out)


if __name__ == "__main__":
    run_part("tracker", work)
