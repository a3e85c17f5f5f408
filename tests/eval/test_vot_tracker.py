"""The tracker's side of the VOT toolkit, without the toolkit: what is said to it, and in which order."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import QUIT, FakeTrax, vot_request

from lib.eval.vot.mask_format import encode_mask
from lib.eval.vot.server import VotTracker, serve
from lib.eval.vot.tracker import MaskedTracker, VotOracle, build_vot_tracker
from lib.tracker import TrackerSpec
from lib.tracker.base import Prediction
from lib.tracker.masks import BoxMask, MaskSpec

ROOT = Path(__file__).resolve().parents[2]


FIRST = np.array([[0, 2], [0, 0]], dtype=np.uint8)


class Echo(VotTracker):
    """Answers the name of the frame as a mask of so many pixels."""

    def start(self, frame: Path, mask: np.ndarray) -> None:
        assert mask.dtype == bool

    def follow(self, frame: Path) -> np.ndarray:
        if frame.name == "bad":
            raise RuntimeError("out of\nmemory: 2 ½ GiB")
        return np.ones((1, int(frame.name)), dtype=bool)


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[Any]]]:
    """Return a function that serves requests, and returns the exit code and what was said."""
    monkeypatch.setattr("faulthandler.enable", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(build: Callable[[], VotTracker], *requests: Any) -> tuple[int, list[Any]]:
        trax = FakeTrax(list(requests))
        monkeypatch.setitem(sys.modules, "trax", trax)
        return serve(build), trax.events

    return run


def test_one_process_follows_run_after_run(talk):
    start, frames = vot_request("initialize", "1", FIRST), [vot_request("frame", "2"), vot_request("frame", "3")]
    code, events = talk(Echo, start, frames[0], start, frames[1], QUIT)
    assert code == 0
    first = [[0, 1], [0, 0]]
    assert [event for event in events if isinstance(event, list)] == [first, [[1, 1]], first, [[1, 1, 1]]]
    assert events[0] == ("open", ["mask"], ["path"], ["color"])
    assert events[-1] == ("quit", None)


def test_the_toolkit_is_greeted_before_the_tracker_is_built_and_answered_when_that_fails(talk, capsys):
    order: list[str] = []

    def build() -> VotTracker:
        order.append("build")
        raise FileNotFoundError("there is no checkpoint latest.pth")

    code, events = talk(build, vot_request("initialize", "1", FIRST))
    assert code == 1
    # A reason is the answer to a request: one sent earlier is lost.
    assert events == [("open", ["mask"], ["path"], ["color"]), "wait", ("quit", "there is no checkpoint latest.pth")]
    assert capsys.readouterr().err == "error: there is no checkpoint latest.pth\n"


def test_a_crash_leaves_its_reason_with_the_toolkit_and_its_traceback_in_the_log(talk, capsys):
    code, events = talk(Echo, vot_request("initialize", "1", FIRST), vot_request("frame", "bad"))
    assert code == 1
    assert events[-1] == ("quit", r"RuntimeError: out of memory: 2 \xbd GiB")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" in shown.err and "in follow" in shown.err
    assert shown.err.isascii()


def test_what_the_tracker_prints_stays_out_of_the_protocol(talk, capsys):
    def build() -> VotTracker:
        print("loading")
        return Echo()

    talk(build, QUIT)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "loading\n")


def test_a_second_target_is_refused(talk):
    _, events = talk(Echo, vot_request("initialize", "1", FIRST, FIRST))
    assert events[-1] == ("quit", "the toolkit asks for 2 targets at once; this tracker follows one")


def test_a_person_at_a_terminal_is_told_who_starts_it(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(ValueError, match="started by the VOT toolkit"):
        serve(Echo)


def test_a_missing_toolkit_is_named_with_its_cure(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setitem(sys.modules, "trax", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[vot\]'"):
        serve(Echo)


def test_nothing_heavy_is_loaded_before_the_greeting():
    code = "import sys, tracking.vot; print([name for name in ('torch', 'timm', 'lib.tracker') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_of_ours_imports_the_toolkit_which_tracking_vot_would_hide():
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "tracking").glob("*.py")]:
        assert not re.search(r"^\s*(import|from) vot\b", path.read_text(encoding="utf-8"), re.MULTILINE), path


class Sliding:
    """Moves the first box by a pixel a frame; `finite` says what it says of it."""

    def __init__(self, finite: bool = True) -> None:
        self._finite = finite

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        self.box_xywh = box_xywh

    def track(self, image: np.ndarray) -> Prediction:
        self.box_xywh = self.box_xywh + np.array([1, 0, 0, 0])
        return Prediction(self.box_xywh, finite=self._finite)


class Nothing(BoxMask):
    """Finds no pixel of the target."""

    def segment(self, image: np.ndarray, box_xywh: np.ndarray) -> np.ndarray:
        return np.zeros(image.shape[:2], dtype=bool)


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "color" / "00000001.jpg"
    path.parent.mkdir()
    cv2.imwrite(str(path), np.zeros((12, 16, 3), np.uint8))
    return path


def test_a_mask_cut_at_right_and_bottom_starts_the_tight_box_and_each_box_becomes_a_mask(frame):
    part = np.zeros((6, 5), dtype=bool)
    part[2:6, 1:4] = True
    tracker = Sliding()
    masked = MaskedTracker(tracker, BoxMask())
    masked.start(frame, part)
    assert tracker.box_xywh.tolist() == [1, 2, 3, 4]
    mask = masked.follow(frame)
    assert mask.shape == (12, 16)
    assert mask.sum() == 12 and mask[2:6, 2:5].all()
    masked = MaskedTracker(Sliding(), Nothing())
    masked.start(frame, np.ones((3, 3), dtype=bool))
    assert masked.follow(frame).sum() == 9, "an empty mask gives way to the box"


def test_a_target_without_a_pixel_and_a_box_that_is_not_finite_end_the_run(frame):
    with pytest.raises(ValueError, match=r"the mask to start on in .* is empty"):
        MaskedTracker(Sliding(), BoxMask()).start(frame, np.zeros((3, 3), dtype=bool))
    masked = MaskedTracker(Sliding(finite=False), BoxMask())
    masked.start(frame, np.ones((3, 3), dtype=bool))
    with pytest.raises(ValueError, match=r"not finite in .*00000001"):
        masked.follow(frame)


def test_other_weights_than_the_workspaces_are_refused():
    build_vot_tracker(TrackerSpec("static"), MaskSpec("box"))
    with pytest.raises(ValueError, match="not those that the workspace was written for"):
        build_vot_tracker(TrackerSpec("static"), MaskSpec("box"), digest="0123456789abcdef")


def test_true_boxes_go_to_the_backend_and_a_hidden_target_has_no_mask(frame):
    truth = np.zeros((3, 12, 16), dtype=bool)
    truth[0, 2:5, 3:9] = truth[1, 4:6, 4:6] = True
    truth[1, 8, 9] = True
    (frame.parents[1] / "groundtruth.txt").write_text("\n".join(map(encode_mask, truth)) + "\n")
    for number in (2, 3):
        cv2.imwrite(str(frame.with_name(f"{number:08d}.jpg")), np.zeros((12, 16, 3), np.uint8))
    boxes = build_vot_tracker(None, MaskSpec("box"))
    boxes.start(frame, truth[0])
    mask = boxes.follow(frame.with_name("00000002.jpg"))
    assert mask.sum() == 30 and mask[4:9, 4:10].all()
    assert not boxes.follow(frame.with_name("00000003.jpg")).any()


def test_the_oracle_answers_the_ground_truth_of_each_frame_by_its_number(frame):
    masks = np.random.default_rng(0).random((3, 12, 16)) < 0.3
    (frame.parents[1] / "groundtruth.txt").write_text("\n".join(map(encode_mask, masks)) + "\n")
    for number in (2, 3):
        cv2.imwrite(str(frame.with_name(f"{number:08d}.jpg")), np.zeros((12, 16, 3), np.uint8))
    oracle = VotOracle()
    oracle.start(frame.with_name("00000003.jpg"), masks[2][:, :15] if not masks[2][:, 15].any() else masks[2])
    assert np.array_equal(oracle.follow(frame.with_name("00000002.jpg")), masks[1])
    with pytest.raises(ValueError, match="not the one in its ground truth"):
        oracle.start(frame, masks[1])
