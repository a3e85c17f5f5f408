"""Part 3: samples a second and share of the card's peak in training, memory beside the computed table, data wait."""

import dataclasses
import time
from collections.abc import Sequence

import torch
from report import Part, run_part
from torch.profiler import ProfilerActivity, profile

from lib.config.load import load
from lib.profiling.memory import compute_memory
from lib.profiling.training import TimedTrainer, measure_training, synthetic_batch

_BATCHES = (20, 40, 80, 128)
_STEPS = 15
_WORKERS = 12
_TOP = 15  # kernels of the profile
_TOLERANCE = 0.05  # between measured and computed memory
_SECONDS = {False: 12.0, True: 90.0}  # that a row may take, eager and compiled, before one has been measured
_STILLS_AND_DRAWN = (
    "data.sources=[{dataset: stills, split: train, ratio: 1}, {dataset: synthetic, split: train, ratio: 1}]"
)


def work(part: Part) -> None:
    config, batches = ("mmg_tiny", (2,)) if part.tiny else ("mmg_vitb", _BATCHES)
    precision = "fp32" if part.tiny else "bf16"
    settings = [f"train.precision={precision}", "model.encoder.pretrained=null"]
    rows: list[dict[str, object]] = []
    left_out: list[str] = []
    seconds = dict.fromkeys(_SECONDS, 0.0) if part.tiny else dict(_SECONDS)

    def take(what: str, compiled: bool, batch: int, further: Sequence[str] = (), loader: bool = False) -> None:
        if part.left < seconds[compiled]:
            left_out.append(what)
            return
        started = time.monotonic()
        experiment = load(
            config, [*settings, f"train.batch_size={batch}", f"train.compile={str(compiled).lower()}", *further]
        )
        paths = part.paths_file() if loader else None
        cost = measure_training(experiment, part.device, 2 if part.tiny else _STEPS, loader=loader, paths_file=paths)
        row = {"what": what, **dataclasses.asdict(cost)}
        if not compiled and not loader:
            row["memory_computed"] = compute_memory(experiment, part.device).total
            if cost.memory is not None:
                row["memory_off_by"] = cost.memory / row["memory_computed"] - 1
                row["memory_to_be_corrected"] = abs(row["memory_off_by"]) > _TOLERANCE
        rows.append(row)
        seconds[compiled] = 1.1 * (time.monotonic() - started)
        part.save(_line(rows), rows=rows, left_out=left_out)

    for batch in batches:
        take(f"eager {batch}", False, batch)
    workers = 1 if part.tiny else _WORKERS
    take("stills + synthetic", False, batches[-2:][0], [_STILLS_AND_DRAWN, f"data.workers={workers}"], loader=True)
    profile_step(part, config, [*settings, f"train.batch_size={batches[-2:][0]}"])
    if not part.tiny:  # half a minute of compilation that the tests already do
        for batch in reversed(batches):
            take(f"compiled {batch}", True, batch)
    part.save(_line(rows), rows=rows, left_out=left_out)


def profile_step(part: Part, config: str, settings: Sequence[str]) -> None:
    """Write the kernels of one step that take longest to `training_profile.txt`."""
    experiment = load(config, settings)
    step = TimedTrainer(experiment, part.device)
    batch = synthetic_batch(experiment, experiment.train.batch_size, part.device)
    for _ in range(1 if part.tiny else 3):
        step.take(lambda: batch)
    on_gpu = part.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as found:
        step.take(lambda: batch)
        if on_gpu:
            torch.cuda.synchronize()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table = found.key_averages().table(sort_by=order, row_limit=_TOP, max_name_column_width=80)
    (part.out / "training_profile.txt").write_text(table, encoding="utf-8")


def _line(rows: Sequence[dict[str, object]]) -> str:
    said = []
    for row in rows:
        text = f"{row['what']}: {row['samples_per_second']:.0f} samples/s, {row['utilisation']:.0%} of the peak"
        if row["loader"]:
            text += f", {row['data_wait_share']:.0%} waiting for data"
        if "memory_off_by" in row:
            text += f", memory {row['memory_off_by']:+.1%} of the computed"
        said.append(text)
    return "; ".join(said)


if __name__ == "__main__":
    run_part("training", work)
