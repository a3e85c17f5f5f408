"""Take a tracker through one sequence: boxes, honest times, and what went wrong."""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from lib.data.sequence import Frames, Sequence, SequenceDataset
from lib.eval.results import ResultFiles
from lib.tracker.base import Prediction, Tracker


class TrackerBuilder(Protocol):
    """What a worker makes its tracker from; must survive pickling. `lib.tracker.TrackerSpec` is one."""

    @property
    def device(self) -> str:
        """Where the tracker computes: "cpu", "cuda:1" ..."""
        ...

    def build(self) -> Tracker: ...


@dataclass(frozen=True)
class Tracked:
    """A tracker's answer to one sequence.

    Attributes:
        boxes_xywh: (N, 4), row 0 the given box.
        seconds: (N,) of the tracker alone: reading the image is not in it, waiting for the device is. Where several
            sequences advance at once, a frame's is the time of their common step divided by their number.
        num_non_finite: boxes that repeat the one before, because the tracker's own was not finite.
        scores: (N,) in [0, 1], 1 for the given box; None of a tracker that gives none.
    """

    boxes_xywh: np.ndarray
    seconds: np.ndarray
    num_non_finite: int
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one sequence; `failure` is a traceback, or None when its results are on the disk."""

    sequence: str
    num_frames: int = 0
    seconds: float = 0.0
    num_non_finite: int = 0
    failure: str | None = None


class Answers:
    """A tracker's answers to one sequence as they come in.

    Args:
        first_box_xywh: (4,), the given box.
        num_frames: of the sequence.
    """

    def __init__(self, first_box_xywh: np.ndarray, num_frames: int) -> None:
        self._boxes_xywh = np.empty((num_frames, 4))
        self._boxes_xywh[0] = first_box_xywh
        self._seconds = np.empty(num_frames)
        self._scores = np.ones(num_frames)
        self._num_non_finite = 0
        self._count = 0

    def start(self, seconds: float) -> None:
        """Note how long the tracker took to learn the target."""
        self._seconds[0] = seconds
        self._count = 1

    def add(self, prediction: Prediction, seconds: float) -> None:
        """Take the next frame's answer; one that is no box repeats the one before it."""
        # Checked here too: a box that is not one would make the whole result file unreadable.
        finite = prediction.finite and _is_box(prediction.box_xywh)
        self._boxes_xywh[self._count] = prediction.box_xywh if finite else self._boxes_xywh[self._count - 1]
        self._seconds[self._count] = seconds
        self._scores[self._count] = prediction.score
        self._num_non_finite += not finite
        self._count += 1

    @property
    def complete(self) -> bool:
        """True when the last frame is answered."""
        return self._count == len(self._seconds)

    def tracked(self) -> Tracked:
        """Return all of them."""
        assert self.complete, (self._count, len(self._seconds))
        scored = len(self._scores) > 1 and not np.isnan(self._scores).all(where=np.arange(len(self._scores)) > 0)
        return Tracked(self._boxes_xywh, self._seconds, self._num_non_finite, self._scores if scored else None)


def track_and_write(
    tracker: Tracker,
    dataset: SequenceDataset,
    index: int,
    folder: Path,
    device: str,
    advance: Callable[[int], object],
) -> Outcome:
    """Track one sequence and write its result files; whatever goes wrong with it is returned, not raised.

    Files that lie there already are removed first: those of a failed attempt are not taken for its results.
    """
    name = dataset.names[index]
    files = ResultFiles(folder, name)
    # A tracker that draws random numbers gives the same boxes whichever sequences it saw before.
    cv2.setRNGSeed(0)
    torch.manual_seed(0)
    try:
        files.remove()
        return write_tracked(files, run_sequence(tracker, dataset[index], device, advance))
    except Exception:  # the one boundary of the project: the other sequences are finished, then the run fails
        return Outcome(name, failure=traceback.format_exc())


def write_tracked(files: ResultFiles, tracked: Tracked) -> Outcome:
    """Write the result files of a sequence; errors as in `ResultFiles.write`."""
    files.write(tracked.boxes_xywh, tracked.seconds, tracked.num_non_finite, tracked.scores)
    return Outcome(files.sequence, len(tracked.seconds), float(tracked.seconds.sum()), tracked.num_non_finite)


def run_sequence(
    tracker: Tracker,
    sequence: Sequence,
    device: str = "cpu",
    advance: Callable[[int], object] = lambda num_frames: None,
) -> Tracked:
    """Start a tracker on the first frame's true box and follow the target to the end.

    Args:
        tracker: any; `initialize` is called first.
        sequence: frame 0 must have a box.
        device: the tracker's, for an honest clock.
        advance: called with 1 after every frame.
    """
    answers = Answers(sequence.boxes_xywh[0], len(sequence))
    # Closed here: an error that is kept would keep the reading thread with it, past the end of the program.
    with closing(_read_ahead(sequence.frames)) as images:
        for index, image in enumerate(images):
            started = read_clock(device)
            if index == 0:
                tracker.initialize(image, sequence.boxes_xywh[0])
                answers.start(read_clock(device) - started)
            else:
                prediction = tracker.track(image)
                answers.add(prediction, read_clock(device) - started)
            advance(1)
    return answers.tracked()


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Let torch and OpenCV compute with a number of CPU threads within the block."""
    before_torch, before_opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(number)
    cv2.setNumThreads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before_torch)
        cv2.setNumThreads(before_opencv)


def _read_ahead(frames: Frames) -> Generator[np.ndarray, None, None]:
    """Yield the frames in order; the next one is read by a thread while the caller works on this one."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        upcoming = reader.submit(frames.__getitem__, 0)
        for index in range(len(frames)):
            image = upcoming.result()
            if index + 1 < len(frames):
                upcoming = reader.submit(frames.__getitem__, index + 1)
            yield image


def read_clock(device: str) -> float:
    """Return the seconds of a clock, when the device has done what it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _is_box(box_xywh: np.ndarray) -> bool:
    return bool(np.isfinite(box_xywh).all() and (np.asarray(box_xywh)[2:] >= 0).all())
