"""Share the sequences of a benchmark among processes, so that no worker's death takes the others along."""

import multiprocessing
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Indexed
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from lib.data.sequence import SequenceDataset
from lib.eval.tracking import Outcome, TrackerBuilder, cpu_threads, track_and_write


@dataclass
class _Worker:
    """A process, the index of the sequence it is busy with, and whether it has been asked for its first."""

    process: BaseProcess
    index: int | None = None
    built: bool = False


def run_in_workers(
    builders: Indexed[TrackerBuilder],
    dataset: SequenceDataset,
    order: Indexed[int],
    folder: Path,
    num_threads: int,
    advance: Callable[[int], object],
) -> list[Outcome]:
    """Track sequences in one process per builder; each takes the next of `order` when it is free.

    Every worker has a pipe of its own and no lock is shared, so a killed worker blocks nobody: the sequence it was
    busy with is a failure, and the others go on. One that dies before its first is warned of.

    Args:
        builders: each is sent to one worker, which builds its tracker once.
        dataset: sent to every worker.
        order: indices of sequences.
        folder: for the result files.
        num_threads: CPU threads of each worker.
        advance: called with the number of frames done since the last call.

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
            process = context.Process(target=_serve, args=(theirs, builder, dataset, folder, num_threads), daemon=True)
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
                    if worker.index is not None:
                        failure = f"the worker process ended by {cause} while it tracked this sequence"
                        outcomes.append(Outcome(dataset.names[worker.index], failure=failure))
                    elif not worker.built:
                        warnings.warn(f"a worker process ended by {cause} while it built its tracker", stacklevel=3)
                    continue
                if isinstance(message, int):
                    advance(message)
                    continue
                if isinstance(message, (ValueError, OSError)):
                    raise message
                if isinstance(message, Outcome):
                    outcomes.append(message)
                worker.built = True
                worker.index = waiting.popleft() if waiting else None
                with suppress(BrokenPipeError):  # it died just now; the next turn of the loop sees that
                    connection.send(worker.index)
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
    connection: Connection, builder: TrackerBuilder, dataset: SequenceDataset, folder: Path, num_threads: int
) -> None:
    """Be a worker: build a tracker, then take indices and answer with outcomes until None comes or the pipe ends."""
    # An interrupt reaches every process of a terminal; the main one decides, and ends this one by SIGTERM, on which
    # SystemExit unwinds the stack, so that files half written aside are removed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))

    def advance(num_frames: int) -> None:
        try:
            connection.send(num_frames)
        except OSError:
            sys.exit(1)  # the main process is gone

    with cpu_threads(num_threads):
        try:
            tracker = builder.build()
        except (ValueError, OSError) as error:
            connection.send(error)
            return
        connection.send(None)
        with suppress(EOFError):
            while (index := connection.recv()) is not None:
                connection.send(track_and_write(tracker, dataset, index, folder, builder.device, advance))


def _cause_of_death(exit_code: int | None) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
