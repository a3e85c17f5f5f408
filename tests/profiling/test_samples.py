"""The benchmark counts what was read; the commands that pack and cut write what the readers then read."""

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import command

from lib.config.load import load
from lib.data.crop_cache.cache import CropDataset
from lib.data.datasets import open_dataset
from lib.data.datasets.folder import FolderDataset
from lib.data.images.jpeg import DECODERS
from lib.data.samples.mixture import MixedSource
from lib.data.samples.training_set import TrainingSet
from lib.profiling import samples as benchmark_crops
from lib.profiling.samples import (
    compare_decoders,
    profile_data,
    slowest_functions,
)
from lib.profiling.videos import make_videos

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
    return command("prepare")([str(argument) for argument in arguments])


def test_every_decoder_is_timed_or_its_absence_explained(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_JPEG", "opencv")
    title, *lines = compare_decoders([path.read_bytes() for path in sorted(videos.rglob("*.jpg"))[:2]])
    assert "MMG_JPEG" in title and os.environ["MMG_JPEG"] == "opencv"
    for name, line in zip(DECODERS, lines, strict=True):
        assert re.fullmatch(rf"  +(\d+\.\d\d ms  {name} .*|-  +{name} .*pip install.*)", line)


def test_the_functions_that_take_most_are_named(videos: Path) -> None:
    samples = TrainingSet([MixedSource(FolderDataset(videos), 1.0)], EXPERIMENT.data, EXPERIMENT.crop, seed=0)
    shares = [float(line.split("%")[0]) for line in slowest_functions(samples, 3)]
    assert shares == sorted(shares, reverse=True) and 30 < sum(shares) <= 100.1


def test_frames_to_measure_with_have_the_size_and_the_targets(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for index, shape in enumerate(((200, 300), (500, 400), (240, 90))):
        photograph = cv2.resize(rng.integers(50, 255, (9, 9, 3), dtype=np.uint8), shape[::-1])
        assert cv2.imwrite(str(tmp_path / "photographs" / f"{index}.png"), photograph)
    make_videos(tmp_path / "drawn", (60.0, 200.0), 2, quality=30)
    make_videos(tmp_path / "pieced", (60.0, 200.0), 2, photographs=tmp_path / "photographs")
    for name in ("drawn", "pieced"):
        dataset = FolderDataset(tmp_path / name)
        for index, side in enumerate((60.0, 200.0)):
            sequence = dataset[index]
            assert sequence.frames[1].shape == (720, 1280, 3)
            sides = np.sqrt(sequence.boxes_xywh[:, 2] * sequence.boxes_xywh[:, 3])
            assert (np.abs(np.log(sides / side)) < 0.5).all()
    pieced = FolderDataset(tmp_path / "pieced")[0].frames[0]
    assert pieced.min() > 30  # no place is left without a photograph
    with pytest.raises(FileNotFoundError, match="no photographs"):
        make_videos(tmp_path / "none", (60.0,), 1, photographs=tmp_path / "drawn" / "nowhere")
    with pytest.raises(ValueError, match="quality"):
        profile_data(EXPERIMENT, None, 1, 0, quality=101)


@pytest.mark.slow
def test_report_on_crops_compares_frames_with_their_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_crops, "SHARES", {250.0: 1.0})
    monkeypatch.setattr(benchmark_crops, "NUM_VIDEOS", 1)
    report = benchmark_crops.profile_crops(EXPERIMENT, num_samples=3).splitlines()
    row, mean = report[2].split()[4:], report[3].split()[3:]
    assert row == mean and len(row) == 7  # of one size, the mean is that size
    before, after, ratio = (float(word) for word in row[:3])
    assert ratio == pytest.approx(before / after, rel=0.05) and ratio > 3


def test_command_packs_a_data_set(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lmdb"
    assert prepare("lmdb", "folder", "--root", videos, "--out", out, "--full") == 0
    assert f"{2 * NUM_FRAMES + 2} files" in capsys.readouterr().out
    packed, loose = (open_dataset("folder", "train", root) for root in (out, videos))
    np.testing.assert_array_equal(packed[0].frames[3], loose[0].frames[3])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        prepare("lmdb", "folder", "--root", tmp_path / "nowhere", "--out", out)


def test_command_cuts_a_training_set(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "crops"
    arguments = ("crops", "folder:train", "--root", videos, "--out", out, "--config", "mmg_tiny")
    assert prepare(*arguments) == 0
    assert f"crops of {2 * NUM_FRAMES} frames written" in capsys.readouterr().out
    assert isinstance(open_dataset("folder", "train", out), CropDataset)
    assert prepare(*arguments) == 0
    assert "2 of them were there already; crops of 0 frames written" in capsys.readouterr().out
