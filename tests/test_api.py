"""The three lines that a user's own program needs, and what they say of what is not a frame."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import SMALL, Export, save_random_weights

from lib.config.load import load
from lib.tracker import TrackerSpec
from lib.tracker.base import LOST_AFTER
from mmg_tracker import load_tracker
from mmg_tracker.hub import from_pretrained, save_pretrained

ROOT = Path(__file__).resolve().parents[1]
BOX = (40, 30, 24, 16)


def frames(number: int = 4) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [cv2.resize(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8), (128, 96)) for _ in range(number)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small network with weights for scores, whose template is never updated."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    experiment = load("mmg_tiny", (*SMALL, "track.update=none", "track.precision=fp32"))
    save_random_weights(path, experiment, score_trained=True)
    return path


def test_it_tracks_as_the_commands_do_and_scores_whatever_the_update(checkpoint: Path) -> None:
    first, *rest = frames()
    ours, theirs = load_tracker(str(checkpoint), "cpu"), TrackerSpec("mmg", None, checkpoint, "cpu").build()
    ours.initialize(first, BOX)
    theirs.initialize(first, np.array(BOX))
    for frame in rest:
        prediction, expected = ours.track(frame[..., ::-1]), theirs.track(np.ascontiguousarray(frame[..., ::-1]))
        np.testing.assert_array_equal(prediction.box_xywh, expected.box_xywh)
        assert 0 <= prediction.score <= 1 and prediction.score == expected.score


def test_every_form_of_weights_tracks_alike(exported: Export, tmp_path: Path) -> None:
    checkpoint = exported.checkpoint
    save_pretrained(str(tmp_path / "hub"), None, checkpoint)
    hub: object = torch.hub.load(str(ROOT), "load_tracker", checkpoint, "cpu", source="local")
    trackers = [
        load_tracker(checkpoint, "cpu"),
        load_tracker(tmp_path / "hub" / "model.safetensors", "cpu"),
        load_tracker(exported.file, "cpu"),
        from_pretrained(tmp_path / "hub", "cpu"),
        hub,
    ]
    first, second = frames(2)
    answers = []
    for tracker in trackers:
        tracker.initialize(first, BOX)
        answers.append(tracker.track(second))
    for answer in answers[1:]:
        np.testing.assert_allclose(answer.box_xywh, answers[0].box_xywh, rtol=0, atol=0.02)
        assert answer.score == pytest.approx(answers[0].score, abs=1e-3)
    assert checkpoint.name not in (tmp_path / "hub" / "README.md").read_text()


def test_a_target_is_lost_after_frames_of_low_scores(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint)
    content["config"]["track"]["score_threshold"] = 1.0
    torch.save(content, tmp_path / "strict.pth")
    tracker = load_tracker(tmp_path / "strict.pth", "cpu")
    first, *rest = frames(LOST_AFTER + 2)
    for _ in range(2):  # a new video starts anew
        tracker.initialize(first, BOX)
        lost = [tracker.track(frame).lost for frame in rest]
        assert lost == [False] * (LOST_AFTER - 1) + [True] * 2


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, r"None.*cv2\.imread"),
        (np.zeros((96, 128), np.uint8), "grey.*COLOR_GRAY2RGB"),
        (np.zeros((96, 128, 1), np.uint8), "grey"),
        (np.zeros((96, 128, 3)), r"float64.*astype\(np\.uint8\)"),
        (np.zeros((96, 128, 4), np.uint8), r"\(96, 128, 4\)"),
        (np.zeros((0, 128, 3), np.uint8), r"\(0, 128, 3\)"),
        (torch.zeros(96, 128, 3), "Tensor"),
    ],
)
def test_what_is_no_frame_is_said(frame: np.ndarray, message: str, checkpoint: Path) -> None:
    tracker = load_tracker(checkpoint, "cpu")
    with pytest.raises(ValueError, match=message):
        tracker.initialize(frame, BOX)
    tracker.initialize(frames(1)[0], BOX)
    with pytest.raises(ValueError, match=message):
        tracker.track(frame)


def test_a_box_outside_and_a_frame_too_early_are_said(checkpoint: Path) -> None:
    tracker = load_tracker(checkpoint, "cpu")
    with pytest.raises(RuntimeError, match="initialize"):
        tracker.track(frames(1)[0])
    outside = [((500, 0, 5, 5), "outside the frame"), ((1, 1, 0, 5), "no area"), ((1, 2, 3, np.nan), "four finite")]
    for box, message in (*outside, ((1, 2, 3), "four numbers"), (None, "None: give four"), ("1,2,30,40", "give four")):
        tracker.initialize(frames(1)[0], (8, 8, 16, 16))
        with pytest.raises(ValueError, match=message):
            tracker.initialize(frames(1)[0], box)  # pyright: ignore[reportArgumentType]
        with pytest.raises(RuntimeError, match="initialize"):  # rather than follow the target before
            tracker.track(frames(1)[0])


def test_names_that_are_none_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="did you mean 'mmg_tiny'"):
        load_tracker("mmg_tinny")
    with pytest.raises(FileNotFoundError, match="did you mean 'mmg_small'"):
        load_tracker("MMG_SMALL", torch.device("cpu"))
    with pytest.raises(FileNotFoundError, match=r"no folder .*owner/name"):
        from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        load_tracker(tmp_path / "nowhere.pth")
    with pytest.raises(ValueError, match="leave out config"):
        load_tracker("model.onnx", config="mmg_tiny")


_ELSEWHERE = """
import builtins, select, sys
import torch, timm, cv2, onnxruntime, onnxscript  # what others need of a system is theirs
del select.poll
original, hidden = builtins.__import__, {"fcntl", "resource", "pwd", "grp", "termios", "posix"}
def only_everywhere(name, globals=None, *rest):
    importer = (globals or {}).get("__name__", "")
    if name.split(".")[0] in hidden and importer.split(".")[0] in ("lib", "mmg_tracker", "tracking", "__main__"):
        raise ImportError(f"{importer} imports {name}, which only Linux has")
    return original(name, globals, *rest)
