"""Share the sequences of a benchmark among processes, so that no worker's death takes the others along.

What is done with a sequence is the caller's: it is tracked, or masks are made of its boxes.
"""

import multiprocessing
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from collections.abc import Sequence as Indexed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from lib.eval.tracking import Outcome, cpu_threads

# Takes indices of sequences, and says what became of each.
Work = Callable[[Iterator[int]], Generator[Outcome, None, None]]
# Makes ready for it, such as by building a network; is given what to call with the number of frames done.
MakeReady = Callable[[Callable[[int], object]], Work]


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
                    failure = f"the worker process ended by {cause} while it worked on this sequence"
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
