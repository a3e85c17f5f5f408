"""Running trackers: every way in which a run can go wrong leaves complete files, and a next run finishes it."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import files_no_longer_than
from toys import video

from lib.data.images.frames import ArrayFrames
from lib.data.sequence import Frames, Sequence, SequenceDataset
from lib.eval.results import ResultFiles, read_boxes
from lib.eval.run.runner import RunSummary, run_benchmark
from lib.eval.run.sequence import run_sequence
from lib.tracker import TrackerSpec
from lib.tracker.base import Prediction

FIRST_BOX = np.array([3.0, 4.0, 5.0, 6.0])
STARTED: list[int] = []  # numbers of the first frames that trackers of this process have begun with


@pytest.fixture(autouse=True)
def none_started() -> None:
    STARTED.clear()


def picture(number: int) -> np.ndarray:
    """Write a number into a picture."""
    return np.full((8, 8, 3), (number % 256, number // 256, 0), np.uint8)


def number_in(image: np.ndarray) -> int:
    """Read the number again."""
    return int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])


def make_sequence(name: str, num_frames: int, first: int = 0, frames: Frames | None = None) -> Sequence:
    """Make a video of tiny frames, each with its own number written into it, `first` and up."""
    images = ArrayFrames([picture(first + index) for index in range(num_frames)])
    return video(name, np.tile(FIRST_BOX, (num_frames, 1)), frames or images)


class Videos(SequenceDataset):
    """A data set of videos `video-0`, `video-1` ..., of the given lengths; a length of 0 cannot be opened.

    Video i counts its frames from `step` * i.
    """

    def __init__(self, lengths: tuple[int, ...], step: int = 10) -> None:
        self.lengths, self.step = lengths, step
        self.names = [f"video-{index}" for index in range(len(lengths))]

    def __getitem__(self, index: int) -> Sequence:
        if self.lengths[index] == 0:
            raise ValueError(f"{self.names[index]}/groundtruth.txt, row 7: not four numbers")
        return make_sequence(self.names[index], self.lengths[index], first=self.step * index)


@dataclass(frozen=True)
class Spec(TrackerSpec):
    """Of a `Reader`, which fails, or waits for its end, at the frames of these numbers."""

    name: str = "static"
    device: str = "cpu"
    raise_at: int = -1
    nan_at: int = -1
    kill_at: int = -1
    wait_from: int = 1 << 16
    missing: bool = False
    out_of_memory: bool = False

    def build(self) -> "Reader":
        if self.missing:
            raise FileNotFoundError("there is no checkpoint x.pth")
        if self.out_of_memory:
            raise RuntimeError("CUDA out of memory")
        return Reader(self)


class Reader:
    """A tracker whose answer is read from the picture."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        np.testing.assert_array_equal(box_xywh, FIRST_BOX)
        STARTED.append(number_in(image))

    def track(self, image: np.ndarray) -> Prediction:
        value = number_in(image)
        if value == self._spec.raise_at:
            raise RuntimeError("the target fell over")
        parent = os.getppid()
        while value >= self._spec.wait_from and os.getppid() == parent:
            time.sleep(0.05)
        if value == self._spec.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        noise = torch.rand(1).item() + float(cv2.randu(np.zeros((1, 1)), np.zeros(1), np.ones(1))[0, 0])
        if value == self._spec.nan_at:
            return Prediction(np.full(4, np.nan), finite=False)
        return Prediction(np.array([value, noise, 5, 6]))


VIDEOS = Videos((5, 9, 3, 7))


def contents(folder: Path) -> dict[str, str]:
    """Return the text of all files but those with times."""
    return {path.name: path.read_text() for path in sorted(folder.iterdir()) if "_time" not in path.name}


def run_one(folder: Path, spec: Spec, dataset: Videos = VIDEOS) -> RunSummary:
    folder.mkdir(exist_ok=True)
    return run_benchmark([spec], dataset, folder, show_progress=False)


def test_boxes_are_those_of_the_frames_in_order_the_longest_sequence_first(tmp_path: Path) -> None:
    summary = run_one(tmp_path, Spec())
    assert summary.succeeded and not summary.skipped and summary.fps > 0
    assert STARTED == [10, 30, 0, 20]
    for index, length in enumerate(VIDEOS.lengths):
        boxes = read_boxes(tmp_path / f"video-{index}.txt")
        np.testing.assert_array_equal(boxes[0], FIRST_BOX)
        np.testing.assert_array_equal(boxes[1:, 0], 10 * index + np.arange(1, length))


