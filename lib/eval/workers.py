"""Share the sequences of a benchmark among processes, so that no worker's death takes the others along."""

import multiprocessing
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Indexed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from lib.data.sequence import SequenceDataset
from lib.eval.lockstep import ready_to_track
from lib.eval.tracking import Outcome, TrackerBuilder, cpu_threads


@dataclass
class _Worker:
    """A process, the names of the sequences it has taken and not finished, and whether it has taken its first."""

    process: BaseProcess
    sequences: list[str] = field(default_factory=list)
    built: bool = False


def run_in_workers(
    builders: Indexed[TrackerBuilder],
    dataset: SequenceDataset,
    order: Indexed[int],
    folder: Path,
    num_threads: int,
    advance: Callable[[int], object],
    *,
    batch: int = 1,
    num_decoders: int = 1,
) -> list[Outcome]:
    """Track sequences in one process per builder; each takes the next of `order` when it is free.

    Every worker has a pipe of its own and no lock is shared, so a killed worker blocks nobody: the sequences it was
    busy with are failures, and the others go on. One that dies before its first is warned of.

    Args:
        builders: each is sent to one worker, which builds its tracker once.
        dataset: sent to every worker.
        order: indices of sequences.
        folder: for the result files.
        num_threads: CPU threads of each worker.
        advance: called with the number of frames done since the last call.
        batch: sequences that advance at once in each worker.
        num_decoders: processes of each worker that decode frames, for a batch.

    Raises:
        ValueError, OSError: as a worker raised it while building its tracker.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    workers: dict[Connection, _Worker] = {}
    processes: list[BaseProcess] = []
    waiting = deque(order)
    outcomes: list[Outcome] = []
    try:
        for builder in builders:
            ours, theirs = context.Pipe()
            # Not a daemon, which could have no processes of its own to decode frames.
            process = context.Process(
                target=_serve, args=(theirs, builder, dataset, folder, num_threads, batch, num_decoders), daemon=False
            )
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
                    failure = f"the worker process ended by {cause} while it tracked this sequence"
                    outcomes += [Outcome(name, failure=failure) for name in worker.sequences]
                    if not worker.built:
                        warnings.warn(f"a worker process ended by {cause} while it built its tracker", stacklevel=3)
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
                    worker.sequences.append(dataset.names[index])
                with suppress(BrokenPipeError):  # it died just now; the next turn of the loop sees that
                    connection.send(index)
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()
    outcomes += [Outcome(dataset.names[index], failure="not tracked: every worker had died") for index in waiting]
    return outcomes


def _serve(
    connection: Connection,
    builder: TrackerBuilder,
    dataset: SequenceDataset,
    folder: Path,
    num_threads: int,
    batch: int,
    num_decoders: int,
) -> None:
    """Be a worker: build a tracker, then ask for indices by None, answer with outcomes, until None or the end comes."""
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
            track = ready_to_track(builder, dataset, folder, advance, batch, num_decoders)
        except (ValueError, OSError) as error:
            connection.send(error)
            return
        with closing(track(iter(next_index, None))) as tracked:
            for outcome in tracked:
                connection.send(outcome)


def _cause_of_death(exit_code: int | None) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
