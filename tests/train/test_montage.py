"""Montages of training samples: every source under its name, boxes on the targets, and the command that draws them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import command

from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.images.frames import read_image
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import TrainingSet
from lib.draw import TRUTH
from lib.train.pictures import picture_training_samples


def visualize(*arguments: str) -> int:
    return command("visualize")(arguments)


def test_a_montage_shows_the_very_samples_and_their_boxes(small_experiment):
    experiment = small_experiment()
    picture = picture_training_samples(experiment, 3, seed=5, columns=2)
    # Two samples in a row of 128 + 2 + 258 px with 6 px on either side, two rows of 258 + 12 below a title of 26.
    assert picture.shape == (26 + 2 * 270, 2 * 400, 3)
    samples = TrainingSet([MixedSource(SyntheticDataset("train"), 1.0)], experiment.data, experiment.crop, 5)
    third = samples[sample_id(10**6, 2)]
    top, left = 26 + 270, 6
    search = picture[top : top + 258, left + 130 : left + 388]
    assert (cv2.resize(third.search, (258, 258), interpolation=cv2.INTER_NEAREST) == search).mean() > 0.8
    template = picture[top : top + 128, left : left + 128]
    np.testing.assert_array_equal(template, cv2.resize(third.template, (128, 128), interpolation=cv2.INTER_NEAREST))
    x, y = np.rint(third.search_crop_box_xyxy[:2].clip(0.02, 0.98) * 258).astype(int)
    assert (search[y - 3 : y + 4, x - 3 : x + 4] == TRUTH).all(axis=-1).any()
    # Where the fourth would be there is paper.
    assert (picture[top : top + 258, 400 + 6 :] == 250).all()


def test_what_cannot_be_drawn_is_refused(small_experiment):
    two = small_experiment(
        "data.sources=[{dataset: synthetic, split: train, ratio: 1}, {dataset: stills, split: train, ratio: 1}]"
    )
    with pytest.raises(ValueError, match="cannot be the folder of 2 sources"):
        picture_training_samples(two, 1, seed=0, root=Path("somewhere"))


def test_the_command_draws_any_data_set(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for number in range(30):
        blotches = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (120, 90))
        cv2.imwrite(str(tmp_path / "photographs" / f"{number}.png"), blotches)
    out = tmp_path / "samples.png"
    words = ["samples", "--dataset", "stills", "--root", str(tmp_path / "photographs"), "--samples", "2"]
    assert visualize(*words, "--out", str(out)) == 0
    picture = read_image(out)
    assert picture.shape == (26 + 270, 2 * 400, 3)
    assert picture[26:284, 136:394].std() > 20
    with pytest.raises(ValueError, match="did you mean 'stills'"):
        visualize("samples", "--dataset", "stils", "--out", str(out))
