"""The benchmark counts what was read; the commands that pack and cut write what the readers then read."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.config.load import load
from lib.data.benchmark import STAGES, describe, measure_data
from lib.data.datasets import open_dataset
from lib.data.datasets.folder import FolderDataset
from lib.data.memory import make_tree, measure_memory
from lib.data.region_cache import RegionDataset

COMMANDS = Path(__file__).resolve().parents[1] / "tracking"
EXPERIMENT = load("mmg_tiny")
NUM_FRAMES = 20


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        (root / name / "img").mkdir(parents=True)
        for index in range(NUM_FRAMES):
            noise = cv2.resize(rng.integers(0, 255, (15, 20, 3), dtype=np.uint8), (320, 240))
            assert cv2.imwrite(str(root / name / "img" / f"{index:08d}.jpg"), noise)
        (root / name / "groundtruth.txt").write_text("100,80,50,40\n" * NUM_FRAMES)
    return root


def prepare(*arguments: str | Path) -> int:
    spec = importlib.util.spec_from_file_location("prepare_command", COMMANDS / "prepare.py")
    assert spec is not None and spec.loader is not None
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    return command.main([str(argument) for argument in arguments])


def test_benchmark_counts_the_bytes_of_three_files(videos: Path) -> None:
    sizes = [path.stat().st_size for path in videos.glob("*/img/*.jpg")]
    cost = measure_data(FolderDataset(videos), EXPERIMENT, num_samples=4)
    # A triplet that is drawn again is read as well.
    assert 3 * min(sizes) <= cost.bytes_read
    assert set(cost.seconds) == set(STAGES) and min(cost.seconds.values()) > 0
    assert cost.imread_seconds is not None and cost.imread_seconds > 0
    ratio = f"{cost.total / cost.imread_seconds:.3f}"
    assert describe(cost).splitlines()[-1].endswith(ratio)


def test_command_packs_a_data_set(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lmdb"
    assert prepare("lmdb", "folder", "--root", videos, "--out", out, "--full") == 0
    assert f"{2 * NUM_FRAMES + 2} files" in capsys.readouterr().out
    cost = measure_data(open_dataset("folder", "train", out), EXPERIMENT, num_samples=2)
    assert cost.bytes_read > 0 and cost.imread_seconds is None
    with pytest.raises(FileNotFoundError, match="nowhere"):
        prepare("lmdb", "folder", "--root", tmp_path / "nowhere", "--out", out)


def test_command_cuts_a_training_set(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "crops"
    arguments = ("crops", "folder:train", "--root", videos, "--out", out, "--config", "mmg_tiny")
    assert prepare(*arguments) == 0
    assert f"{2 * NUM_FRAMES} regions written" in capsys.readouterr().out
    assert isinstance(open_dataset("folder", "train", out), RegionDataset)
    assert prepare(*arguments) == 0
    assert "2 of them were there already; 0 regions written" in capsys.readouterr().out


def test_memory_is_measured_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("lib.data.memory._SAMPLES_PER_WORKER", 3)
    make_tree(tmp_path, 5)
    memories = measure_memory(tmp_path / "tree", EXPERIMENT, workers=2)
    assert len(memories) == 2
    assert all(0 < memory.private < memory.resident for memory in memories)
