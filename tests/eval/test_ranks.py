"""torchrun: ranks share the sequences, report as one, and fail as one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_own_video

ROOT = Path(__file__).resolve().parents[2]
TEST = ROOT / "tracking" / "test.py"
NAMES = [f"video-{index}" for index in range(5)]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Write five videos of 2 to 6 frames in the own-data layout."""
    root = tmp_path / "videos"
    for index, name in enumerate(NAMES):
        black = np.zeros((16, 16, 3), np.uint8)
        write_own_video(root / name, [black] * (index + 2), f"{index},1,8,8\n" * (index + 2))
    return root


def torchrun(videos: Path, *arguments: str, ranks: int = 2, script: Path = TEST) -> subprocess.CompletedProcess[str]:
    """Test the static tracker with several ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    command += [str(script), "static", "folder", "--root", str(videos), "--device", "cpu"]
    command += ["--results-dir", str(videos.parent / "results"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500, cwd=ROOT, check=False)


def boxes(videos: Path) -> dict[str, str]:
    """Return the text of all box files."""
    folder = videos.parent / "results" / "static" / "default" / "folder"
    return {path.stem: path.read_text() for path in sorted(folder.glob("video-?.txt"))}


EXPECTED = {name: f"{index}.0000,1.0000,8.0000,8.0000\n" * (index + 2) for index, name in enumerate(NAMES)}

# tracking/test.py, but for what the static tracker does on rank 1.
SABOTAGED = """
import os, runpy, signal, sys
import lib.tracker
from lib.tracker.classical import StaticBox

class Killed(StaticBox):
    def track(self, image):
        os.kill(os.getpid(), signal.SIGKILL)

def refuse(spec):
    raise ValueError("there is no room on this machine")

if os.environ["RANK"] == "1":
    lib.tracker.TRACKERS["static"] = {answer}
sys.path.insert(0, os.path.dirname({test!r}))  # as Python does for a script
runpy.run_path({test!r}, run_name="__main__")
"""


def sabotaged(folder: Path, answer: str) -> Path:
    script = folder / "sabotaged.py"
    script.write_text(SABOTAGED.format(answer=answer, test=str(TEST)))
    return script


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_sequences_and_report_once(videos: Path, ranks: int) -> None:
    done = torchrun(videos, ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert boxes(videos) == EXPECTED
    assert done.stdout.count("5 sequences tracked") == 1 and done.stdout.count("results in") == 1
    # Nothing is left for a second run, whichever rank did what.
    assert "5 sequences had complete results" in torchrun(videos).stdout


@pytest.mark.slow
def test_a_failure_on_one_rank_is_the_failure_of_all(videos: Path) -> None:
    (videos / "video-0" / "00000002.png").write_bytes(b"not a picture")
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


@pytest.mark.slow
def test_ranks_with_workers_of_their_own(videos: Path) -> None:
    done = torchrun(videos, "--workers", "2")
    assert done.returncode == 0 and boxes(videos) == EXPECTED, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "message"),
    [("refuse", "error: there is no room on this machine"), ("lambda spec: Killed()", "Signal 9 (SIGKILL)")],
    ids=["cannot build its tracker", "is killed"],
)
def test_a_rank_that_fails_ends_the_run_and_the_next_one_completes_it(
    answer: str, message: str, videos: Path, tmp_path: Path
) -> None:
    done = torchrun(videos, script=sabotaged(tmp_path, answer))
    assert done.returncode != 0 and message in done.stderr
    assert boxes(videos).items() <= EXPECTED.items()
    assert torchrun(videos).returncode == 0 and boxes(videos) == EXPECTED
