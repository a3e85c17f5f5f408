"""Fine-tuning the weights that come with the project on own videos, by the command that docs/finetune.md gives."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lib.data.datasets.folder import FolderDataset
from lib.eval.score.metrics import iou

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "pretrained_models" / "mmg_small.safetensors"
PLACES = [folder / "shared" / "real" / "sequences" for folder in (ROOT, ROOT.parent)]
VIDEOS = ("otb_Car4", "otb_DragonBaby", "otb_Skiing", "tlp_Bike", "vot15_car1")


def command(script: str, *arguments: object, folder: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MMG_FOLDER": str(folder), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, str(ROOT / "tracking" / script), *map(str, arguments)]
    done = subprocess.run(words, text=True, capture_output=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def split(sequence: Path, out: Path) -> None:
    """Copy a video's first half to `out/train`, its second half to `out/test`, in the layout of own data."""
    frames = sorted((sequence / "img").iterdir())
    rows = (sequence / "groundtruth.txt").read_text(encoding="utf-8").splitlines()
    half = len(frames) // 2
    for part, chosen in (("train", slice(0, half)), ("test", slice(half, None))):
        folder = out / part / sequence.name
        (folder / "img").mkdir(parents=True)
        (folder / "groundtruth.txt").write_text("\n".join(rows[chosen]) + "\n", encoding="utf-8")
        for frame in frames[chosen]:
            shutil.copy(frame, folder / "img")


def mean_overlap(truth: Path, boxes: Path) -> float:
    """Return the mean over videos of the mean IoU of all frames but the first."""
    dataset = FolderDataset(truth)
    means = []
    for index in range(len(dataset)):
        sequence = dataset[index]
        boxes_xywh = np.loadtxt(boxes / f"{sequence.name}.txt", delimiter=",")
        means.append(iou(boxes_xywh, sequence.boxes_xywh)[sequence.visible][1:].mean())
    return float(np.mean(means))


@pytest.mark.slow
def test_own_videos_are_tracked_better_after_fine_tuning(tmp_path: Path) -> None:
    sequences = next((place for place in PLACES if place.is_dir()), None)
    if sequences is None or not WEIGHTS.is_file():
        pytest.skip("needs annotated videos and the weights that come with the project")
    videos, run, results = tmp_path / "videos", tmp_path / "run", tmp_path / "results"
    for name in VIDEOS:
        split(sequences / name, videos)
    options = ["--run", run, "--device", "cpu", "--set", "data.validation=[]"]
    command("train.py", "--config", "mmg_small_finetune", *options, folder=videos)
    for name, weights in (("before", WEIGHTS), ("after", run / "latest.pth")):
        options = ["--config", "mmg_small_finetune", "--checkpoint", weights, "--results-dir", results / name]
        command("test.py", "mmg", "folder", *options, "--device", "cpu", folder=videos)
    before, after = (
        mean_overlap(videos / "test", results / name / "mmg" / "mmg_small_finetune" / "folder")
        for name in ("before", "after")
    )
    assert after > before
