"""Take a tracker through one sequence: boxes, honest times, and what went wrong."""

import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from lib.data.sequence import Frames, Sequence, SequenceDataset
from lib.eval.results import ResultFiles
from lib.tracker.base import Prediction, Tracker


@dataclass(frozen=True)
class Outcome:
    """What became of one sequence; `failure` says why not, mostly a traceback; None with results."""

    sequence: str
    num_frames: int = 0
    seconds: float = 0.0
    num_non_finite: int = 0
    failure: str | None = None


class Answers:
    """A tracker's answers to one sequence as they come in.

    Attributes:
        boxes_xywh: (N, 4), row 0 the given box.
        seconds: (N,) of the tracker alone: reading the image is not in it, waiting for the device is. Where several
            sequences advance at once, a frame's is the time of their common step divided by their number.
        num_non_finite: boxes that repeat the one before, because the tracker's own was not finite.
    """

    def __init__(self, first_box_xywh: np.ndarray, num_frames: int) -> None:
        self.boxes_xywh = np.empty((num_frames, 4))
        self.boxes_xywh[0] = first_box_xywh
        self.seconds = np.empty(num_frames)
        self.num_non_finite = 0
        self._scores = np.ones(num_frames)
        self._count = 0

    def start(self, seconds: float) -> None:
        """Note how long the tracker took to learn the target."""
        self.seconds[0] = seconds
        self._count = 1

    def add(self, prediction: Prediction, seconds: float) -> None:
        """Take the next frame's answer; one that is no box repeats the one before it."""
        # Checked here too: a box that is not one would make the whole result file unreadable.
        box_xywh = np.asarray(prediction.box_xywh)
        finite = prediction.finite and bool(np.isfinite(box_xywh).all() and (box_xywh[2:] >= 0).all())
        self.boxes_xywh[self._count] = box_xywh if finite else self.boxes_xywh[self._count - 1]
        self.seconds[self._count] = seconds
        self._scores[self._count] = prediction.score
        self.num_non_finite += not finite
        self._count += 1

    @property
    def complete(self) -> bool:
        """True when the last frame is answered."""
        return self._count == len(self.seconds)

    @property
    def scores(self) -> np.ndarray | None:
        """(N,) in [0, 1], 1 for the given box; None of a tracker that gives none."""
        return None if np.isnan(self._scores[1:]).all() else self._scores


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
        return write_answers(files, run_sequence(tracker, dataset[index], device, advance))
    except Exception:  # the one boundary of the project: the other sequences are finished, then the run fails
        return Outcome(name, failure=traceback.format_exc())


def write_answers(files: ResultFiles, answers: Answers) -> Outcome:
    """Write the result files of a sequence; errors as in `ResultFiles.write`."""
    assert answers.complete, files.sequence
    files.write(answers.boxes_xywh, answers.seconds, answers.num_non_finite, answers.scores)
    return Outcome(files.sequence, len(answers.seconds), float(answers.seconds.sum()), answers.num_non_finite)


def run_sequence(
    tracker: Tracker,
    sequence: Sequence,
    device: str = "cpu",
    advance: Callable[[int], object] = lambda num_frames: None,
) -> Answers:
    """Start a tracker on the first frame's true box and follow the target to the end.

    The device is the tracker's, for an honest clock; `advance` is called with 1 after every frame.
    """
    answers = Answers(sequence.boxes_xywh[0], len(sequence))
    with ThreadPoolExecutor(1, thread_name_prefix="decoder") as reader:
        for index, image in enumerate(read_ahead(sequence.frames, reader)):
            started = read_clock(device)
            if index == 0:
                tracker.initialize(image, sequence.boxes_xywh[0])
                answers.start(read_clock(device) - started)
            else:
                prediction = tracker.track(image)
                answers.add(prediction, read_clock(device) - started)
            advance(1)
    return answers


def read_ahead(frames: Frames, reader: Executor) -> Iterator[np.ndarray]:
    """Yield the frames in order; a thread of `reader` reads the next one while the caller works on this one."""
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
