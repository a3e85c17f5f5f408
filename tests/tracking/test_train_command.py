"""The training command from end to end: a run, its files, its exit codes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SMALL, command

from lib.models.trained import is_finished

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [word for setting in SMALL for word in ("--set", setting)]


def test_a_run_leaves_checkpoint_log_config_and_board(tmp_path, capsys):
    words = ("--device", "cpu", "--run", str(tmp_path), *SETTINGS, "--set", "train.picture_every=1")
    assert command("train")(["--config", "mmg_tiny", *words]) == 0
    assert str(tmp_path / "latest.pth") in capsys.readouterr().out
    state = torch.load(tmp_path / "latest.pth", weights_only=True)
    assert state["step"] == 8 and state["config"]["name"] == "mmg_tiny"
    assert (tmp_path / "config.yaml").is_file()
    assert len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    (events,) = (tmp_path / "tensorboard").glob("events*")
    assert all(name in events.read_bytes() for name in (b"train/total", b"boxes", b"reconstruction"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "mmg_tiny", "--set", "train.lrr=1"], "did you mean 'train.lr'"),
        (["--config", "mmg_tiny", "--device", "cuda:7"], "cuda:7"),
        (["--config", "mmg_vitb", "--set", "data.sources=[{dataset: synthetic, split: train, ratio: 1}]",
          "--set", "data.validation=[]"], "mae_pretrain_vit_base.pth"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    script = [sys.executable, str(ROOT / "tracking" / "train.py"), *arguments, "--run", str(tmp_path / "run")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize(
    "useless", [["--config", "mmg_tiny"], ["--set", "train.lr=1"], ["--gpus", "2"], ["--run", "runs/other"]]
)
def test_a_replay_refuses_what_its_file_settles(useless):
    with pytest.raises(ValueError, match=f"^{useless[0]} means nothing for --replay"):
        command("train")(["--replay", "nonfinite_step_00000001.pth", *useless])


def test_a_run_in_a_file_is_refused():
    with pytest.raises(ValueError, match=f"^--run {__file__} is a file, but a folder is wanted"):
        command("train")(["--config", "mmg_tiny", "--run", __file__])


def test_the_folder_of_commands_does_not_hide_the_standard_profiler():
    """It comes first on the search path of every command, and cProfile, which torch imports, asks for `profile`."""
    code = f"import sys; sys.argv = ['x']; sys.path.insert(0, {str(ROOT / 'tracking')!r}); import cProfile; "
    code += "profiler = cProfile.Profile(); profiler.runcall(sorted, [2, 1]); assert cProfile.label"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("habit", "answer"),
    [("--script", "--config"), ("--nproc_per_node=4", "--gpus N"), ("--batch_size", "train.batch_size")],
)
def test_options_of_other_trackers_are_answered(habit, answer):
    with pytest.raises(ValueError, match=f"^{habit.partition('=')[0]} is an option of other programs: .*{answer}"):
        command("train")([habit, "4"])


def test_both_stages_by_one_command_go_on_from_where_they_were_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main = command("train")
    settings = [*SETTINGS, "--set", "data.samples_per_epoch=8", "--set", "data.validation_samples=4"]
    both = ["--config", "mmg_tiny_score", "--with-first-stage", "--device", "cpu", *settings]
    stopped = [*settings, "--set", "train.on_nonfinite=skip", "--set", "train.epochs=1"]
    with monkeypatch.context() as launched:
        launched.setenv("LOCAL_RANK", "0")  # as under torchrun, where the second stage alone would be trained
        with pytest.raises(ValueError, match="without torchrun; or run torchrun twice, with --config mmg_tiny before"):
            main(both)
    assert main(["--config", "mmg_tiny", "--device", "cpu", *stopped]) == 0
    first, second = tmp_path / "runs" / "mmg_tiny", tmp_path / "runs" / "mmg_tiny_score"
    assert is_finished(first / "latest.pth", "mmg_tiny")
    with pytest.raises(ValueError, match=r"these keys differ: .*model"):
        main([*both, "--set", "train.start_from=mmg_vitb", "--set", "train.schedule=cosine"])
    assert main(both) == 0  # finished as it is: another number of epochs is no reason to refuse
    assert torch.load(first / "latest.pth", weights_only=True)["step"] == 2
    assert torch.load(second / "latest.pth", weights_only=True)["score_trained"]
    state = torch.load(first / "latest.pth", weights_only=True)
    shutil.rmtree(second)
    state["config"]["train"]["epochs"] = 2  # as if it had been stopped half-way
    torch.save(state, first / "latest.pth")
    (first / "step_00000002.pth").unlink()
    assert main(both) == 0
    assert f"continuing {Path('runs/mmg_tiny')} at step 2 of 4" in capsys.readouterr().out
    assert is_finished(second / "latest.pth", "mmg_tiny_score")
