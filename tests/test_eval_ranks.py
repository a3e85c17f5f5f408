"""torchrun: ranks share the sequences, report as one, and fail as one."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.eval.ranks import Ranks, join_ranks

ROOT = Path(__file__).resolve().parents[1]
NAMES = [f"video-{index}" for index in range(5)]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Write five videos of 2 to 6 frames in the own-data layout."""
    root = tmp_path / "videos"
    for index, name in enumerate(NAMES):
        folder = root / name / "img"
        folder.mkdir(parents=True)
        (root / name / "groundtruth.txt").write_text(f"{index},1,8,8\n" * (index + 2))
        for frame in range(index + 2):
            cv2.imwrite(str(folder / f"{frame + 1:08d}.png"), np.zeros((16, 16, 3), np.uint8))
    return root


def torchrun(videos: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Test the static tracker with two ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(ROOT / "tracking" / "test.py"), "static", "folder", "--root", str(videos), "--device", "cpu"]
    command += ["--results-dir", str(videos.parent / "results"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=ROOT, check=False)


def test_alone_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_ranks() as ranks:
        assert ranks == Ranks(0, 1, 0) and ranks.is_main
        assert ranks.from_main(lambda: 7) == 7 and ranks.gather("x") == ["x"]


@pytest.mark.slow
def test_two_ranks_share_the_sequences_and_report_once(videos: Path) -> None:
    done = torchrun(videos)
    assert done.returncode == 0, done.stderr
    folder = videos.parent / "results" / "static" / "default" / "folder"
    for index, name in enumerate(NAMES):
        assert (folder / f"{name}.txt").read_text() == f"{index}.0000,1.0000,8.0000,8.0000\n" * (index + 2)
    assert done.stdout.count("5 sequences tracked") == 1 and done.stdout.count("results in") == 1
    # Nothing is left for a second run, whichever rank did what.
    assert "5 sequences had complete results" in torchrun(videos).stdout


@pytest.mark.slow
def test_a_failure_on_one_rank_is_the_failure_of_all(videos: Path) -> None:
    (videos / "video-0" / "img" / "00000002.png").write_bytes(b"not a picture")
    done = torchrun(videos)
    assert done.returncode != 0
    assert done.stderr.count("FAILED video-0") == 1 and "00000002.png" in done.stderr
    folder = videos.parent / "results" / "static" / "default" / "folder"
    assert sorted(path.stem for path in folder.glob("video-?.txt")) == NAMES[1:], "the others are finished"


@pytest.mark.slow
def test_a_folder_that_the_main_rank_may_not_use_stops_all(videos: Path) -> None:
    folder = videos.parent / "results" / "static" / "default" / "folder"
    folder.mkdir(parents=True)
    (folder / "video-0.txt").write_text("1,2,3,4\n")
    done = torchrun(videos)
    assert done.returncode != 0 and "error:" in done.stderr and "--overwrite" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["video-0.txt"]
