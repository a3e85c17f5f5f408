"""Run a tracker over the sequences of a benchmark and write its results, in one process or many.

The sequences are shared out so that no worker's death takes the others along; what is done with one is the worker's: it
is tracked, or masks are made of its boxes.
"""

import multiprocessing
import signal
import sys
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tqdm import tqdm

from lib.data.sequence import SequenceDataset
from lib.data.storage.tree import suspect_lmdbs
from lib.eval.results import ResultFiles
from lib.eval.run.sequence import Outcome, cpu_threads, track_and_write
from lib.eval.run.sequence_batch import default_num_decoders, track_as_batch
from lib.tracker import TrackerSpec
from lib.tracker.batch import LockstepTracker


class Worker(ABC):
    """What works through sequences, perhaps in a process of its own: small, because it is sent there."""

    @abstractmethod
    def work(self, indices: Iterator[int], advance: Callable[[int], object]) -> Generator[Outcome, None, None]:
        """Make ready, such as by building a network, then take indices and say what became of each sequence.

        Each index is taken when its turn comes; the first one means that the worker is ready, which else raises
        ValueError or OSError. `advance` is called with the number of frames done since the last call.
        """


@dataclass(frozen=True)
class TrackingWorker(Worker):
    """Tracks sequences, `batch` at once, and writes their result files into `folder`; a batch has several decoders."""

    spec: TrackerSpec
    dataset: SequenceDataset
    folder: Path
    batch: int = 1
    num_decoders: int = 1

    def work(self, indices: Iterator[int], advance: Callable[[int], object]) -> Generator[Outcome, None, None]:
        tracker, device = self.spec.build(), self.spec.device
        if self.batch == 1:
            for index in indices:
                yield track_and_write(tracker, self.dataset, index, self.folder, device, advance)
        else:
            yield from track_as_batch(
                LockstepTracker(tracker, self.batch),
                self.dataset,
                indices,
                self.folder,
                device=device,
                advance=advance,
                num_decoders=self.num_decoders,
            )


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


