"""The report on the loop of a test: its parts add up, and what they are of is what was run."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import SMALL, save_random_weights

from lib.config.load import load
from lib.profiling.loop import loop_cost, profile_track


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 12 pictures."""
    folder = tmp_path_factory.mktemp("video")
    for number in range(12):
        picture = np.random.default_rng(number).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:02d}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    save_random_weights(path, load("mmg_tiny", (*SMALL, "track.update=none")))
    return path


def test_the_parts_of_a_frame_add_up_to_the_time_that_it_took() -> None:
    """Two copies of nine frames: a step takes 4 s, 1 s later the next begins, and writing takes 2 s."""
    first = [10.0, 20.0]  # when the first frames were done
    steps = [100.0 + 5 * number for number in range(8)]
    seconds = np.full((2, 9), 2.0)  # half a step each
    seconds[:, 0] = 7
    cost = loop_cost(seconds, first + steps, steps[-1] + 2, None)
    # The clock starts after five steps: three are left, and 6 frames in them.
    assert (cost.batch, cost.frames, cost.decode) == (2, 6, None)
    wall = 3 * 5 + 2
    assert [cost.track, cost.write, cost.wait] == pytest.approx([2.0, 2 / 6, 3 / 6])
    assert [cost.busy, cost.frames_per_second] == pytest.approx([12 / wall, 6 / wall])
    assert cost.videos_per_hour == pytest.approx(3600 * 6 / wall / 9)
    assert loop_cost(seconds[:1], first[:1] + steps, steps[-1], [9.0] * 6 + [1, 2, 3]).decode == 2


def test_a_video_is_profiled(video: Path, weights: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    report = profile_track(
        video, None, checkpoint=weights, box="40,30,20,16", num_frames=10, device_name="cpu", json_file=figures
    ).splitlines()
    assert "10 frames of 128 x 96" in report[0] and str(weights) in report[0]
    (cost,) = json.loads(figures.read_text())["costs"]
    assert (cost["batch"], cost["frames"]) == (1, 4)
    assert cost["wait"] + cost["track"] + cost["write"] == pytest.approx(1 / cost["frames_per_second"])
    assert report[2].split()[0] == "1" and f"{cost['busy']:.1%}" in report[2]


@pytest.mark.slow
def test_a_drawn_video_is_profiled_in_batches_and_with_random_weights(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    profile_track(None, "mmg_tiny", batches=[1, 2], num_frames=8, device_name="cpu", json_file=figures)
    costs = json.loads(figures.read_text())["costs"]
    assert [(cost["batch"], cost["frames"]) for cost in costs] == [(1, 2), (2, 4)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box": None}, "give VIDEO and --box"),
        ({"checkpoint": None}, "--config NAME for random weights"),
        ({"num_frames": 7}, "7 frames are too few"),
        ({"box": "900,30,20,16"}, "lies outside the frame"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str, video: Path, weights: Path) -> None:
    with pytest.raises(ValueError, match=message):
        profile_track(video, None, **{"checkpoint": weights, "box": "40,30,20,16", "device_name": "cpu", **changes})
