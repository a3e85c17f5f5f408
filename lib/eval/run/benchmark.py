"""One test of a tracker on a benchmark, from names to result files: what `tracking/test.py` does."""

import dataclasses
import sys
from collections.abc import Sequence as Indexed
from contextlib import suppress
from dataclasses import dataclass
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
    describe_difference,
    leave_folder,
    package_versions,
    video_fingerprint,
)
from lib.eval.results import FOLDER, check_names, forget_replaced
from lib.eval.run.ranks import Ranks, join_ranks
from lib.eval.run.runner import RunSummary, join_summaries, run_benchmark
from lib.tracker import TrackerSpec
from lib.tracker.base import Tracker
from lib.tracker.batch import LockstepTracker

CODE = (TrackerSpec, LockstepTracker, ImageFiles, VideoFile)  # what makes boxes, with all that these use


@dataclass(frozen=True)
class PinnedTracker:
    """A tracker whose weights and code must still be those that the record of the run states.

    The newest checkpoint of a run changes under its name while the run goes on training, and code is edited while
    the workers start.

    Attributes:
        spec: what the tracker is built from.
        checkpoint_sha256: of its weights; None for a tracker without.
        code_sha256: of the code that makes boxes.
    """

    spec: TrackerSpec
    checkpoint_sha256: str | None
    code_sha256: str | None

    @property
    def device(self) -> str:
        return self.spec.device

    def build(self) -> Tracker:
        """Make the tracker; errors as in `TrackerSpec.build`, and ValueError when weights or code have changed."""
        if code_sha256(CODE) != self.code_sha256:
            raise ValueError("the code of the tracker has changed since the test began: start the test again")
        tracker = self.spec.build()
        if self.spec.weights_sha256 != self.checkpoint_sha256:
            changed = self.spec.checkpoint_file or ", ".join(map(str, self.spec.weights))
            raise ValueError(f"{changed} has changed since the test began, as the newest checkpoint of a run in "
                             "training does: give --checkpoint with a file that stays")  # fmt: skip
        return tracker


def run_test(
    spec: TrackerSpec,
    *,
    root: Path | None = None,
    paths_file: Path | None = None,
    choices: list[str] | None = None,
    results_dir: Path = Path("results"),
    num_workers: int = 1,
    num_threads: int = 1,
    batch: int = 1,
    overwrite: bool = False,
    accept_changes: bool = False,
) -> int:
    """Run a tracker on `spec.benchmark`, write its results and print what became of it.

    Under torchrun every rank takes its share of the sequences, with workers of its own; the main one reports on all.

    Args:
        spec: the tracker; with a device of `auto` or `cuda` the workers are spread over all visible GPUs.
        root: folder of the benchmark; by default its configured path.
        paths_file: instead of `experiments/paths.yaml`.
        choices: which sequences, as `benchmarks.choose_sequences` takes them; all by default.
        results_dir: results go to `<results_dir>/<tracker>/<config>/<benchmark>/`.
        num_workers, num_threads, batch: see `runner.run_benchmark`; the batch is each worker's.
        overwrite: track sequences with complete results again, and replace results of another run.
        accept_changes: go on with results that other code or packages have begun.

    Returns:
        The exit code, the same on all ranks: 1 when a sequence failed or a box was not finite.

    Raises:
        ValueError, OSError: what was asked for does not exist or does not fit.
    """
    if num_workers < 1 or num_threads < 1:
        raise ValueError(f"{num_workers} workers of {num_threads} threads: there must be at least one of each")
    if batch < 1:
        raise ValueError(f"--batch {batch}: at least one sequence must advance at once")
    if batch > 1 and not spec.trained:
        raise ValueError(f"the tracker {spec.name} has no network to take {batch} sequences as one batch: leave out "
                         "--batch; --workers N runs it in N processes")  # fmt: skip
    benchmark = find_benchmark(spec.benchmark)
    dataset = benchmark.open(root, paths_file)
    indices = choose_sequences(dataset, choices or [])
    check_names({dataset.names[index] for index in indices})
    spec.check()
    record = dataclasses.replace(_describe(spec), batch=batch)
    folder = results_dir / record.tracker / record.config / record.benchmark
    with join_ranks() as ranks:
        _check_alike(ranks.gather(record))
        remark = ranks.from_main(lambda: _claim(folder, record, dataset, indices, overwrite, accept_changes))
        if remark and ranks.is_main:
            print(f"note: {remark}", file=sys.stderr)
        devices = spread_over(visible_devices(spec.choose_device()), num_workers, ranks.local_rank)
        part, error = _run_part(
            [
                PinnedTracker(dataclasses.replace(spec, device=device), record.checkpoint_sha256, record.code)
                for device in devices
            ],
            dataset,
            folder,
            _share(dataset, indices, ranks),
            num_threads,
            batch,
            show_progress=ranks.is_main,
        )
        parts = ranks.gather((part, error))
        summary = join_summaries([part for part, _ in parts])
        if ranks.is_main:
            kept = forget_replaced(folder, summary.complete)
            if summary.outcomes or summary.skipped:
                _report(summary, folder, kept, batch)
    for _, error in parts:
        if error is not None:
            leave_folder(folder, results_dir)
            raise error
    return 0 if summary.succeeded else 1


