"""One test of a tracker on a benchmark, from names to result files: what `tracking/test.py` does."""

import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lib.data.images.frames import ImageFiles
from lib.data.images.video import VideoFile
from lib.data.sequence import SequenceDataset
from lib.eval.benchmarks import check_update_intervals, choose_sequences, find_benchmark
from lib.eval.record import (
    RunRecord,
    claim_folder,
    code_sha256,
    describe_differences,
    package_versions,
    video_fingerprint,
)
from lib.eval.results import REPLACED, check_names, forget_replaced
from lib.eval.run.ranks import Ranks, join_ranks
from lib.eval.run.runner import RunSummary, run_benchmark
from lib.tracker import TrackerSpec
from lib.tracker.base import Tracker
from lib.tracker.batch import LockstepTracker

CODE = (TrackerSpec, LockstepTracker, ImageFiles, VideoFile)  # what makes boxes, with all that these use


@dataclass(frozen=True)
class RunOptions:
    """Where a test reads and writes, and with how many processes.

    Attributes:
        root, paths_file: where the benchmark lies, if not at its path in `experiments/paths.yaml`.
        choices: which sequences, as `benchmarks.choose_sequences` takes them; all by default.
        results_dir: results go to `<results_dir>/<tracker>/<config>/<benchmark>/`.
        num_workers: processes; with a device of `auto` or `cuda` they are spread over all visible GPUs.
        num_threads, batch: of each worker, see `runner.run_benchmark`.
        overwrite, accept_changes: see `record.claim_folder`.
    """

    root: Path | None = None
    paths_file: Path | None = None
    choices: list[str] = field(default_factory=list)
    results_dir: Path = Path("results")
    num_workers: int = 1
    num_threads: int = 1
    batch: int = 1
    overwrite: bool = False
    accept_changes: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for numbers below 1."""
        if self.num_workers < 1 or self.num_threads < 1:
            raise ValueError(
                f"{self.num_workers} workers of {self.num_threads} threads: there must be at least one of each"
            )
        if self.batch < 1:
            raise ValueError(f"--batch {self.batch}: at least one sequence must advance at once")

    def open(self, benchmark: str) -> tuple[SequenceDataset, list[int]]:
        """Open a benchmark, and return it with the indices of the chosen sequences."""
        dataset = find_benchmark(benchmark).open(self.root, self.paths_file)
        return dataset, choose_sequences(dataset, self.choices)


@dataclass(frozen=True)
class PinnedTracker(TrackerSpec):
    """A tracker whose weights must still be those that the record of the run states.

    The newest checkpoint of a run changes under its name while the run goes on training.
    """

    stated: str | None = None

    def build(self) -> Tracker:
        """Make the tracker; errors as in `TrackerSpec.build`, and ValueError when the weights have changed."""
        tracker = super().build()
        if self.weights_sha256 != self.stated:
            changed = self.checkpoint_file or ", ".join(map(str, self.weights))
            raise ValueError(f"{changed} has changed since the test began, as the newest checkpoint of a run in "
                             "training does: give --checkpoint with a file that stays")  # fmt: skip
        return tracker


def run_test(spec: TrackerSpec, options: RunOptions) -> int:
    """Run a tracker on `spec.benchmark`, write its results and print what became of it.

    Under torchrun every rank takes its share of the sequences, with workers of its own; the main one reports on all.
    Returns the exit code, the same on all ranks: 1 when a sequence failed or a box was not finite.
    """
    if options.batch > 1 and not spec.trained:
        raise ValueError(f"the tracker {spec.name} has no network to take {options.batch} sequences as one batch: "
                         "leave out --batch; --workers N runs it in N processes")  # fmt: skip
    dataset, indices = options.open(spec.benchmark)
    check_names({dataset.names[index] for index in indices})
    spec.check()
    record = _describe(spec, options.batch)
    folder = options.results_dir / record.tracker / record.config / record.benchmark
    with join_ranks() as ranks:
        for rank, other in enumerate(records := ranks.gather(record)):
            for difference in describe_differences(records[0], other).values():
                raise ValueError(f"rank {rank} differs from rank 0 ({difference}): all machines must have the same "
                                 "code, packages and checkpoint")  # fmt: skip
        remark = ranks.from_main(lambda: _claim(folder, record, dataset, indices, options))
        if remark and ranks.is_main:
            print(f"note: {remark}", file=sys.stderr)
        devices = worker_devices(spec.choose_device(), options.num_workers, ranks.local_rank)
        part, error = RunSummary((), ()), None
        try:
            part = run_benchmark(
                [
                    PinnedTracker(**vars(replace(spec, device=each)), stated=record.checkpoint_sha256)
                    for each in devices
                ],
                dataset,
                folder,
                indices=_share(dataset, indices, ranks),
                num_threads=options.num_threads,
                batch=options.batch,
                show_progress=ranks.is_main,
            )
        except (ValueError, OSError) as failure:  # raised when the other ranks have finished theirs
            error = failure
        parts = ranks.gather((part, error))
        summary = RunSummary(
            outcomes=tuple(outcome for part, _ in parts for outcome in part.outcomes),
            skipped=tuple(outcome for part, _ in parts for outcome in part.skipped),
        )
        if ranks.is_main:
            kept = forget_replaced(folder, summary.complete)
            if summary.outcomes or summary.skipped:
                _report(summary, folder, kept, options.batch)
    for _, error in parts:
        if error is not None:
            raise error
    return 0 if summary.succeeded else 1


def worker_devices(device: torch.device, num_workers: int, local_rank: int) -> list[str]:
    """Return a device for each worker of a rank, such that all workers on a machine are spread evenly.

    They are spread over all GPUs when a GPU is asked for without its number.
    """
    count = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
    devices = [f"cuda:{index}" for index in range(count)] or [str(device)]
    first = local_rank * num_workers
    return [devices[(first + worker) % len(devices)] for worker in range(num_workers)]


def _describe(spec: TrackerSpec, batch: int) -> RunRecord:
    settings = spec.settings
    if settings is not None:
        check_update_intervals(settings["update_intervals"], spec.config or str(spec.checkpoint_file))
    return RunRecord(
        tracker=spec.name,
        config=spec.config_name,
        benchmark=spec.benchmark,
        checkpoint_sha256=spec.weights_sha256,
        settings=settings,
        versions=package_versions() | spec.runtime,
        code=code_sha256(CODE),
        batch=batch,
    )


def _claim(
    folder: Path, record: RunRecord, dataset: SequenceDataset, indices: list[int], options: RunOptions
) -> str | None:
    videos = {}
    for index in indices:
        with suppress(ValueError, OSError, MemoryError):  # whoever tracks it reports it
            videos[dataset.names[index]] = video_fingerprint(dataset[index])
    names = [dataset.names[index] for index in indices]
    record = replace(record, videos=videos)
    return claim_folder(folder, record, options.overwrite, names, accept_changes=options.accept_changes)


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


def _report(summary: RunSummary, folder: Path, num_replaced: int, batch: int) -> None:
    num_tracked = len(summary.outcomes) - len(summary.failures)
    if num_tracked:
        batch = min(batch, num_tracked)
        how = "the tracker alone" if batch == 1 else f"the tracker alone, up to {batch} sequences at once"
        print(f"{num_tracked} sequences tracked at {summary.fps:.1f} frames per second ({how})")
    if summary.skipped:
        print(f"{len(summary.skipped)} sequences had complete results; --overwrite tracks them again")
    print(f"results in {folder}")
    if num_replaced:
        print(f"{num_replaced} results that have no successor yet are kept in {folder / REPLACED}")
    for outcome in summary.failures:
        print(f"\nFAILED {outcome.sequence}\n{outcome.failure}", file=sys.stderr)
    for outcome in summary.non_finite:
        print(f"NOT FINITE {outcome.sequence}: {outcome.num_non_finite} of {outcome.num_frames} boxes; each repeats "
              "the one before it", file=sys.stderr)  # fmt: skip
    if not summary.succeeded:
        print(f"error: {len(summary.failures)} sequences failed, {len(summary.non_finite)} have boxes that are not "
              "finite", file=sys.stderr)  # fmt: skip
