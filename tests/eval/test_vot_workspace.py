"""Workspaces of the VOT toolkit: their files, read back by independent means."""

import configparser
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import COMMANDS, command

from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.images.frames import read_image
from lib.eval.vot.mask_format import decode_mask
from lib.eval.vot.registry import VotEntry, add_tracker, describe_tracker
from lib.eval.vot.scores import read_vot_analysis
from lib.eval.vot.workspace import (
    LocalData,
    choose_anchors,
    is_workspace,
    write_genuine_workspace,
    write_local_workspace,
    write_vot_sequence,
)
from lib.tracker import TrackerSpec
from lib.tracker.masks import MaskSpec

PROGRAM = COMMANDS / "vot.py"
SHORT = LocalData(sequences=2, frames=20, spacing=10)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vot") / "work"
    write_local_workspace(folder, SHORT)
    return folder


def command_of(folder: Path, name: str) -> list[str]:
    """Return the command of a tracker as the toolkit reads it: ConfigParser, then shlex."""
    known = configparser.ConfigParser()
    known.read(folder / "trackers.ini")
    return shlex.split(known[name]["command"])


def test_anchors_stand_every_so_many_frames_where_the_target_is_visible_and_run_to_the_farther_end():
    anchors = choose_anchors(np.ones(60, dtype=bool), 20)
    assert {int(frame): int(anchors[frame]) for frame in np.flatnonzero(anchors)} == {0: 1, 20: 1, 40: -1, 59: -1}
    visible = np.ones(60, dtype=bool)
    visible[:3] = visible[18:25] = False
    assert np.flatnonzero(choose_anchors(visible, 20)).tolist() == [3, 17, 40, 59]


def test_runs_are_never_shorter_than_half_the_video():
    for length in (20, 33, 60):
        anchors = choose_anchors(np.ones(length, dtype=bool), 7)
        runs = [length - frame if anchors[frame] > 0 else frame + 1 for frame in np.flatnonzero(anchors)]
        assert min(runs) >= length / 2
    with pytest.raises(ValueError, match="nowhere visible"):
        choose_anchors(np.zeros(5, dtype=bool), 2)


def test_the_files_hold_the_drawn_video(workspace):
    names = (workspace / "sequences" / "list.txt").read_text().split()
    assert len(names) == 2
    folder = workspace / "sequences" / names[1]
    dataset = SyntheticDataset("test", 100, SHORT.frames)
    sequence = dataset[list(dataset.names).index(names[1])]
    assert sequence.masks is not None
    pictures = sorted((folder / "color").iterdir())
    assert [path.name for path in pictures] == [f"{number:08d}.jpg" for number in range(1, 21)]
    for index in (0, 7, 19):
        image = sequence.frames[index]
        picture = read_image(pictures[index])
        assert np.abs(picture.astype(int) - image).mean() < 4  # JPEG
        line = (folder / "groundtruth.txt").read_text().splitlines()[index]
        assert np.array_equal(decode_mask(line, *image.shape[:2]), sequence.masks[index])
    assert [line for line in (folder / "anchor.value").read_text().split() if line != "0"] == ["1", "-1", "-1"]
    facts = dict(line.split("=") for line in (folder / "sequence").read_text().split())
    assert (facts["width"], facts["height"], facts["channels.color"]) == ("256", "192", "color/%08d.jpg")
    for path in workspace.glob("sequences/*/groundtruth.txt"):
        assert "m0,0,0,0,0" not in path.read_text().split(), "no video hides its target altogether"


def test_the_stack_is_vot2020s_baseline_over_lengths_that_the_runs_have(workspace):
    config = yaml.safe_load((workspace / "config.yaml").read_text())
    assert config == {"registry": ["./trackers.ini"], "stack": "stack.yaml"}
    stack = yaml.safe_load((workspace / "stack.yaml").read_text())
    assert "dataset" not in stack, "the toolkit would download it"
    baseline = stack["experiments"]["baseline"]
    assert baseline["type"] == "multistart"
    score, curve, average = baseline["analyses"]
    # Beyond the length of the longest run the curve of a perfect tracker is zero.
    assert score["high"] == curve["high"] == SHORT.frames
    assert 0 < score["low"] < SHORT.frames / 2
    assert average["type"] == "multistart_average_ar"


