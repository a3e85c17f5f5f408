"""Part 4: the rows of Tables IV and V by the recipe of `mmg_small`, several seeds each, and their AUC.

The samples are drawn once, by resident loader processes, and kept in memory, as are the decoded videos; every run takes
them from there. Runs share the card, each in a process that was forked after all that was there.
"""

import dataclasses
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

import numpy as np
import torch
from report import Part, run_part
from score import Video, auc_of, load_videos

from lib.config.load import load
from lib.config.schema import Experiment
from lib.data.datasets.folder import FolderDataset
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.samples.mixture import open_sources, sample_id
from lib.data.samples.training_set import Batch, Sample, TrainingSet
from lib.data.storage.tree import open_tree
from lib.eval.score.seeds import Spread, group_runs
from lib.models.build import build_model
from lib.models.inference import TrackingNetwork
from lib.models.mmg import count_parameters
from lib.tracker.build import build_tracker_of
from lib.train.loading import open_loader
from lib.train.objectives import build_objective
from lib.train.trainer import Trainer

# Without decoders, with the first one, with all, with all and nothing masked; then what is left of both tables. mask75
# is `all`.
_ROWS = ("table4_none", "table4_self", "table4_all", "table5_mask00", "table4_o2s_s2o", "table4_self_o2s",
         "table4_self_s2o", "table5_mask25", "table5_mask50")  # fmt: skip
_SWITCHES = ("self_decoder", "online_to_search", "search_to_online", "mask_ratio")  # which rows differ in
_SEEDS = (1, 2, 3)
_SAMPLES, _BATCH, _EPOCHS = 204_800, 256, 8  # that a run sees
_RECIPE = ("data.workers=0", "data.validation_samples=0", "train.picture_every=0", "train.log_every=100",
           "train.checkpoint_every=100", "train.ema_decay=0", "model.score.enabled=false",
           "track.update=none")  # fmt: skip
_AT_ONCE = 6  # runs that share the card
_DRAWN, _FOR_SAMPLES = _SAMPLES // 2, 0.2  # samples in the pool, and the part's time that they may take


class Pool:
    """Samples that were drawn once, under any id, in another order for every run and epoch."""

    num_skipped = 0

    def __init__(self, samples: Sequence[Sample], seed: int) -> None:
        self._samples = samples
        self._seed = seed

    def __getitem__(self, index: int) -> Sample:
        """Return the sample of `sample_id(epoch, place)`."""
        epoch, place = divmod(index, sample_id(1, 0))
        # An odd step shares no factor with 2^n samples, so that an epoch as long as the pool shows each of them once.
        return self._samples[(place * (2 * epoch + 7919) + self._seed * 104_729) % len(self._samples)]

    def collate(self, samples: list[Sample]) -> Batch:
        """Stack samples."""
        return TrainingSet.collate(samples)


def experiment_of(part: Part, row: str, seed: int) -> Experiment:
    """Return a run's experiment: the decoders of a row in `mmg_small`, or in `mmg_tiny` in a rehearsal."""
    samples, batch, epochs = (16, 4, 2) if part.tiny else (_SAMPLES, _BATCH, _EPOCHS)
    budget = (f"data.samples_per_epoch={samples // epochs}", f"train.epochs={epochs}", f"train.batch_size={batch}",
              f"train.total_batch={batch}", f"train.seed={seed}")  # fmt: skip
    experiment = load("mmg_tiny" if part.tiny else "mmg_small", [*_RECIPE, *budget])
    switches = {name: getattr(load(row).model.decoder, name) for name in _SWITCHES}
    model = dataclasses.replace(experiment.model, decoder=dataclasses.replace(experiment.model.decoder, **switches))
    return dataclasses.replace(experiment, name=f"{row}.seed{seed}", model=model)