def spread_over(devices: Indexed[str], num_workers: int, local_rank: int = 0) -> list[str]:
    """Return a device for each worker of a rank, such that all workers on a machine are spread evenly."""
    first = local_rank * num_workers
    return [devices[(first + worker) % len(devices)] for worker in range(num_workers)]


def visible_devices(device: torch.device) -> list[str]:
    """Return all GPUs when a GPU is asked for without its number, else the one device."""
    if device.type != "cuda" or device.index is not None:
        return [str(device)]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _describe(spec: TrackerSpec) -> RunRecord:
    checkpoint = spec.checkpoint_file
    settings = spec.settings
    if settings is not None:
        check_update_intervals(settings["update_intervals"], spec.config or str(checkpoint))
    return RunRecord(
        tracker=spec.name,
        config=spec.config_name,
        benchmark=spec.benchmark,
        checkpoint_sha256=spec.weights_sha256,
        settings=settings,
        versions=package_versions() | spec.runtime,
        code=code_sha256(CODE),
    )


def _check_alike(records: Indexed[RunRecord]) -> None:
    """Raise ValueError where the ranks, perhaps on several machines, would not compute the same."""
    for rank, record in enumerate(records):
        difference = describe_difference(records[0], record)
        if difference:
            raise ValueError(f"rank {rank} differs from rank 0 ({difference}): all machines must have the same code, "
                             "packages and checkpoint")  # fmt: skip


def _claim(
    folder: Path, record: RunRecord, dataset: SequenceDataset, indices: list[int], overwrite: bool, accept_changes: bool
) -> str | None:
    """Claim the folder for the chosen sequences; see `claim_folder`."""
    videos = {}
    for index in indices:
        with suppress(ValueError, OSError, MemoryError):  # whoever tracks it reports it
            videos[dataset.names[index]] = video_fingerprint(dataset[index])
    names = [dataset.names[index] for index in indices]
    claimed = dataclasses.replace(record, videos=videos)
    return claim_folder(folder, claimed, overwrite, names, accept_changes=accept_changes)


def _run_part(
    builders: Indexed[PinnedTracker],
    dataset: SequenceDataset,
    folder: Path,
    indices: list[int],
    num_threads: int,
    batch: int,
    show_progress: bool,
) -> tuple[RunSummary, ValueError | OSError | None]:
    """Track this rank's sequences. An error that stops it is returned: the other ranks finish theirs first."""
    try:
        part = run_benchmark(
            builders,
            dataset,
            folder,
            indices=indices,
            num_threads=num_threads,
            batch=batch,
            show_progress=show_progress,
        )
    except (ValueError, OSError) as error:
        return RunSummary((), ()), error
    return part, None


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
    tracked = [outcome for outcome in summary.outcomes if outcome.failure is None]
    if tracked:
        batch = min(batch, len(tracked))
        how = "the tracker alone" if batch == 1 else f"the tracker alone, up to {batch} sequences at once"
        print(f"{len(tracked)} sequences tracked at {summary.fps:.1f} frames per second ({how})")
    if summary.skipped:
        print(f"{len(summary.skipped)} sequences had complete results; --overwrite tracks them again")
    print(f"results in {folder}")
    if num_replaced:
        print(f"{num_replaced} results that have no successor yet are kept in {folder / FOLDER}")
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