def test_the_same_call_keeps_what_is_there_and_draws_what_is_missing(workspace, tmp_path):
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    first, second = (tmp_path / "sequences" / "list.txt").read_text().split()
    kept = tmp_path / "sequences" / first / "color" / "00000001.jpg"
    kept.write_bytes(b"touched")
    # As after an interruption in the middle of the second video.
    (tmp_path / "sequences" / "list.txt").unlink()
    (tmp_path / "sequences" / second).rename(tmp_path / "sequences" / f".{second}.partial")
    assert not is_workspace(tmp_path)
    write_local_workspace(tmp_path, SHORT)
    assert kept.read_bytes() == b"touched"
    assert len(list((tmp_path / "sequences" / second / "color").iterdir())) == 20
    assert not (tmp_path / "sequences" / f".{second}.partial").exists()
    assert is_workspace(tmp_path)


def test_another_workspace_is_not_written_over(workspace):
    before = sorted(path.name for path in (workspace / "sequences").iterdir())
    with pytest.raises(ValueError, match=r"stack\.yaml belongs to another workspace"):
        write_local_workspace(workspace, replace(SHORT, spacing=5))
    with pytest.raises(ValueError, match=r"list\.txt belongs to another workspace"):
        write_local_workspace(workspace, replace(SHORT, sequences=3))
    with pytest.raises(ValueError, match=r"config\.yaml belongs to another workspace"):
        write_genuine_workspace(workspace)
    assert sorted(path.name for path in (workspace / "sequences").iterdir()) == before


@pytest.mark.parametrize("name", ["vidéos", "50%"])
def test_a_path_that_the_toolkit_cannot_use_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="the VOT toolkit cannot use the path"):
        write_local_workspace(tmp_path / name, SHORT)
    with pytest.raises(ValueError, match="the VOT toolkit cannot use the path"):
        write_genuine_workspace(tmp_path, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_workspace_and_a_video_without_masks_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"test_vot_workspace\.py is a file, not a folder"):
        write_local_workspace(Path(__file__), SHORT)
    sequence = replace(SyntheticDataset("test", 1, 5)[0], masks=None)
    with pytest.raises(ValueError, match="has no masks"):
        write_vot_sequence(sequence, tmp_path / "x", 2)
    assert not list(tmp_path.iterdir())


def test_the_genuine_workspace_names_the_toolkits_stack(tmp_path):
    write_genuine_workspace(tmp_path / "work", tmp_path / "it's here")
    config = yaml.safe_load((tmp_path / "work" / "config.yaml").read_text())
    assert config["stack"] == "vot2020/shortterm"
    assert config["sequences"] == str(tmp_path / "it's here")
    assert is_workspace(tmp_path / "work")


def test_a_command_works_from_any_folder_and_survives_the_toolkits_parsing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = Path("50% 'odd' \"name\"")
    odd.mkdir()
    (odd / "latest.pth").write_bytes(b"weights")
    spec = TrackerSpec("mmg", "mmg_tiny", odd / "latest.pth", "cpu")
    masks = MaskSpec("alpha_refine", Path("refine.pth"), threshold=0.5)
    entry = describe_tracker(PROGRAM, spec, masks)
    assert add_tracker(tmp_path, entry)
    assert entry.name == "mmg_tiny_alpha_refine"
    assert entry.weights == (tmp_path / odd / "latest.pth", tmp_path / "refine.pth")
    assert command_of(tmp_path, entry.name) == [
        *(sys.executable, str(PROGRAM), "mmg", "--config", "mmg_tiny"),
        *("--checkpoint", str(tmp_path / odd / "latest.pth"), "--device", "cpu", "--masks", "alpha_refine"),
        *("--refine-checkpoint", str(tmp_path / "refine.pth"), "--mask-threshold", "0.5"),
    ]