def work(part: Part) -> None:
    rows, seeds = (("table4_none", "table4_all"), (1,)) if part.tiny else (_ROWS, _SEEDS)
    started = time.monotonic()
    pool = draw_samples(part, experiment_of(part, rows[0], 1))
    drawing = time.monotonic() - started
    number, frames = (2, 10) if part.tiny else (40, 100)
    videos = {
        "synthetic": load_videos(SyntheticDataset("test", number, frames)),
        "excerpts": load_videos(FolderDataset(open_tree(part.excerpts()))),
    }
    network = build_model(experiment_of(part, "table4_all", 1), pretrained=False)
    part.save(f"{len(pool)} samples drawn", samples_drawn=len(pool), seconds_of_drawing=drawing,
              parameters=count_parameters(network), seconds_of_videos=time.monotonic() - started - drawing)  # fmt: skip
    assert not torch.cuda.is_initialized(), "a forked process could not use it"
    wanted = [(row, seed) for row in rows for seed in seeds]
    left_out: list[str] = []
    failed: list[str] = []
    context = multiprocessing.get_context("fork")  # the samples are not copied
    running: dict[str, BaseProcess] = {}
    finished: dict[str, dict[str, float]] = {}
    longest = 0.0 if part.tiny else 45.0  # seconds of a run, before one has been measured
    while wanted or running:
        for name, process in [item for item in running.items() if item[1].exitcode is not None]:
            del running[name]
            if process.exitcode:
                failed.append(name)
                continue
            finished[name] = json.loads((part.out / "tables" / name / "auc.json").read_text(encoding="utf-8"))
            longest = max(found["seconds"] for found in finished.values())
            table = {kind: spread_of(finished, kind) for kind in videos}
            part.save("; ".join(describe(kind, table[kind]) for kind in videos), auc=table, runs=finished)
        if wanted and part.left < longest:
            left_out = [f"{row}.seed{seed}" for row, seed in wanted]
            wanted.clear()
        while wanted and len(running) < (2 if part.tiny else _AT_ONCE):
            row, seed = wanted.pop(0)
            process = context.Process(target=run, args=(part, pool, row, seed, videos))
            process.start()
            running[f"{row}.seed{seed}"] = process
        time.sleep(0.2)
    part.save(part.figures["line"], left_out=left_out)
    if failed:
        raise RuntimeError(f"runs that ended in an error, see tables.log: {', '.join(failed)}")


def draw_samples(part: Part, experiment: Experiment) -> list[Sample]:
    """Draw samples for a share of the part's time, or as many as a run sees."""
    sources = open_sources(experiment.data.sources, part.paths_file())
    training_set = TrainingSet(sources, experiment.data, experiment.crop, seed=0)
    workers, size, most = (1, 4, 16) if part.tiny else (max(1, (os.cpu_count() or 1) - 2), 64, _DRAWN)
    ids = [[sample_id(0, first + index) for index in range(size)] for first in range(0, most, size)]
    end = time.monotonic() + _FOR_SAMPLES * part.left
    samples: list[Sample] = []
    for batch in open_loader(training_set, ids, workers, torch.device("cpu")):
        arrays = [tensor.permute(0, 2, 3, 1).numpy() if tensor.ndim == 4 else tensor.numpy() for tensor in batch]
        samples += [Sample(*map(np.ascontiguousarray, row)) for row in zip(*arrays, strict=True)]
        if time.monotonic() > end:
            break
    return samples


def run(part: Part, pool: Sequence[Sample], row: str, seed: int, videos: dict[str, list[Video]]) -> None:
    """Train a row with one seed, and track the videos; in a process of its own."""
    started = time.monotonic()
    torch.set_num_threads(1)
    experiment = experiment_of(part, row, seed)
    folder = part.out / "tables" / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = build_model(experiment)
    drawn: TrainingSet = Pool(pool, seed)  # pyright: ignore[reportAssignmentType]  # all of it that a trainer uses
    Trainer(experiment, build_objective(experiment, model), drawn, None, folder, part.device).fit()
    for checkpoint in folder.glob("*.pth"):
        checkpoint.unlink()  # they would take gigabytes, and nobody asks for them
    trained = time.monotonic() - started
    tracker = build_tracker_of(TrackingNetwork(model.eval()), experiment, part.device, "")
    found = {kind: auc_of(tracker, shown) for kind, shown in videos.items()}
    found |= {"seconds_of_training": trained, "seconds": time.monotonic() - started}
    (folder / "auc.json").write_text(json.dumps(found), encoding="utf-8")


def spread_of(finished: dict[str, dict[str, float]], kind: str) -> dict[str, dict[str, float]]:
    """Return mean, standard deviation and number of each row's AUC on one kind of videos."""
    spreads = {
        row: Spread(tuple(finished[name][kind] for name in names)) for row, names in group_runs(finished).items()
    }
    return {row: {"mean": each.mean, "std": each.std, "runs": len(each.values)} for row, each in spreads.items()}


def describe(kind: str, rows: dict[str, dict[str, float]]) -> str:
    """Return the rows' AUC in percent."""
    return f"{kind} AUC " + ", ".join(
        f"{row.removeprefix('table')} {100 * each['mean']:.1f}" for row, each in rows.items()
    )


if __name__ == "__main__":
    run_part("tables", work)
