"""One test of a tracker on a benchmark, from names to result files: what `tracking/test.py` does."""

import dataclasses
import sys
from pathlib import Path

import torch

from lib.eval.benchmarks import choose_sequences, find_benchmark
from lib.eval.results import RunRecord, claim_folder, file_sha256, package_versions
from lib.eval.runner import RunSummary, run_benchmark
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

    Args:
        spec: the tracker; with a device of `auto` or `cuda` the workers are spread over all visible GPUs.
        root: folder of the benchmark; by default its configured path.
        paths_file: instead of `experiments/paths.yaml`.
        choices: which sequences, as `benchmarks.choose_sequences` takes them; all by default.
        results_dir: results go to `<results_dir>/<tracker>/<config>/<benchmark>/`.
        num_workers, num_threads, overwrite: see `runner.run_benchmark`.

    Returns:
        The exit code: 1 when a sequence failed or a box was not finite.

    Raises:
        ValueError, OSError: what was asked for does not exist or does not fit.
    """
    if num_workers < 1 or num_threads < 1:
        raise ValueError(f"{num_workers} workers of {num_threads} threads: there must be at least one of each")
    benchmark = find_benchmark(spec.benchmark)
    dataset = benchmark.open(root, paths_file)
    indices = choose_sequences(dataset, choices or [])
    builders = [dataclasses.replace(spec, device=device) for device in _devices(spec.device, num_workers)]
    record = _describe(spec)
    folder = results_dir / record.tracker / record.config / record.benchmark
    remark = claim_folder(folder, record, overwrite)
    if remark:
        print(f"note: {remark}", file=sys.stderr)
    summary = run_benchmark(builders, dataset, folder, indices=indices, overwrite=overwrite, num_threads=num_threads)
    _report(summary, folder)
    return 0 if summary.succeeded else 1


def _devices(asked: str, num_workers: int) -> list[str]:
    """Return a device for each worker."""
    device = choose_device(asked)
    if device.type != "cuda" or device.index is not None:
        return [str(device)] * num_workers
    return [f"cuda:{worker % torch.cuda.device_count()}" for worker in range(num_workers)]


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