def test_random_numbers_do_not_depend_on_the_sequences_before(tmp_path: Path) -> None:
    run_one(tmp_path / "all", Spec())
    (tmp_path / "one").mkdir()
    run_benchmark([Spec()], VIDEOS, tmp_path / "one", indices=[2])
    assert contents(tmp_path / "one")["video-2.txt"] == contents(tmp_path / "all")["video-2.txt"]


def test_a_failing_sequence_does_not_stop_the_others(tmp_path: Path) -> None:
    summary = run_one(tmp_path, Spec(raise_at=33), Videos((5, 9, 0, 7)))
    failures = {outcome.sequence: outcome.failure or "" for outcome in summary.failures}
    assert not summary.succeeded and failures.keys() == {"video-2", "video-3"}
    assert "row 7" in failures["video-2"], "it cannot be opened"
    assert "Traceback" in failures["video-3"] and "fell over" in failures["video-3"]
    assert sorted(contents(tmp_path)) == ["video-0.txt", "video-1.txt"]
    # The next run tracks what is missing, and nothing else.
    STARTED.clear()
    summary = run_one(tmp_path, Spec())
    assert summary.succeeded and len(summary.skipped) == 2 and STARTED == [30, 20]


def test_what_is_complete_is_not_tracked_again_and_what_is_damaged_or_grown_is(tmp_path: Path) -> None:
    run_one(tmp_path, Spec())
    undisturbed = contents(tmp_path)
    assert len(run_one(tmp_path, Spec(missing=True)).skipped) == 4, "nothing to do needs no tracker"
    STARTED.clear()
    for name, damage in (("video-0.txt", slice(-1)), ("video-1.txt", slice(40)), ("video-2.txt", slice(0))):
        (tmp_path / name).write_text(undisturbed[name][damage])
    assert run_one(tmp_path, Spec()).succeeded and STARTED == [10, 0, 20]
    assert contents(tmp_path) == undisturbed
    STARTED.clear()
    run_one(tmp_path, Spec(), Videos((5, 9, 4, 7)))
    assert STARTED == [20]


def test_non_finite_boxes_repeat_the_last_and_fail_the_run_and_the_next(tmp_path: Path) -> None:
    summary = run_one(tmp_path, Spec(nan_at=14))
    assert not summary.succeeded and not summary.failures
    assert [(outcome.sequence, outcome.num_non_finite) for outcome in summary.non_finite] == [("video-1", 1)]
    boxes = read_boxes(tmp_path / "video-1.txt")
    np.testing.assert_array_equal(boxes[4], boxes[3])
    assert boxes[5, 0] == 15
    assert not run_one(tmp_path, Spec()).succeeded, "results that exist do not turn a failure into a success"


@pytest.mark.parametrize("box", [[np.nan, 1, 1, 1], [1, 1, np.inf, 1], [1, 1, -1, 1]])
def test_a_box_that_is_none_is_noticed_though_the_tracker_did_not(box: list[float]) -> None:
    class Careless(Reader):
        def track(self, image: np.ndarray) -> Prediction:
            return Prediction(np.array(box))

    steps: list[int] = []
    answers = run_sequence(Careless(Spec()), make_sequence("video", 3), "cpu", steps.append)
    assert answers.num_non_finite == 2 and sum(steps) == 3
    np.testing.assert_array_equal(answers.boxes_xywh, np.tile(FIRST_BOX, (3, 1)))


def test_seconds_are_the_trackers_alone() -> None:
    class SlowFrames(ArrayFrames):
        def __getitem__(self, index: int) -> np.ndarray:
            time.sleep(0.05)
            return super().__getitem__(index)

    class Slow(Reader):
        def track(self, image: np.ndarray) -> Prediction:
            time.sleep(0.01)
            return super().track(image)

    frames = SlowFrames([picture(index) for index in range(4)])
    seconds = run_sequence(Slow(Spec()), make_sequence("video", 4, frames=frames)).seconds
    assert (seconds[1:] >= 0.01).all() and np.median(seconds[1:]) < 0.04


def test_the_next_frame_is_read_while_the_tracker_works() -> None:
    read = [threading.Event() for _ in range(5)]

    class Watched(ArrayFrames):
        def __getitem__(self, index: int) -> np.ndarray:
            read[index].set()
            return super().__getitem__(index)

    class Waiting(Reader):
        def track(self, image: np.ndarray) -> Prediction:
            value = number_in(image)
            assert value == 4 or read[value + 1].wait(timeout=10)
            return Prediction(np.array([value, 0, 5, 6]))

    frames = Watched([picture(index) for index in range(5)])
    answers = run_sequence(Waiting(Spec()), make_sequence("video", 5, frames=frames))
    np.testing.assert_array_equal(answers.boxes_xywh[1:, 0], [1, 2, 3, 4])