def test_weights_that_are_there_are_remembered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec, masks = TrackerSpec("mmg", "mmg_tiny"), MaskSpec("box")
    before = describe_tracker(PROGRAM, spec, masks)
    assert before.weights == (tmp_path / "runs" / "mmg_tiny" / "latest.pth",)
    assert "--weights-digest" not in before.command
    before.weights[0].parent.mkdir(parents=True)
    commands = set()
    for content in (b"some", b"other"):
        before.weights[0].write_bytes(content)
        commands.add(describe_tracker(PROGRAM, spec, masks).command)
    assert len(commands) == 2
    assert all(command[:-1] == (*before.command, "--weights-digest") for command in commands)


def test_trackers_are_added_beside_what_somebody_wrote(tmp_path):
    path = tmp_path / "trackers.ini"
    path.write_text("# mine\n[other]\ncommand = x\nprotocol = trax")
    assert add_tracker(tmp_path, VotEntry("a", ("run", "1")))
    assert not add_tracker(tmp_path, VotEntry("a", ("run", "1")))
    assert add_tracker(tmp_path, VotEntry("b", ("run", "2")))
    # Nothing was evaluated yet, so the command may change.
    assert add_tracker(tmp_path, VotEntry("a", ("run", "3")))
    assert path.read_text().startswith("# mine\n[other]\ncommand = x\nprotocol = trax\n")
    assert command_of(tmp_path, "other") == ["x"]
    assert command_of(tmp_path, "a") == ["run", "3"]
    assert command_of(tmp_path, "b") == ["run", "2"]
    (tmp_path / "results" / "a").mkdir(parents=True)
    assert add_tracker(tmp_path, VotEntry("a", ("run", "4")))
    (tmp_path / "results" / "a" / "run.bin").write_bytes(b"")
    text = path.read_text()
    with pytest.raises(ValueError, match=r"the tracker a of .* has results, made by 'run 4': choose a --name"):
        add_tracker(tmp_path, VotEntry("a", ("run", "5")))
    assert path.read_text() == text
    for damaged in (b"no section", b"\xff"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"trackers\.ini is n"):
            add_tracker(tmp_path, VotEntry("a", ("run",)))


def test_names_that_the_toolkit_would_pass_over_and_sections_in_a_path_are_refused():
    for name in ("a b", "table4/none", "", "é"):
        with pytest.raises(ValueError, match="--name"):
            VotEntry(name, ("run",))
    with pytest.raises(ValueError, match="cannot stand in the toolkit's list of trackers"):
        VotEntry("a", ("run", "--checkpoint", "x\n[b]\ncommand = y"))


def test_the_command_adds_trackers_to_what_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ("--sequences", "1", "--frames", "20", "--anchors", "19")
    assert command("prepare")(["vot-workspace", "work", "--tracker", "oracle", *data]) == 0
    assert command("prepare")(["vot-workspace", "work", "--tracker", "MMG", "--config", "mmg_tiny"]) == 0
    shown = capsys.readouterr()
    assert "added the tracker mmg_tiny" in shown.out
    assert f"there is no {tmp_path}/runs/mmg_tiny/latest.pth yet" in shown.err
    assert command("prepare")(["vot-workspace", "work", "--tracker", "oracle"]) == 0
    assert "has the tracker oracle" in capsys.readouterr().out
    assert len((tmp_path / "work" / "sequences" / "list.txt").read_text().split()) == 1
    assert command_of(tmp_path / "work", "oracle")[1:] == [str(PROGRAM), "oracle"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tracker", "mgm"], "did you mean 'mmg'"),
        (["--tracker", "static", "--config", "mmg_tiny"], "not trained"),
        (["--tracker", "static", "--masks", "alpha_refine"], "needs weights"),
        (["--tracker", "static", "--stack", "vot2020/shortterm", "--frames", "30"], "for drawn videos"),
        (["--tracker", "static", "--frames", "3"], "20 frames"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        command("prepare")(["vot-workspace", str(tmp_path / "work"), *arguments])
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("text", ["name: mmg_tiny\ncrop: {}\n", "stack: [unclosed", "hello"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="no config of a workspace"):
        is_workspace(tmp_path)
    with pytest.raises(ValueError, match="no config of a workspace"):
        read_vot_analysis(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
