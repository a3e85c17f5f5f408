"""The visualize command: film strips from result files, reconstructions from a checkpoint."""

import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lib.config.load import experiment_to_dict
from lib.config.schema import Experiment
from lib.data.frames import read_image
from lib.draw import PALETTE, TRUTH
from lib.models.build import build_model

COMMAND = Path(__file__).resolve().parents[1] / "tracking" / "visualize.py"


def visualize(*arguments: str) -> int:
    return runpy.run_path(str(COMMAND))["main"](arguments)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Return own data: one sequence of four grey pictures of 360 x 270, the target absent from the last."""
    sequence = tmp_path / "videos" / "walk"
    (sequence / "img").mkdir(parents=True)
    for number in range(4):
        cv2.imwrite(str(sequence / "img" / f"{number}.png"), np.full((270, 360, 3), 90, np.uint8))
    (sequence / "groundtruth.txt").write_text("100,100,60,50\n" * 3 + "nan,nan,nan,nan\n")
    (sequence / "absent.txt").write_text("0\n0\n0\n1\n")
    return sequence.parent


def write_result(folder: Path, rows: int = 4) -> str:
    folder.mkdir(parents=True)
    (folder / "walk.txt").write_text("200,120,60,50\n" * rows)
    return str(folder)


def test_a_film_strip_shows_truth_and_prediction(videos: Path, tmp_path: Path) -> None:
    result, out = write_result(tmp_path / "mine"), tmp_path / "strip.png"
    where = ["--root", str(videos), "--out", str(out)]
    code = visualize("track", "folder", "walk", result, "--frames", "2", *where)
    assert code == 0
    strip = read_image(out)
    # Two tiles of 360 x 270 below a legend of 34: the first and the last frame, whose target is absent.
    first, last = strip[34:304, 6:366], strip[34:304, 372:732]
    for tile, truth in ((first, TRUTH), (last, (90, 90, 90))):
        assert tuple(tile[145, 200]) == PALETTE[0]
        assert tuple(tile[125, 100]) == truth


def test_a_strip_of_what_is_not_there_is_refused(videos: Path, tmp_path: Path) -> None:
    result = write_result(tmp_path / "mine")
    where = ["--root", str(videos), "--out", str(tmp_path / "strip.png")]
    with pytest.raises(ValueError, match=r"no sequence 'wlak'.*did you mean 'walk'"):
        visualize("track", "folder", "wlak", result, *where)
    with pytest.raises(ValueError, match="did you mean 'folder'"):
        visualize("track", "foldr", "walk", result, *where)
    short = write_result(tmp_path / "short", rows=2)
    with pytest.raises(ValueError, match=r"walk\.txt has 2 rows, but walk has 4 frames"):
        visualize("track", "folder", "walk", short, *where)
    with pytest.raises(FileNotFoundError, match="nobody"):
        visualize("track", "folder", "walk", "nobody", *where)
    assert not (tmp_path / "strip.png").exists()


def test_reconstructions_of_a_checkpoint(small_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    experiment = small_experiment()
    checkpoint, out = tmp_path / "weights.pth", tmp_path / "rebuilt.png"
    torch.save({"config": experiment_to_dict(experiment), "model": build_model(experiment).state_dict()}, checkpoint)
    command = ["reconstruction", "--checkpoint", str(checkpoint), "--samples", "2", "--out", str(out)]
    assert visualize(*command) == 0
    picture = read_image(out)
    # Two samples of two rows of 160 px under a heading.
    assert picture.shape[0] == 26 + 4 * 166
    assert picture[26:186].std() > 20
