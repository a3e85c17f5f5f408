"""One test of a tracker on a benchmark, from names to result files: what `tracking/test.py` does."""

import dataclasses
import sys
from pathlib import Path

import torch

from lib.data.sequence import SequenceDataset
from lib.eval.benchmarks import choose_sequences, find_benchmark
from lib.eval.ranks import Ranks, join_ranks
from lib.eval.results import RunRecord, claim_folder, file_sha256, package_versions
from lib.eval.runner import RunSummary, join_summaries, run_benchmark
from lib.tracker import TrackerSpec
from lib.tracker.build import choose_device, read_trained_model


def run_test(
    spec: TrackerSpec,
    *,
    root: Path | None = None,
    paths_file: Path | None = None,
    choices: list[str] | None = None,
    results_dir: Path = Path("results"),
    num_workers: int = 1,
    num_threads: int = 1,
    overwrite: bool = False,
) -> int:
    """Run a tracker on `spec.benchmark`, write its results and print what became of it.

    Under torchrun every rank takes its share of the sequences, with workers of its own; the main one reports on all.

    Args:
        spec: the tracker; with a device of `auto` or `cuda` the workers are spread over all visible GPUs.
        root: folder of the benchmark; by default its configured path.
        paths_file: instead of `experiments/paths.yaml`.
        choices: which sequences, as `benchmarks.choose_sequences` takes them; all by default.
        results_dir: results go to `<results_dir>/<tracker>/<config>/<benchmark>/`.
        num_workers, num_threads, overwrite: see `runner.run_benchmark`.

    Returns:
        The exit code, the same on all ranks: 1 when a sequence failed or a box was not finite.

    Raises:
        ValueError, OSError: what was asked for does not exist or does not fit.
    """
    if num_workers < 1 or num_threads < 1:
        raise ValueError(f"{num_workers} workers of {num_threads} threads: there must be at least one of each")
    benchmark = find_benchmark(spec.benchmark)
    dataset = benchmark.open(root, paths_file)
    indices = choose_sequences(dataset, choices or [])
    names = {dataset.names[index] for index in indices}
    clashing = sorted(name for name in names if {f"{name}_time", f"{name}_nonfinite"} & names)
    if clashing:
        raise ValueError(f"the sequences {clashing[0]!r} and {clashing[0]}_time would share result files: rename one")
    record = _describe(spec)
    folder = results_dir / record.tracker / record.config / record.benchmark
    with join_ranks() as ranks:
        builders = [dataclasses.replace(spec, device=device) for device in _devices(spec.device, num_workers, ranks)]
        remark = ranks.from_main(lambda: claim_folder(folder, record, overwrite))
        if remark and ranks.is_main:
            print(f"note: {remark}", file=sys.stderr)
        part = run_benchmark(
            builders,
            dataset,
            folder,
            indices=_share(dataset, indices, ranks),
            overwrite=overwrite,
            num_threads=num_threads,
            show_progress=ranks.is_main,
        )
        summary = join_summaries(ranks.gather(part))
    if ranks.is_main:
        _report(summary, folder)
    return 0 if summary.succeeded else 1


def _share(dataset: SequenceDataset, indices: list[int], ranks: Ranks) -> list[int]:
    """Return this rank's part of the sequences; the long ones are dealt out first, so that all ranks get alike."""
    if ranks.count == 1:
        return indices
    return sorted(indices, key=lambda index: -_num_frames(dataset, index))[ranks.rank :: ranks.count]


def _num_frames(dataset: SequenceDataset, index: int) -> int:
    try:
        return len(dataset[index])
    except (ValueError, OSError):  # the rank that gets it reports it
        return 0


def _devices(asked: str, num_workers: int, ranks: Ranks) -> list[str]:
    """Return a device for each worker of this rank."""
    device = choose_device(asked)
    if device.type != "cuda" or device.index is not None:
        return [str(device)] * num_workers
    first = ranks.local_rank * num_workers
    return [f"cuda:{(first + worker) % torch.cuda.device_count()}" for worker in range(num_workers)]


def _describe(spec: TrackerSpec) -> RunRecord:
    checkpoint = spec.checkpoint_file
    if checkpoint is None:
        return RunRecord(spec.name, spec.config_name, spec.benchmark, None, None, package_versions())
    track = read_trained_model(checkpoint, spec.config).experiment.track
    return RunRecord(
        tracker=spec.name,
        config=spec.config_name,
        benchmark=spec.benchmark,
        checkpoint_sha256=file_sha256(checkpoint),
        settings=dataclasses.asdict(track),
        versions=package_versions(),
    )


def _report(summary: RunSummary, folder: Path) -> None:
    tracked = [outcome for outcome in summary.outcomes if outcome.failure is None]
    if tracked:
        print(f"{len(tracked)} sequences tracked at {summary.fps:.1f} frames per second (the tracker alone)")
    if summary.skipped:
        print(f"{len(summary.skipped)} sequences had complete results; --overwrite tracks them again")
    print(f"results in {folder}")
    for outcome in summary.failures:
        print(f"\nFAILED {outcome.sequence}\n{outcome.failure}", file=sys.stderr)
    for outcome in summary.non_finite:
        print(
            f"NOT FINITE {outcome.sequence}: {outcome.num_non_finite} of {outcome.num_frames} boxes; each repeats the "
            "one before it",
            file=sys.stderr,
        )
    if not summary.succeeded:
        bad = f"{len(summary.failures)} sequences failed, {len(summary.non_finite)} have boxes that are not finite"
        print(f"error: {bad}", file=sys.stderr)
