"""What an earlier version made, `tests/made_by_1bed283`, is read, followed, scored and continued; make.sh made it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.config.load import load
from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.datasets import open_dataset
from lib.eval.benchmarks import find_benchmark
from lib.eval.record import package_versions
from lib.eval.report.tables import to_json
from lib.eval.results import read_boxes
from lib.eval.run.benchmark import RunOptions, run_test
from lib.eval.run.sequence import run_sequence
from lib.eval.score.analysis import analyze, find_results
from lib.tracker import TrackerSpec
from lib.train.session import open_trainer

MADE = Path(__file__).resolve().parent / "made_by_1bed283"
CONFIG = str(MADE / "legacy.yaml")
RESULTS = MADE / "tracked" / "mmg" / "legacy" / "folder"
NAMES = ("test-0000", "test-0001")
CLOSE = 0.05  # px; what rounding on another CPU may grow to in five frames, each cut around the last one's box


def legacy() -> Experiment:
    experiment = load(CONFIG)
    assert isinstance(experiment, Experiment)
    return experiment


@pytest.mark.parametrize("file", ["run/step_00000008.pth", "legacy.safetensors", "legacy.onnx"])
def test_weights_track_as_they_did(file: str) -> None:
    onnx = file.endswith(".onnx")
    spec = TrackerSpec("mmg", None, None if onnx else MADE / file, "cpu", onnx=MADE / file if onnx else None)
    tracker = spec.build()
    videos = open_dataset("folder", "test", root=MADE / "videos")
    for index, name in enumerate(NAMES):
        tracked = run_sequence(tracker, videos[index])
        np.testing.assert_allclose(tracked.boxes_xywh, read_boxes(RESULTS / f"{name}.txt"), rtol=0, atol=CLOSE)


def test_a_run_is_continued(tmp_path: Path) -> None:
    """From the first of two epochs to where it ended then, optimiser, schedule, samples and noise included."""
    run = tmp_path / "run"
    shutil.copytree(MADE / "run", run)
    (run / "step_00000008.pth").unlink()
    trainer = open_trainer(legacy(), run, device="cpu")
    assert trainer.progress.step == 4
    trainer.fit()
    names = ("step_00000004.pth", "step_00000008.pth")
    start, then = (torch.load(MADE / "run" / name, weights_only=True)["model"] for name in names)
    now = trainer.model.state_dict()
    assert now.keys() == then.keys()
    moved = sum(float((then[name] - start[name]).abs().sum()) for name in then)
    apart = sum(float((then[name] - now[name]).abs().sum()) for name in then)
    assert apart < 0.1 * moved


def test_results_are_continued(tmp_path: Path) -> None:
    """On the packages that they were made with, as far as a record can tell; another release is refused."""
    folder = tmp_path / "mmg" / "legacy" / "folder"
    shutil.copytree(RESULTS, folder)
    for file in folder.glob(f"{NAMES[1]}*.txt"):
        file.unlink()
    record = json.loads((folder / "run.json").read_text())
    record["versions"] = package_versions()
    (folder / "run.json").write_text(json.dumps(record))
    kept = (folder / f"{NAMES[0]}_time.txt").read_bytes()
    spec = TrackerSpec("mmg", CONFIG, MADE / "run" / "step_00000008.pth", device="cpu", benchmark="folder")
    assert run_test(spec, RunOptions(root=MADE / "videos", results_dir=tmp_path)) == 0
    assert (folder / f"{NAMES[0]}_time.txt").read_bytes() == kept
    again, then = (read_boxes(each / f"{NAMES[1]}.txt") for each in (folder, RESULTS))
    np.testing.assert_allclose(again, then, rtol=0, atol=CLOSE)


def test_results_have_the_scores_that_they_had() -> None:
    benchmark = find_benchmark("folder")
    results = find_results(["mmg/legacy"], benchmark, MADE / "tracked")
    now = json.loads(to_json(analyze(benchmark, benchmark.open(MADE / "videos", None), results)))
    then = json.loads((MADE / "scores.json").read_text())
    ours, theirs = now["results"]["mmg/legacy"], then["results"]["mmg/legacy"]
    assert {"auc", "precision", "sequences"} <= theirs.keys()
    assert {name: ours[name] for name in theirs} == theirs


def test_cut_training_data_are_read(tmp_path: Path) -> None:
    shutil.copytree(MADE / "crops", tmp_path / "crops")  # LMDB leaves a lock beside what it reads
    videos = open_dataset("folder", "train", root=MADE / "videos")
    crops = open_dataset("folder", "train", root=tmp_path / "crops")
    assert tuple(crops.names) == tuple(videos.names) == NAMES
    for index in range(len(NAMES)):
        boxes_xywh = videos[index].boxes_xywh
        np.testing.assert_array_equal(crops[index].boxes_xywh, boxes_xywh)
        window = CropWindow.around(boxes_xywh[2], 2.0, 32)
        cut, whole = (each[index].frames.cut(2, window) for each in (crops, videos))
        assert cut is not None and whole is not None
        assert np.abs(cut.astype(int) - whole).mean() < 8  # interpolated twice, and a second JPEG of noise
