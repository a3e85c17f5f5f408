"""The weights that come with the project go through every door: API, ONNX, batches, compilation, masks, VOT."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import command, load_refine

from lib.config.load import experiment_to_dict
from lib.data.datasets import open_dataset
from lib.eval.vot.tracker import build_vot_tracker
from lib.models.refine.network import build_refine_model
from lib.models.trained import SHIPPED, read_trained_model
from lib.tracker import TrackerSpec
from lib.tracker.build import build_mmg_tracker
from lib.tracker.masks import MaskSpec
from mmg_tracker import load_tracker

pytestmark = pytest.mark.slow

WEIGHTS = SHIPPED / "mmg_small.safetensors"
SEQUENCES = ("0", "2")


def run(name: str, *arguments: str | Path) -> int:
    return command(name)([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    sequence = open_dataset("synthetic", "test")[0]
    return [sequence.frames[index] for index in range(3)]


@pytest.fixture(scope="module")
def box_xywh() -> np.ndarray:
    return open_dataset("synthetic", "test")[0].boxes_xywh[0]


@pytest.fixture(scope="module")
def second_box(frames: list[np.ndarray], box_xywh: np.ndarray) -> np.ndarray:
    """Return what the API finds in the second frame."""
    tracker = load_tracker("mmg_small", device="cpu")
    tracker.initialize(frames[0], box_xywh)
    prediction = tracker.track(frames[1])
    assert np.isfinite(prediction.score) == read_trained_model(WEIGHTS).score_trained
    return prediction.box_xywh


@pytest.fixture
def refine_weights(tmp_path: Path) -> Path:
    """Return random weights of `refine_tiny`, as a training would have left them."""
    experiment = load_refine("refine_tiny")
    torch.manual_seed(0)
    content = {"config": experiment_to_dict(experiment), "model": build_refine_model(experiment).state_dict()}
    torch.save(content, tmp_path / "refine.pth")
    return tmp_path / "refine.pth"


def results(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(path for path in folder.rglob("test-*.txt") if path.stem.count("_") == 0)
    return {path.stem: np.loadtxt(path, delimiter=",") for path in files}


def test_an_onnx_file_of_it_tracks(frames: list[np.ndarray], box_xywh: np.ndarray, second_box: np.ndarray,
                                   tmp_path: Path) -> None:  # fmt: skip
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    assert run("export", "--config", "mmg_small", "--out", tmp_path / "small.onnx") == 0
    tracker = load_tracker(tmp_path / "small.onnx")
    tracker.initialize(frames[0], box_xywh)
    np.testing.assert_allclose(tracker.track(frames[1]).box_xywh, second_box, atol=0.05)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_it_can_be_compiled(frames: list[np.ndarray], box_xywh: np.ndarray, second_box: np.ndarray,
                            tmp_path: Path) -> None:  # fmt: skip
    config = experiment_to_dict(read_trained_model(WEIGHTS).experiment)
    del config["name"]
    config["track"]["compile"] = True
    (tmp_path / "compiled.yaml").write_text(yaml.safe_dump(config))
    tracker = build_mmg_tracker(str(tmp_path / "compiled.yaml"), WEIGHTS, "cpu", "synthetic")
    tracker.initialize(frames[0], box_xywh)
    np.testing.assert_allclose(tracker.track(frames[1]).box_xywh, second_box, atol=0.05)


def test_commands_take_it_by_default_alone_in_batches_and_with_masks(refine_weights: Path, second_box: np.ndarray,
                                                                     tmp_path: Path) -> None:  # fmt: skip
    masks = ("--masks", "alpha_refine", "--refine-checkpoint", refine_weights)
    common = ("mmg", "synthetic", "--config", "mmg_small", "--device", "cpu", "--sequences", *SEQUENCES)
    assert run("test", *common, "--results-dir", tmp_path / "alone", *masks) == 0
    assert run("test", *common, "--results-dir", tmp_path / "batch", "--batch", "2") == 0
    alone, batch = results(tmp_path / "alone"), results(tmp_path / "batch")
    assert len(alone) == 2 and alone.keys() == batch.keys()
    for name, boxes in alone.items():
        np.testing.assert_allclose(boxes[:2], batch[name][:2], atol=0.05)
        assert len(list((tmp_path / "alone").rglob(f"masks/*/{name}/*.png"))) == len(boxes)
    np.testing.assert_allclose(min(np.abs(boxes[1] - second_box).max() for boxes in alone.values()), 0, atol=0.05)


def test_the_vot_toolkit_gets_masks(frames: list[np.ndarray], box_xywh: np.ndarray, refine_weights: Path,
                                    tmp_path: Path) -> None:  # fmt: skip
    files = [tmp_path / f"{index}.png" for index in range(len(frames))]
    for path, frame in zip(files, frames, strict=True):
        assert cv2.imwrite(str(path), frame[:, :, ::-1])
    spec = TrackerSpec("mmg", config="mmg_small", device="cpu")
    tracker = build_vot_tracker(spec, MaskSpec("alpha_refine", refine_weights, "cpu"))
    mask = np.zeros(frames[0].shape[:2], dtype=bool)
    left, top, width, height = box_xywh.round().astype(int)
    mask[top : top + height, left : left + width] = True
    tracker.start(files[0], mask)
    for path in files[1:]:
        found = tracker.follow(path)
        assert found.shape == mask.shape and found.dtype == bool and found.any()
