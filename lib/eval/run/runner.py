"""Run a tracker over the sequences of a benchmark and write its results, in one process or many.

The sequences are shared out so that no worker's death takes the others along; what is done with one is the caller's: it
is tracked, or masks are made of its boxes.
"""

import multiprocessing
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from collections.abc import Sequence as Indexed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tqdm import tqdm

from lib.data.sequence import SequenceDataset
from lib.data.storage.tree import suspect_lmdbs
from lib.eval.results import ResultFiles
from lib.eval.run.frame_pool import default_num_decoders
from lib.eval.run.lockstep import ready_to_track
from lib.eval.run.sequence import Outcome, TrackerBuilder, cpu_threads

# Takes indices of sequences, and says what became of each.
Work = Callable[[Iterator[int]], Generator[Outcome, None, None]]
# Makes ready for it, such as by building a network; is given what to call with the number of frames done.
MakeReady = Callable[[Callable[[int], object]], Work]


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


@dataclass
class _Worker:
    """A process, the names of the sequences it has taken and not finished, and whether it has asked for its first."""

    process: BaseProcess
    sequences: list[str] = field(default_factory=list)
    built: bool = False


def run_in_workers(
    make_ready: Indexed[MakeReady],
    names: Indexed[str],
    order: Indexed[int],
    num_threads: int,
    advance: Callable[[int], object],
) -> list[Outcome]:
    """Work through sequences, in this process for one worker, in processes of their own for several.

    Each takes the next of `order` when it is free. Every process has a pipe of its own and no lock is shared, so a
    killed worker blocks nobody: the sequences it was busy with are failures, and the others go on. One that dies before
    its first is warned of.

    Args:
        make_ready: one for each worker, which calls it once; must survive pickling where there are several.
        names: of all sequences.
        order: indices of those to be worked on.
        num_threads: CPU threads of each worker.
        advance: called with the number of frames done since the last call.

    Raises:
        ValueError, OSError: as a worker raised it while making ready.
    """
    if len(make_ready) == 1:
        with cpu_threads(num_threads), closing(make_ready[0](advance)(iter(order))) as made:
            return list(made)
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    workers: dict[Connection, _Worker] = {}
    processes: list[BaseProcess] = []
    waiting = deque(order)
    outcomes: list[Outcome] = []
    try:
        for make_one_ready in make_ready:
            ours, theirs = context.Pipe()
            # Not a daemon, which could have no processes of its own to decode frames.
            process = context.Process(target=_serve, args=(theirs, make_one_ready, num_threads), daemon=False)
            process.start()
            theirs.close()  # so that the pipe ends when the worker does
            processes.append(process)
            workers[ours] = _Worker(process)
        while workers:
            ready = wait(list(workers))
            for connection in [connection for connection in workers if connection in ready]:
                worker = workers[connection]
                try:
                    message = connection.recv()
                except (EOFError, ConnectionResetError):
                    del workers[connection]
                    worker.process.join()
                    cause = _cause_of_death(worker.process.exitcode)
                    failure = f"the worker process ended by {cause} while it worked on this sequence{suspect_lmdbs()}"
                    outcomes += [Outcome(name, failure=failure) for name in worker.sequences]
                    if not worker.built:
                        warnings.warn(f"a worker process ended by {cause} before it was ready", stacklevel=3)
                    continue
                if isinstance(message, int):
                    advance(message)
                    continue
                if isinstance(message, (ValueError, OSError)):
                    raise message
                if isinstance(message, Outcome):
                    outcomes.append(message)
                    worker.sequences.remove(message.sequence)
                    continue
                worker.built = True
                index = waiting.popleft() if waiting else None
                if index is not None:
                    worker.sequences.append(names[index])
                with suppress(BrokenPipeError):  # it died just now; the next turn of the loop sees that
                    connection.send(index)
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()
    outcomes += [Outcome(names[index], failure="not begun: every worker had died") for index in waiting]
    return outcomes


def _serve(connection: Connection, make_ready: MakeReady, num_threads: int) -> None:
    """Be a worker: make ready, then ask for indices by None, answer with outcomes, until None or the end comes."""
    # An interrupt reaches every process of a terminal; the main one decides, and ends this one by SIGTERM, on which
    # SystemExit unwinds the stack, so that files half written aside are removed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))

    def advance(num_frames: int) -> None:
        try:
            connection.send(num_frames)
        except OSError:
            sys.exit(1)  # the main process is gone

    def next_index() -> int | None:
        try:
            connection.send(None)
            return connection.recv()
        except (OSError, EOFError):
            sys.exit(1)

    with cpu_threads(num_threads):
        try:
            work = make_ready(advance)
        except (ValueError, OSError) as error:
            connection.send(error)
            return
        with closing(work(iter(next_index, None))) as made:
            for outcome in made:
                connection.send(outcome)


def _cause_of_death(exit_code: int | None) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
