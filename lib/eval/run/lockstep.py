"""Take a tracker through many sequences at once: each step advances all of them by a frame, in one batch."""

import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lib.data.sequence import SequenceDataset
from lib.eval.results import ResultFiles
from lib.eval.run.frame_pool import FramePool, FrameStream
from lib.eval.run.sequence import Answers, Outcome, TrackerBuilder, read_clock, track_and_write, write_tracked
from lib.tracker.batch import LockstepTracker
from lib.tracker.mmg import Located

Item = TypeVar("Item")


def ready_to_track(
    builder: TrackerBuilder,
    dataset: SequenceDataset,
    folder: Path,
    advance: Callable[[int], object],
    batch: int = 1,
    num_decoders: int = 1,
) -> Callable[[Iterator[int]], Generator[Outcome, None, None]]:
    """Build a tracker, and return what takes it through the sequences whose indices it is given.

    Args:
        builder: of the tracker.
        dataset: the sequences.
        folder: for the result files.
        advance: called with the number of frames done since the last call.
        batch: sequences that advance at once; 1 for one after the other.
        num_decoders: processes that decode, for a batch.

    Raises:
        ValueError, OSError: the tracker cannot be built, or the batch does not fit in memory.
    """
    tracker = builder.build()
    if batch == 1:
        return lambda indices: (
            track_and_write(tracker, dataset, index, folder, builder.device, advance) for index in indices
        )
    lockstep = LockstepTracker(tracker, batch)
    return lambda indices: track_in_lockstep(
        lockstep, dataset, indices, folder, device=builder.device, advance=advance, num_decoders=num_decoders
    )


def track_in_lockstep(
    tracker: LockstepTracker,
    dataset: SequenceDataset,
    indices: Iterator[int],
    folder: Path,
    *,
    device: str = "cpu",
    advance: Callable[[int], object] = lambda num_frames: None,
    num_decoders: int = 1,
) -> Generator[Outcome, None, None]:
    """Track sequences and write their result files; what goes wrong with one is in its outcome and ends it alone.

    As many advance together as the tracker takes; the next one takes the place of one that is finished.

    Args:
        tracker: for as many targets.
        dataset: must survive pickling.
        indices: of the sequences, in order; the next index is taken one sequence before its turn.
        folder: for the result files; what lies there of a sequence is removed first.
        device: the tracker's, for an honest clock.
        advance: called with the number of frames done after every step, and after every first frame.
        num_decoders: processes that decode frames ahead.

    Yields:
        What became of each sequence, in the order in which they end.
    """
    with FramePool(dataset, num_decoders) as pool:
        opened = _one_ahead(_Run(dataset, index, folder, pool) for index in indices)
        runs: list[_Run] = []
        while True:
            while len(runs) < tracker.size and (run := next(opened, None)) is not None:
                run.start(tracker, device)
                runs.append(run)
                advance(int(run.failure is None))
            if not runs:
                return
            advance(_step(tracker, [run for run in runs if not run.over], device))
            for run in runs:
                if run.over:
                    yield run.finish()
            runs = [run for run in runs if not run.over]


class _Run:
    """One sequence under way: its frames, its target, its answers; `failure` is what ended it, or None."""

    def __init__(self, dataset: SequenceDataset, index: int, folder: Path, pool: FramePool) -> None:
        self.failure: str | None = None
        self._files = ResultFiles(folder, dataset.names[index])
        self._frames: FrameStream | None = None
        with self.failing_alone():
            self._files.remove()
            self._first_box_xywh = dataset[index].boxes_xywh[0]
            self._frames = pool.open(index)

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
        return self.failure is not None or self._answers.complete

    def start(self, tracker: LockstepTracker, device: str) -> None:
        """Learn the target on the first frame."""
        if self._frames is None:
            return
        with self.failing_alone():
            image = self._frames.read()
            started = read_clock(device)
            self.target = tracker.start(image, self._first_box_xywh)
            self._answers = Answers(self._first_box_xywh, self._frames.num_frames)
            self._answers.start(read_clock(device) - started)

    def read(self) -> None:
        """Wait for the next frame."""
        assert self._frames is not None
        with self.failing_alone():
            self._image = self._frames.read()

    def prepare(self) -> None:
        """Cut the search crop of the frame."""
        with self.failing_alone():
            self.search_crop = self.target.prepare(self._image)

    def accept(self, located: Located) -> None:
        """Make a box of what was located in the crop."""
        with self.failing_alone():
            self._prediction = self.target.accept(self._image, located)

    def note(self, seconds: float) -> None:
        """Keep the box, with the seconds that the frame has taken."""
        self._answers.add(self._prediction, seconds)

    def finish(self) -> Outcome:
        """Write the results, unless something went wrong."""
        if self._frames is not None:
            self._frames.close()
        if self.failure is None:
            with self.failing_alone():
                return write_tracked(self._files, self._answers.tracked())
        return Outcome(self._files.sequence, failure=self.failure)


def _step(tracker: LockstepTracker, runs: list[_Run], device: str) -> int:
    """Advance all sequences by a frame, and return how many have. Waiting for frames is not the tracker's time."""
    for run in runs:
        run.read()
    started = read_clock(device)
    runs = _sound(runs)
    for run in runs:
        run.prepare()
    runs = _sound(runs)
    if not runs:
        return 0
    try:
        located = tracker.locate([run.target for run in runs], [run.search_crop for run in runs])
    except Exception:  # whose fault it is cannot be told
        for run in runs:
            run.failure = traceback.format_exc()
        return 0
    for run, found in zip(runs, located, strict=True):
        run.accept(found)
    runs = _sound(runs)
    seconds = read_clock(device) - started
    for run in runs:
        run.note(seconds / len(runs))
    return len(runs)


def _sound(runs: list[_Run]) -> list[_Run]:
    return [run for run in runs if run.failure is None]


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items, each when the next one has been made."""
    current = next(items, None)
    while current is not None:
        following = next(items, None)
        yield current
        current = following
