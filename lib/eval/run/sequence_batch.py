"""Track several sequences as one batch: each step advances all of them by a frame, in one pass of the network."""

import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lib.data.sequence import SequenceDataset
from lib.eval.results import ResultFiles
from lib.eval.run.sequence import Answers, Outcome, read_ahead, read_clock, write_answers
from lib.models.device import available_cores
from lib.tracker.batch import LockstepTracker


def track_as_batch(
    tracker: LockstepTracker,
    dataset: SequenceDataset,
    indices: Iterator[int],
    folder: Path,
    *,
    device: str,
    advance: Callable[[int], object],
    num_decoders: int = 1,
) -> Generator[Outcome, None, None]:
    """Track sequences and write their result files; what goes wrong with one is in its outcome and ends it alone.

    As many advance together as the tracker takes; the next one takes the place of one that is finished. What became of
    each is yielded in the order in which they end.

    Args:
        indices: in order; each is taken when there is a place for it.
        folder: for the result files; what lies there of a sequence is removed first.
        device: the tracker's, for an honest clock.
        advance: called with the number of frames done after every step, and after every first frame.
        num_decoders: threads that decode the next frames.
    """
    with ThreadPoolExecutor(num_decoders, thread_name_prefix="decoder") as decoders:
        runs: list[_Run] = []
        while True:
            while len(runs) < tracker.size and (index := next(indices, None)) is not None:
                runs.append(_Run(tracker, dataset, index, folder, device, decoders))
                advance(int(runs[-1].failure is None))
            if not runs:
                return
            advance(_step(tracker, [run for run in runs if not run.over], device))
            for run in runs:
                if run.over:
                    yield run.finish()
            runs = [run for run in runs if not run.over]


class _Run:
    """One sequence under way: its frames, its target, its answers; `failure` is what ended it, or None."""

    def __init__(
        self,
        tracker: LockstepTracker,
        dataset: SequenceDataset,
        index: int,
        folder: Path,
        device: str,
        decoders: Executor,
    ) -> None:
        """Learn the target on the first frame."""
        self.failure: str | None = None
        self._files = ResultFiles(folder, dataset.names[index])
        with self.failing_alone():
            self._files.remove()
            sequence = dataset[index]
            self.images = read_ahead(sequence.frames, decoders)
            self.image = next(self.images)
            started = read_clock(device)
            self.target = tracker.start(self.image, sequence.boxes_xywh[0])
            self.answers = Answers(sequence.boxes_xywh[0], len(sequence))
            self.answers.start(read_clock(device) - started)

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Keep what goes wrong within the block as this sequence's failure."""
        try:
            yield
        except Exception:  # the one boundary of the project: the other sequences are finished, then the run fails
            self.failure = traceback.format_exc()

    @property
    def over(self) -> bool:
        """True when it has failed or its last frame is answered."""
        return self.failure is not None or self.answers.complete

    def finish(self) -> Outcome:
        """Write the results, unless something went wrong."""
        if self.failure is None:
            with self.failing_alone():
                return write_answers(self._files, self.answers)
        return Outcome(self._files.sequence, failure=self.failure)


def _step(tracker: LockstepTracker, runs: list[_Run], device: str) -> int:
    """Advance all sequences by a frame, and return how many have. Waiting for frames is not the tracker's time."""
    for run in runs:
        with run.failing_alone():
            run.image = next(run.images)
    started = read_clock(device)
    runs = _sound(runs)
    crops, predictions = [], []
    for run in runs:
        with run.failing_alone():
            crops.append(run.target.prepare(run.image))
    runs = _sound(runs)
    if not runs:
        return 0
    try:
        located = tracker.locate([run.target for run in runs], crops)
    except Exception:  # whose fault it is cannot be told
        for run in runs:
            run.failure = traceback.format_exc()
        return 0
    for run, found in zip(runs, located, strict=True):
        with run.failing_alone():
            predictions.append(run.target.accept(run.image, found))
    runs = _sound(runs)
    seconds = read_clock(device) - started
    for run, prediction in zip(runs, predictions, strict=True):
        run.answers.add(prediction, seconds / len(runs))
    return len(runs)


def _sound(runs: list[_Run]) -> list[_Run]:
    return [run for run in runs if run.failure is None]


def default_num_decoders(batch: int, num_workers: int, num_threads: int) -> int:
    """Return the number of decoding threads of each worker: what its others leave of the cores, at least one."""
    return max(1, min(batch, (available_cores() - num_workers * num_threads) // num_workers))
