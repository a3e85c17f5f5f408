"""The export command: what it says, the weights it writes, and what it refuses before any work is done."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import command, save_random_weights

from lib.config.load import experiment_to_dict, load
from lib.config.schema import Experiment
from lib.models.trained import file_sha256, read_trained_model, read_weights
from lib.tracker import TrackerSpec, export


def run(*arguments: str) -> int:
    return command("export")(arguments)


@pytest.fixture
def checkpoint(tmp_path: Path, small_experiment: Callable[..., Experiment]) -> Path:
    """Return a checkpoint that holds weights and, as after training with `train.ema_decay`, their average."""
    experiment = small_experiment("track.update=none")
    path = tmp_path / "w.pth"
    state = save_random_weights(path, experiment).state_dict()
    average = {name: value + 1 for name, value in state.items()}
    torch.save({"config": experiment_to_dict(experiment), "model": state, "average": average, "optimizer": {}}, path)
    return path


def test_weights_are_the_checkpoints_own(checkpoint, tmp_path, capsys):
    out = tmp_path / "new" / "w.safetensors"
    assert run("--checkpoint", str(checkpoint), "--out", str(out)) == 0
    before, after = read_trained_model(checkpoint), read_trained_model(out)
    assert after.experiment == before.experiment and after.score_trained is before.score_trained is False
    assert after.state.keys() == before.state.keys()
    for name, value in after.state.items():
        assert torch.equal(value, before.state[name])
    assert read_weights(out)["checkpoint_sha256"] == file_sha256(checkpoint)
    assert (
        f"mmg_tiny in {out}: {out.stat().st_size / 1e6:.1f} MB; {len(before.state)} weights" in capsys.readouterr().out
    )
    assert [path.name for path in out.parent.iterdir()] == ["w.safetensors"]


def test_a_config_gives_the_file_its_name_and_how_it_tracks(checkpoint, tmp_path):
    plain = experiment_to_dict(read_trained_model(checkpoint).experiment)
    del plain["name"]
    plain["track"] |= {"update": "fixed", "update_interval": 7}
    config, out = tmp_path / "often.yaml", tmp_path / "w.safetensors"
    config.write_text(yaml.safe_dump(plain))
    assert run("--config", str(config), "--checkpoint", str(checkpoint), "--out", str(out)) == 0
    assert read_trained_model(out).experiment.track == load(str(config)).track
    assert TrackerSpec("mmg", checkpoint=out).config_name == "often"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "w.pth"], r"w\.pth: the name must end in \.onnx .* or \.safetensors"),
        (["--out", "."], "is a folder, but a file is wanted"),
        (["--out", "w.onnx", "--config", "mmg_vitt"], "another model than config mmg_vitt"),
    ],
)
def test_what_is_wrong_is_said(arguments, message, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        run("--checkpoint", str(checkpoint), *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        run("--checkpoint", "nowhere.pth", "--out", str(tmp_path / "w.onnx"))


def test_a_score_that_was_not_trained_is_not_exported(tmp_path, small_experiment):
    experiment = small_experiment("track.update=score")
    save_random_weights(tmp_path / "w.pth", experiment)
    with pytest.raises(ValueError, match="not trained: train the second stage"):
        run("--checkpoint", str(tmp_path / "w.pth"), "--out", str(tmp_path / "w.onnx"))


def test_a_checkpoint_that_changes_meanwhile_is_refused(checkpoint, tmp_path, monkeypatch):
    digests = iter(["one", "another"])
    monkeypatch.setattr(export, "file_sha256", lambda path: next(digests))
    with pytest.raises(ValueError, match=r"w\.pth has changed while it was read.*give --checkpoint"):
        export.export_tracker(None, checkpoint, tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()