builtins.__import__ = only_everywhere
def audit(event, arguments):
    if event == "open" and str(arguments[0]).startswith("/proc"):
        raise OSError(f"{arguments[0]} is Linux's")
sys.addaudithook(audit)
from pathlib import Path
import numpy as np
from mmg_tracker import load_tracker
from tracking import demo, export
weights, folder = sys.argv[1:]
frames = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)
pictures = Path(folder, "pictures")
pictures.mkdir()
for index, frame in enumerate(frames):
    cv2.imwrite(str(pictures / f"{index}.png"), frame)
onnx = str(Path(folder, "model.onnx"))
assert export.main(["--checkpoint", weights, "--out", onnx]) == 0
for name in (weights, onnx):
    tracker = load_tracker(name, "cpu")
    tracker.initialize(frames[0], (40, 30, 24, 16))
    assert np.isfinite(tracker.track(frames[1]).box_xywh).all()
boxes = ["--box", "40,30,24,16", "--box", "60,30,24,16"]
assert demo.main([str(pictures), *boxes, "--checkpoint", weights, "--out", str(Path(folder, "out"))]) == 0
"""


@pytest.mark.slow
def test_nothing_that_only_linux_has_is_needed(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    command = [sys.executable, "-c", _ELSEWHERE, str(checkpoint), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_another_project_s_lib_is_named(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    for program in ("import mmg_tracker", "import sys; sys.argv = ['bin/mmg-test']; import mmg_tracker"):
        command = [sys.executable, "-c", program]
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 1
        assert str(tmp_path / "lib") in finished.stderr and "PYTHONPATH" in finished.stderr.splitlines()[-1]
    assert len(finished.stderr.splitlines()) == 1, "a command shows no traceback"
