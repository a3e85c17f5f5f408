"""Weights as safetensors: what was written comes back, and serves wherever a checkpoint for tracking does."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_random_weights
from safetensors.torch import save_file

from lib.config.load import experiment_to_dict
from lib.config.schema import Experiment
from lib.models.trained import read_trained_model, read_weights, read_weights_file, write_weights
from lib.tracker import TrackerSpec

STATE = {
    "whole": torch.arange(6.0).reshape(2, 3),
    "turned": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
    "half": torch.tensor([0.1, float("inf")], dtype=torch.bfloat16),
    "count": torch.tensor(7),
}


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    about = {"score_trained": True, "config": {"name": "größer", "lr": 1e-4, "sizes": [1, None]}}
    write_weights(tmp_path / "w.safetensors", STATE, about)
    content = read_weights(tmp_path / "w.safetensors")
    state = content.pop("model")
    assert content == {"format": 1, **about}
    assert state.keys() == STATE.keys()
    for name, value in STATE.items():
        assert state[name].dtype == value.dtype
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)


@pytest.fixture
def checkpoint(tmp_path: Path, small_experiment: Callable[..., Experiment]) -> tuple[Path, Path]:
    """Return a checkpoint with random weights and a trained score, and its export."""
    experiment = small_experiment("track.update=score", "track.precision=fp32")
    state = save_random_weights(tmp_path / "w.pth", experiment, score_trained=True).state_dict()
    about = {"config": experiment_to_dict(experiment), "score_trained": True}
    write_weights(tmp_path / "w.safetensors", state, about)
    return tmp_path / "w.pth", tmp_path / "w.safetensors"


def test_the_exported_weights_track_as_the_checkpoint_does(checkpoint: tuple[Path, Path]) -> None:
    one, other = (read_trained_model(path) for path in checkpoint)
    assert one.experiment == other.experiment and one.score_trained and other.score_trained
    frames = np.random.default_rng(0).integers(0, 256, (3, 120, 160, 3), dtype=np.uint8)
    answers = []
    for path in checkpoint:
        tracker = TrackerSpec("mmg", checkpoint=path, device="cpu").build()
        tracker.initialize(frames[0], np.array((60, 40, 30, 24)))
        answers.append([tracker.track(frame) for frame in frames[1:]])
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_array_equal(ours.box_xywh, theirs.box_xywh)
        assert ours.score == theirs.score


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_damage_is_refused_by_the_files_name_or_changes_nothing(tmp_path: Path, kind: str) -> None:
    facts = {"config": {"name": "a"}, "step": 5}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    write_weights(path, STATE, facts)
    if kind != "safetensors":
        torch.save({**facts, "model": STATE}, path, _use_new_zipfile_serialization=kind == "zip")
    good, draw, refused = path.read_bytes(), random.Random(0), 0
    for trial in range(300):
        damaged = bytearray(good)
        damaged[draw.randrange(len(good))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged if trial % 3 else damaged[: draw.randrange(len(good))])
        try:
            found = read_weights_file(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
            continue
        if kind != "old":  # of PyTorch before 1.6, without checksums
            assert {name: found[name] for name in facts} == facts
            assert all(torch.equal(found["model"][name], value) for name, value in STATE.items())
    assert refused >= 100  # every one that was cut off


def test_a_file_of_another_kind_is_refused(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    whole = checkpoint[1].read_bytes()
    path = tmp_path / "other.safetensors"
    for content in (b"", b"no weights at all", whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.safetensors is truncated or no safetensors file"):
            read_trained_model(path)
    for header in (None, {"mmg": "{"}, {"mmg": "[1]"}, {"mmg": "[" * 100_000}):
        save_file({"whole": STATE["whole"]}, path, header)
        with pytest.raises(ValueError, match="of another program: its header has no entry 'mmg'"):
            read_trained_model(path)
    save_file({"whole": STATE["whole"]}, path, {"mmg": '{"format": 2}'})
    with pytest.raises(ValueError, match="has format 2, and this code reads 1"):
        read_trained_model(path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        read_weights(tmp_path / "nowhere.safetensors")
