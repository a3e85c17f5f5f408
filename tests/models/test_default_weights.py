"""Which weights a command takes when it is told none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.config.load import experiment_to_dict, load
from lib.models import trained
from lib.models.trained import default_weights, find_checkpoint
from lib.tracker import TrackerSpec

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Return a function that writes what `default_weights` asks of a run; its folder is `runs/<run>`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trained, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()

    def write(config: str, *, left: int = 0, age: int = 0, run: str | None = None) -> Path:
        experiment = load(config)
        path = Path("runs") / (run or config) / "latest.pth"
        path.parent.mkdir(parents=True)
        state = {"config": experiment_to_dict(experiment), "model": {}, "epochs": experiment.train.epochs - left}
        torch.save(state, path)
        os.utime(path, (1e9 - age, 1e9 - age))
        return path

    return write


def test_a_finished_second_stage_comes_first_and_the_newest_of_them(save: Save) -> None:
    save("mmg_vitb")
    save("mmg_vitb_score", age=20)
    newest = save("mmg_vitb_score", age=10, run="again")
    save("mmg_vitb_score", left=1, run="under_way")
    (Path("runs") / "damaged").mkdir()
    (Path("runs") / "damaged" / "latest.pth").write_bytes(b"no checkpoint")
    (Path("runs") / "damaged" / "config.yaml").write_bytes(b"\xff")
    torch.save({"config": {"name": "mmg_vitb_score", "train": {"epochs": "x"}}}, save("mmg_vitb_score", run="odd"))
    chosen = default_weights()
    assert (chosen.config, chosen.checkpoint) == (None, newest)
    assert "newest finished run of mmg_vitb_score" in chosen.why and chr(10) not in chosen.why


def test_a_first_stage_alone_is_tracked_without_updates(save: Save) -> None:
    first = save("mmg_vitb")
    save("mmg_vitb_score", left=1)
    chosen = default_weights()
    assert chosen.checkpoint == first and "without template updates" in chosen.why
    assert chosen.config is not None and load(chosen.config).track.update == "none"
    assert not trained.differing_model_keys(load(chosen.config), load("mmg_vitb", ["model.encoder.drop_path=0.2"]))


def test_what_comes_with_the_project_is_last(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    save("mmg_vitb", left=1)
    with pytest.raises(FileNotFoundError, match=r"--config NAME.*--checkpoint FILE"):
        default_weights()
    shipped = trained.SHIPPED / "mmg_small.safetensors"
    shipped.write_bytes(b"")
    assert default_weights().checkpoint == shipped
    assert TrackerSpec("mmg").with_weights().checkpoint == shipped
    assert str(shipped) in capsys.readouterr().err
    for spec in (TrackerSpec("static"), TrackerSpec("mmg", "mmg_tiny")):
        assert spec.with_weights() is spec


def test_a_config_finds_its_run_and_then_what_comes_with_the_project(save: Save) -> None:
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        find_checkpoint("mmg_small", None)
    shipped = trained.SHIPPED / "mmg_small.safetensors"
    shipped.write_bytes(b"")
    assert find_checkpoint("mmg_small", None) == shipped
    own = save("mmg_small")
    assert find_checkpoint("mmg_small", None) == own
