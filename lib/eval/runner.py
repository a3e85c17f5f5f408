"""Run a tracker over the sequences of a benchmark and write its results, in one process or many."""

import sys
import traceback
from collections.abc import Sequence as Indexed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lib.data.sequence import SequenceDataset
from lib.eval.frame_pool import default_num_decoders
from lib.eval.lockstep import ready_to_track
from lib.eval.results import ResultFiles
from lib.eval.tracking import Outcome, TrackerBuilder
from lib.eval.workers import run_in_workers


@dataclass(frozen=True)
class RunSummary:
    """What became of all sequences: `outcomes` of those tracked now, `skipped` had complete results before."""

    outcomes: tuple[Outcome, ...]
    skipped: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.failure is not None)

    @property
    def non_finite(self) -> tuple[Outcome, ...]:
        """Sequences with boxes that were not finite, those of earlier runs included."""
        return tuple(outcome for outcome in (*self.skipped, *self.outcomes) if outcome.num_non_finite)

    @property
    def complete(self) -> tuple[str, ...]:
        """The names of the sequences whose results are on the disk."""
        return tuple(outcome.sequence for outcome in (*self.skipped, *self.outcomes) if outcome.failure is None)

    @property
    def succeeded(self) -> bool:
        return not self.failures and not self.non_finite

    @property
    def fps(self) -> float:
        """Frames per second of the tracker alone in what was tracked now; nan when nothing was."""
        seconds = sum(outcome.seconds for outcome in self.outcomes)
        return sum(outcome.num_frames for outcome in self.outcomes) / seconds if seconds > 0 else float("nan")


def join_summaries(parts: Indexed[RunSummary]) -> RunSummary:
    """Return what became of the sequences of all parts."""
    return RunSummary(
        outcomes=tuple(outcome for part in parts for outcome in part.outcomes),
        skipped=tuple(outcome for part in parts for outcome in part.skipped),
    )


def run_benchmark(
    builders: Indexed[TrackerBuilder],
    dataset: SequenceDataset,
    folder: Path,
    *,
    indices: Indexed[int] | None = None,
    num_threads: int = 1,
    batch: int = 1,
    show_progress: bool = True,
) -> RunSummary:
    """Track every sequence that has no complete result yet, the longest first.

    A sequence that fails is recorded and the others are finished. Interrupting leaves complete files only.

    Args:
        builders: one for each worker. A single one works in this process, several in processes of their own.
        dataset: the sequences; must survive pickling when there are several workers.
        folder: for the result files; see `record.claim_folder`.
        indices: of the sequences to track; all by default.
        num_threads: CPU threads of each worker. The same for one worker as for many, because the number of threads
            decides the order of sums and so the last digits of a network's boxes.
        batch: sequences that advance at once in each worker, as one batch of the network; fewer where there are not as
            many. Frames are then decoded in processes of their own.
        show_progress: draw a bar of the frames done.

    Raises:
        ValueError, OSError: the tracker cannot be built, has no network to take a batch, or the batch does not fit in
            memory.
    """
    outcomes: list[Outcome] = []
    skipped: list[Outcome] = []
    waiting: list[tuple[int, int]] = []
    for index in range(len(dataset)) if indices is None else indices:
        try:
            sequence = dataset[index]
        except (ValueError, OSError):
            outcomes.append(Outcome(dataset.names[index], failure=traceback.format_exc()))
            continue
        files = ResultFiles(folder, sequence.name)
        if files.is_complete(len(sequence), sequence.boxes_xywh[0]):
            skipped.append(Outcome(sequence.name, len(sequence), num_non_finite=files.num_non_finite()))
        else:
            waiting.append((len(sequence), index))
    waiting.sort(key=lambda item: (-item[0], item[1]))
    order = [index for _, index in waiting]

    num_frames = sum(length for length, _ in waiting)
    builders = builders[: len(order)]
    batch = min(batch, -(-len(order) // max(len(builders), 1)))
    num_decoders = default_num_decoders(batch, max(len(builders), 1), num_threads)
    if builders:
        workers = [
            partial(ready_to_track, builder, dataset, folder, batch=batch, num_decoders=num_decoders)
            for builder in builders
        ]
        with _progress(num_frames, show_progress) as bar:
            outcomes += run_in_workers(workers, dataset.names, order, num_threads, bar.update)
    return RunSummary(tuple(outcomes), tuple(skipped))


def _progress(num_frames: int, shown: bool) -> tqdm:
    pause = 0.2 if sys.stderr.isatty() else 10  # seconds; a log file wants few lines
    return tqdm(total=num_frames, unit="frame", mininterval=pause, disable=not shown)