def test_an_interrupt_leaves_whole_files_only(tmp_path: Path) -> None:
    class Interrupted(Reader):
        def track(self, image: np.ndarray) -> Prediction:
            if number_in(image) == 33:
                raise KeyboardInterrupt
            return super().track(image)

    class InterruptedSpec(Spec):
        def build(self) -> Reader:
            return Interrupted(self)

    with pytest.raises(KeyboardInterrupt):
        run_one(tmp_path, InterruptedSpec())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video-1.txt", "video-1_time.txt"]
    assert ResultFiles(tmp_path, "video-1").is_complete(9, FIRST_BOX)


@pytest.mark.slow
def test_two_workers_write_what_one_does(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    summary = run_one(one, Spec(raise_at=33, nan_at=12))
    two.mkdir()
    other = run_benchmark([Spec(raise_at=33, nan_at=12)] * 2, VIDEOS, two)
    assert contents(one) == contents(two)
    assert {outcome.sequence for outcome in other.failures} == {outcome.sequence for outcome in summary.failures}
    assert [outcome.sequence for outcome in other.non_finite] == ["video-1"]


@pytest.mark.slow
def test_what_stops_a_worker_from_building_its_tracker_reaches_the_user(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint x\.pth"):
        run_benchmark([Spec(missing=True)] * 2, VIDEOS, tmp_path)


@pytest.mark.slow
def test_when_every_worker_dies_all_sequences_are_accounted_for(tmp_path: Path) -> None:
    summary = run_benchmark([Spec(kill_at=1)] * 2, Videos((9, 9, 5, 9), step=0), tmp_path)
    assert {outcome.sequence for outcome in summary.failures} == {f"video-{index}" for index in range(4)}
    assert not contents(tmp_path)


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_warned_of_and_the_others_do_its_work(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="a worker process ended by exit code 1 before it was ready"):
        summary = run_benchmark([Spec(out_of_memory=True), Spec()], VIDEOS, tmp_path)
    assert summary.succeeded and len(summary.outcomes) == 4


MANY = Videos((25,) * 200, step=25)


@pytest.mark.slow
def test_a_worker_killed_among_200_sequences_costs_one(tmp_path: Path) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    killed.mkdir()
    summary = run_benchmark([Spec(kill_at=25 * 100 + 12)] * 2, MANY, killed)
    (failure,) = summary.failures
    assert failure.sequence == "video-100" and "signal 9" in (failure.failure or "") and len(summary.complete) == 199
    again = run_one(killed, Spec(), MANY)
    assert again.succeeded and len(again.skipped) == 199
    run_one(undisturbed, Spec(), MANY)
    assert contents(killed) == contents(undisturbed)


def test_a_disk_too_full_for_some_results_fails_those_and_the_next_run_makes_them(tmp_path: Path) -> None:
    dataset = Videos((40, 9, 60, 7))
    full, undisturbed = tmp_path / "full", tmp_path / "undisturbed"
    full.mkdir()
    with files_no_longer_than(800):
        summary = run_benchmark([Spec()], dataset, full, show_progress=False)
    assert [outcome.sequence for outcome in summary.failures] == ["video-2", "video-0"]
    for outcome in summary.failures:
        assert outcome.failure is not None and f"could not write: '{full / outcome.sequence}" in outcome.failure
    assert sorted(path.name for path in full.iterdir() if "_time" not in path.name) == ["video-1.txt", "video-3.txt"]
    assert run_one(full, Spec(), dataset).succeeded
    run_one(undisturbed, Spec(), dataset)
    assert contents(full) == contents(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_in_the_middle_is_finished_by_the_next(tmp_path: Path, number: signal.Signals) -> None:
    stopped, undisturbed = tmp_path / "stopped", tmp_path / "undisturbed"
    stopped.mkdir()
    # Two workers finish 100 sequences and are stopped in the middle of the next two.
    code = (
        "import signal, sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/..']; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    from test_runner import *\n"
        # A shell that runs the tests in the background has them, and so this process, ignore Ctrl-C.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    run_benchmark([Spec(wait_from=25 * 100 + 12)] * 2, MANY, Path(sys.argv[2]))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(stopped)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(list(stopped.glob("video-*.txt"))) < 200 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=300) == -number
    assert sorted(contents(stopped)) == sorted(f"video-{index}.txt" for index in range(100))
    summary = run_one(stopped, Spec(), MANY)
    assert summary.succeeded and len(summary.skipped) == 100
    run_one(undisturbed, Spec(), MANY)
    assert contents(stopped) == contents(undisturbed)