def run_benchmark(
    specs: Sequence[TrackerSpec],
    dataset: SequenceDataset,
    folder: Path,
    *,
    indices: Iterable[int] | None = None,
    num_threads: int = 1,
    batch: int = 1,
    show_progress: bool = True,
) -> RunSummary:
    """Track every sequence that has no complete result yet, the longest first.

    A sequence that fails is recorded and the others are finished. Interrupting leaves complete files only.

    Args:
        specs: one for each worker; see `run_workers`.
        dataset: must survive pickling when there are several workers.
        folder: for the result files; see `record.claim_folder`.
        indices: of the sequences to track; all by default.
        num_threads: CPU threads of each worker. The same for one worker as for many, because the number of threads
            decides the order of sums and so the last digits of a network's boxes.
        batch: sequences that advance at once in each worker; fewer where there are not as many. Frames are then
            decoded by further threads.

    Raises:
        ValueError, OSError: the tracker cannot be built, has no network to take a batch, or the batch does not fit in
            memory.
    """
    outcomes: list[Outcome] = []
    skipped: list[Outcome] = []
    lengths: dict[int, int] = {}
    for index in range(len(dataset)) if indices is None else indices:
        try:
            sequence = dataset[index]
        except (ValueError, OSError) as error:
            outcomes.append(Outcome(dataset.names[index], failure=str(error)))
            continue
        files = ResultFiles(folder, sequence.name)
        if files.is_complete(len(sequence), sequence.boxes_xywh[0]):
            skipped.append(Outcome(sequence.name, len(sequence), num_non_finite=files.num_non_finite()))
        else:
            lengths[index] = len(sequence)
    if lengths:
        specs = specs[: len(lengths)]
        batch = min(batch, -(-len(lengths) // len(specs)))
        num_decoders = default_num_decoders(batch, len(specs), num_threads)
        workers = [TrackingWorker(spec, dataset, folder, batch, num_decoders) for spec in specs]
        outcomes += run_workers(workers, dataset.names, lengths, num_threads, show_progress=show_progress)
    return RunSummary(tuple(outcomes), tuple(skipped))


def run_workers(
    workers: Sequence[Worker],
    names: Sequence[str],
    lengths: dict[int, int],
    num_threads: int,
    *,
    title: str = "",
    show_progress: bool = True,
) -> list[Outcome]:
    """Work through sequences, the longest first, in this process for one worker, in processes of their own for several.

    Several workers must survive pickling. Of the sequences, called `names`, those to be worked on are the indices of
    `lengths`, their numbers of frames. Raises ValueError and OSError as a worker did while making ready.
    """
    order = sorted(lengths, key=lambda index: (-lengths[index], index))
    pause = 0.2 if sys.stderr.isatty() else 10  # seconds; a log file wants few lines
    with tqdm(
        total=sum(lengths.values()), desc=title, unit="frame", mininterval=pause, disable=not show_progress
    ) as bar:
        if len(workers) > 1:
            return _run_processes(workers, names, order, num_threads, bar)
        with cpu_threads(num_threads), closing(workers[0].work(iter(order), bar.update)) as outcomes:
            return list(outcomes)


@dataclass
class _Busy:
    """A worker's process, the sequences it has taken and not finished, and whether it has asked for its first."""

    process: BaseProcess
    sequences: list[str] = field(default_factory=list)
    ready: bool = False


def _run_processes(
    workers: Sequence[Worker], names: Sequence[str], order: list[int], num_threads: int, bar: tqdm
) -> list[Outcome]:
    """Let each worker take the next of `order` when it is free.

    Every process has a pipe of its own and no lock is shared, so a killed worker blocks nobody: the sequences it was
    busy with are failures, and the others go on. One that dies before its first is warned of.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    running: dict[Connection, _Busy] = {}
    waiting = deque(order)
    outcomes: list[Outcome] = []
    try:
        for worker in workers:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, worker, num_threads))
            process.start()
            theirs.close()  # so that the pipe ends when the worker does
            running[ours] = _Busy(process)
        while running:
            ready = wait(list(running))
            for connection, busy in [each for each in running.items() if each[0] in ready]:
                try:
                    message = connection.recv()
                except (EOFError, ConnectionResetError):
                    del running[connection]
                    outcomes += _failures_of(busy)
                    continue
                if isinstance(message, int):
                    bar.update(message)
                elif isinstance(message, (ValueError, OSError)):
                    raise message
                elif isinstance(message, Outcome):
                    outcomes.append(message)
                    busy.sequences.remove(message.sequence)
                else:
                    busy.ready = True
                    index = waiting.popleft() if waiting else None
                    if index is not None:
                        busy.sequences.append(names[index])
                    with suppress(BrokenPipeError):  # it died just now; the next turn of the loop sees that
                        connection.send(index)
    except BaseException:
        for busy in running.values():
            busy.process.terminate()
        raise
    finally:
        for busy in running.values():
            busy.process.join()
    return outcomes + [Outcome(names[index], failure="not begun: every worker had died") for index in waiting]


def _failures_of(dead: _Busy) -> list[Outcome]:
    """Say what became of the sequences of a process that has ended: failures, unless it had finished them all."""
    dead.process.join()
    code = dead.process.exitcode
    cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    if not dead.ready:
        warnings.warn(f"a worker process ended by {cause} before it was ready", stacklevel=4)
    failure = f"the worker process ended by {cause} while it worked on this sequence{suspect_lmdbs()}"
    return [Outcome(name, failure=failure) for name in dead.sequences]


def _serve(connection: Connection, worker: Worker, num_threads: int) -> None:
    """Be a worker's process, until the main one has no more sequences or is gone."""
    # An interrupt reaches every process of a terminal; the main one decides, and ends this one by SIGTERM, on which
    # SystemExit unwinds the stack, so that files half written aside are removed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))

    def tell(message: object) -> None:
        """Send the number of frames done, an outcome or an error; None asks for an index."""
        try:
            connection.send(message)
        except OSError:
            sys.exit(1)

    def ask() -> int | None:
        tell(None)
        try:
            return connection.recv()
        except (OSError, EOFError):
            sys.exit(1)

    with cpu_threads(num_threads), closing(worker.work(iter(ask, None), tell)) as outcomes:
        try:
            for outcome in outcomes:
                tell(outcome)
        except (ValueError, OSError) as error:
            tell(error)
