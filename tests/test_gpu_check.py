"""The GPU check: its parts share the time and survive each other, its pack is read back, and it rehearses."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lib.config.load import load
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import Reach
from lib.data.datasets.folder import FolderDataset
from lib.data.datasets.stills import StillsDataset
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.storage.tree import open_tree
from lib.models.trained import read_trained_model

ROOT = Path(__file__).resolve().parents[1]
GPU = ROOT / "experiments" / "gpu"
PARTS = {
    "good": "Path(sys.argv[1], 'good.json').write_text(json.dumps({'line': 'found 3'}))",
    "broken": "raise RuntimeError('no such thing')",
    "slow": "Path(sys.argv[1], 'slow.json').write_text(json.dumps({'line': 'half'})); time.sleep(60)",
    "last": "Path(sys.argv[1], 'last.json').write_text(json.dumps({'line': 'allowed ' + sys.argv[3]}))",
}


def load_script(name: str) -> ModuleType:
    """Import a script of the check, which lies beside no package."""
    spec = importlib.util.spec_from_file_location(f"gpu_{name}", GPU / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_part_that_fails_or_is_late_leaves_its_trace_and_the_next_one_starts(tmp_path, monkeypatch):
    check = load_script("check")
    for name, work in PARTS.items():
        text = f"import json, sys, time\nfrom pathlib import Path\n{work}\n"
        (tmp_path / f"part_{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(check, "HERE", tmp_path)
    monkeypatch.setattr(check, "PARTS", {"good": 2.0, "broken": 4.0, "slow": 2.0, "last": 2.0})
    out = tmp_path / "out"
    assert check.main([str(out), str(10 / 60), "--parts", *PARTS]) == 2
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert [summary.count(f"**{name}**") for name in PARTS] == [1, 1, 1, 1]
    assert "found 3" in summary
    assert "RuntimeError: no such thing" in summary
    assert "FAILED: half" in summary
    found = {name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in PARTS}
    assert found["slow"]["stopped_by_its_box"]
    assert found["slow"]["seconds"] < 5
    assert "error" not in found["good"]
    assert found["last"]["seconds_allowed"] > 4, "it has its own two seconds and what the broken part left"


def test_a_frame_is_cut_to_what_crops_reach_and_they_stay_the_same():
    pack = load_script("pack")
    experiment = load("mmg_tiny")
    reach = Reach.of(experiment.data, experiment.crop).search
    video = SyntheticDataset("train", num_sequences=1, num_frames=8)[0]
    image, box_xywh = video.frames[5], video.boxes_xywh[5]
    part, moved_xywh = pack.cut(video, 5, reach)
    assert part.shape[0] * part.shape[1] <= image.shape[0] * image.shape[1]
    for shift in (0.0, 0.5):  # of the target's sides
        crops = [
            CropWindow.around(box + shift * np.array((box[2], box[3], 0, 0)), 2.5, 80).cut(picture).astype(int)
            for picture, box in ((image, box_xywh), (part, moved_xywh))
        ]
        assert np.abs(crops[0] - crops[1]).mean() < 3
    halved, half_xywh = pack.shrink(video, 5, max(image.shape[:2]) // 2)
    assert max(halved.shape[:2]) == max(image.shape[:2]) // 2
    np.testing.assert_allclose(half_xywh, box_xywh / 2, rtol=0.02)


def test_a_pack_is_read_by_the_data_sets_and_one_that_is_too_large_is_not_written(tmp_path, monkeypatch, capsys):
    pack, data = load_script("pack"), load_script("report").draw_data(tmp_path / "data")
    monkeypatch.setattr(pack, "repository", lambda: iter([("README.md", b"read me")]))
    options = ["--stills", str(data / "stills"), "--videos", str(data / "videos"), "--excerpts", str(data / "excerpts"),
               "--config", "mmg_tiny", "--start", str(tmp_path / "w.safetensors")]  # fmt: skip
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    out = tmp_path / "pack.zip"
    with pytest.raises(ValueError, match=r"more than --limit 0\.01 MiB"):
        pack.main([str(out), *options, "--limit", "0.01"])
    assert not list(tmp_path.glob("*.zip"))
    limit = 0.2
    pack.main([str(out), *options, "--limit", str(limit)])
    assert 0.9 * limit * 2**20 < out.stat().st_size <= limit * 2**20, "photographs fill what is left"
    assert "photographs" in capsys.readouterr().out
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path)
    packed = tmp_path / "mmg" / "gpu_data"
    assert (packed / "start.safetensors").read_bytes() == b"weights"
    album = StillsDataset(open_tree(packed / "stills"), "train").album
    assert album[0].objects_xywh.shape[0] >= 1, "its outline is there"
    for split in ("train", "val"):
        videos = FolderDataset(open_tree(packed / "videos" / split))
        assert len(videos[0]) == FolderDataset(open_tree(data / "videos" / split))[0].visible[::3].sum() > 4
        assert np.isfinite(videos[0].boxes_xywh).all()
    assert len(FolderDataset(open_tree(packed / "excerpts"))[0]) == 24


@pytest.mark.slow
def test_the_whole_check_rehearses_on_a_cpu_without_optional_packages(tmp_path):
    for name in ("simplejpeg", "lmdb", "pycocotools", "matplotlib", "onnx", "onnxscript", "vot"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is hidden')\n", encoding="utf-8")
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    out = tmp_path / "out"
    command = ["bash", str(GPU / "check.sh"), str(out), "60", "--tiny", "--device", "cpu"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert done.returncode == 0, summary + done.stdout + done.stderr
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*.json") if path.stem != "batches"
    }
    assert set(found) == {"tests", "frames", "training", "tables", "tracker"}
    for part in found.values():
        assert part["environment"]["packages.torch"]
        assert part["command"]
        assert part["line"] in summary
    outcomes = {test["name"].rpartition("::")[2]: test for test in found["tests"]["tests"]}
    assert "failed" not in {test["outcome"] for test in outcomes.values()}
    skipped = {test["said"] for test in outcomes.values() if test["outcome"] == "skipped"}
    assert {said.removeprefix("Skipped: needs ") for said in skipped if "needs" in said} == {
        "NCCL", "CUDA graphs", "CUDA's sync debug mode", "a GPU's memory, which alone is predicted",
    }  # fmt: skip
    assert [row["frames_per_second"] > 0 for row in found["frames"]["frames"]]
    assert found["training"]["rows"][0]["memory_computed"] > 0
    assert {"table4_none", "table4_all"} <= found["tables"]["auc"]["excerpts"].keys()
    weights = out / "tracker.safetensors"
    assert weights.stat().st_size <= 15e6
    assert read_trained_model(weights).experiment.name == found["tracker"]["config"]
    assert "aten::" in (out / "training_profile.txt").read_text(encoding="utf-8")
