"""The demo command, from its command line to its files."""

import runpy
import shutil
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import COMMANDS, command, save_random_weights

from lib.data.images.video import VideoFile
from lib.mp4 import write_mp4


def demo(*arguments: str) -> int:
    return command("demo")(arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of six grey pictures."""
    path = tmp_path / "pictures"
    path.mkdir()
    for number in range(6):
        cv2.imwrite(str(path / f"{number}.png"), np.full((96, 128, 3), 90, np.uint8))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with write_mp4(path, 96, 128, 10.0) as write:
        for _ in range(6):
            write(np.full((96, 128, 3), 90, np.uint8))
    return path


@pytest.mark.parametrize("source", ["folder", "video"])
def test_the_demo_writes_video_and_boxes(source, tmp_path, request):
    path: Path = request.getfixturevalue(source)
    out = tmp_path / "out"
    code = demo(str(path), "--box", "40", "30", "20.5", "16", "--tracker", "static", "--out", str(out))
    assert code == 0
    name = f"{path.stem}_static"
    assert sorted(file.name for file in out.iterdir()) == [f"{name}.mp4", f"{name}.txt"]
    assert (out / f"{name}.txt").read_text() == "40.0000,30.0000,20.5000,16.0000\n" * 6
    annotated = VideoFile(out / f"{name}.mp4")
    assert len(annotated) == 6
    # The box is drawn, in orange, on the last frame; the middle of it is left alone.
    red, _, blue = annotated[5][30, 50].astype(int)
    assert red - blue > 60
    assert np.abs(annotated[5][38, 50].astype(int) - 90).max() < 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--box", "1,2,3"], "four numbers"),
        (["--box", "500,10,20,20", "--tracker", "static"], "outside the frame"),
        (["--box", "40,30,20,16", "--box", "40,30,20,16.0", "--tracker", "static"], "two --box are the same"),
        (["--box", "40,30,20,16", "--box", "500,10,20,20", "--tracker", "static"], "outside the frame"),
        (["--box", "10,10,20,20", "--tracker", "sttic"], r"did you mean 'static'"),
        (["--box", "10,10,20,20", "--checkpoint", "nowhere.pth"], r"nowhere\.pth"),
        (["--box", "10,10,20,20", "--tracker", "static", "--config", "mmg_tiny"], "leave out --config"),
    ],
)
def test_what_is_wrong_is_said(arguments, message, folder, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        demo(str(folder), "--out", str(tmp_path / "out"), *arguments)
    assert not (tmp_path / "out").exists()


def test_a_damaged_frame_is_named_and_leaves_no_files(folder, tmp_path):
    (folder / "3.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"3\.png"):
        demo(str(folder), "--box", "40,30,20,16", "--tracker", "static", "--out", str(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


def test_what_is_replaced_is_said_before(folder, tmp_path, capsys):
    for said in (False, True):
        demo(str(folder), "--box", "40,30,20,16", "--tracker", "Static", "--out", str(tmp_path / "out"))
        assert ("pictures_static.mp4 is replaced" in capsys.readouterr().err) == said


def test_pictures_in_the_layout_of_data_sets_are_named_by_their_video(folder, tmp_path):
    (tmp_path / "swan").mkdir()
    pictures = folder.rename(tmp_path / "swan" / "img")
    assert demo(str(pictures), "--box", "40,30,20,16", "--tracker", "static", "--out", str(tmp_path / "out")) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["swan_static.mp4", "swan_static.txt"]


def test_a_tracker_gone_astray_fails_the_command_on_the_error_stream(folder, tmp_path, small_experiment, capsys):
    experiment = small_experiment("track.update=none")
    weights = tmp_path / "nan.pth"
    save_random_weights(weights, experiment)
    content = torch.load(weights)
    name = next(name for name in content["model"] if name.startswith("head.") and name.endswith("bias"))
    content["model"][name].fill_(float("nan"))
    torch.save(content, weights)
    assert demo(str(folder), "--box", "40,30,20,16", "--checkpoint", str(weights), "--out", str(tmp_path / "out")) == 1
    captured = capsys.readouterr()
    assert "error: the tracker's output was not finite on 5 frames" in captured.err and "error" not in captured.out
    assert (tmp_path / "out" / "pictures_mmg.txt").read_text() == "40.0000,30.0000,20.0000,16.0000\n" * 6


def test_several_boxes_are_tracked_together_as_each_alone(folder, tmp_path, small_experiment):
    for number in range(6):
        picture = np.random.default_rng(number).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    experiment = small_experiment("track.update=fixed", "track.update_interval=2", "track.precision=fp32")
    save_random_weights(tmp_path / "weights.pth", experiment)
    boxes = ["40,30,20,16", "70,20,30,40", "5,60,24,24"]
    common = (str(folder), "--checkpoint", str(tmp_path / "weights.pth"), "--device", "cpu", "--out")
    assert demo(*common, str(tmp_path / "all"), *(word for box in boxes for word in ("--box", box))) == 0
    names = [f"pictures_mmg_{number}.txt" for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["pictures_mmg.mp4", *names]
    for box, name in zip(boxes, names, strict=True):
        assert demo(*common, str(tmp_path / name), "--box", box) == 0
        alone = np.loadtxt(tmp_path / name / "pictures_mmg.txt", delimiter=",")
        np.testing.assert_allclose(np.loadtxt(tmp_path / "all" / name, delimiter=","), alone, rtol=0, atol=0.05)


def test_folders_that_differ_after_a_dot_do_not_share_files(folder, tmp_path):
    for name in ("clip.1", "clip.2"):
        shutil.copytree(folder, tmp_path / name)
        demo(str(tmp_path / name), "--box", "40,30,20,16", "--tracker", "static", "--out", str(tmp_path / "out"))
    names = ["clip.1_static.mp4", "clip.1_static.txt", "clip.2_static.mp4", "clip.2_static.txt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "one of the arguments --box --select --first-frame --page is required"),
        (["--page", "--port", "70000"], "argument --port: invalid port value: '70000'\n"),
    ],
)
def test_a_box_is_required_and_a_port_that_there_is(options, said, folder, capsys):
    with pytest.raises(SystemExit) as stop:
        demo(str(folder), *options)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_the_first_frame_is_saved_to_choose_a_box_on(folder, tmp_path):
    assert demo(str(folder), "--first-frame", str(tmp_path / "first.png")) == 0
    saved, shown = cv2.imread(str(tmp_path / "first.png")), cv2.imread(str(folder / "0.png"))
    assert saved is not None and shown is not None
    np.testing.assert_array_equal(saved, shown)


def test_the_command_ends_with_a_line_and_a_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command sets
    monkeypatch.syspath_prepend(COMMANDS)
    monkeypatch.setattr(sys, "argv", ["demo.py", str(tmp_path / "nowhere.mp4"), "--box", "1,2,3,4"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(COMMANDS / "demo.py"), run_name="__main__")
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("error: there is no video or folder") and said.count("\n") == 1
