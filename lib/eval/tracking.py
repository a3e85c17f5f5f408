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
from lib.tracker.base import Tracker


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
        seconds: (N,) of the tracker alone: reading the image is not in it, waiting for the device is.
        num_non_finite: boxes that repeat the one before, because the tracker's own was not finite.
    """

    boxes_xywh: np.ndarray
    seconds: np.ndarray
    num_non_finite: int


@dataclass(frozen=True)
class Outcome:
    """What became of one sequence; `failure` is a traceback, or None when its results are on the disk."""

    sequence: str
    num_frames: int = 0
    seconds: float = 0.0
    num_non_finite: int = 0
    failure: str | None = None


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
        sequence = dataset[index]
        tracked = run_sequence(tracker, sequence, device, advance)
        files.write(tracked.boxes_xywh, tracked.seconds, tracked.num_non_finite)
    except Exception:  # the one boundary of the project: the other sequences are finished, then the run fails
        return Outcome(name, failure=traceback.format_exc())
    return Outcome(name, len(sequence), float(tracked.seconds.sum()), tracked.num_non_finite)


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
    num_frames = len(sequence)
    boxes_xywh = np.empty((num_frames, 4))
    seconds = np.empty(num_frames)
    num_non_finite = 0
    # Closed here: an error that is kept would keep the reading thread with it, past the end of the program.
    with closing(_read_ahead(sequence.frames)) as images:
        for index, image in enumerate(images):
            started = _read_clock(device)
            if index == 0:
                tracker.initialize(image, sequence.boxes_xywh[0])
                seconds[0] = _read_clock(device) - started
                boxes_xywh[0] = sequence.boxes_xywh[0]
            else:
                prediction = tracker.track(image)
                seconds[index] = _read_clock(device) - started
                # Checked here too: a box that is not one would make the whole result file unreadable.
                finite = prediction.finite and _is_box(prediction.box_xywh)
                boxes_xywh[index] = prediction.box_xywh if finite else boxes_xywh[index - 1]
                num_non_finite += not finite
            advance(1)
    return Tracked(boxes_xywh, seconds, num_non_finite)


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


def _read_clock(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _is_box(box_xywh: np.ndarray) -> bool:
    return bool(np.isfinite(box_xywh).all() and (np.asarray(box_xywh)[2:] >= 0).all())
