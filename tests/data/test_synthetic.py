"""The embedded data set as a whole: its splits are apart, its statistics are those of a tracking benchmark."""

import numpy as np
import pytest

from lib.data.datasets.synthetic import SPLITS, SyntheticDataset
from lib.data.sequence import Sequence
from lib.data.synthetic import SceneStyle
from lib.data.synthetic.record import SceneDataset
from lib.eval.score.metrics import iou


@pytest.fixture(scope="module")
def sequences() -> list[Sequence]:
    """The held-out sequences that the demo is judged on."""
    dataset = SyntheticDataset("test")
    return [dataset[index] for index in range(len(dataset))]


def test_splits_share_no_seed_and_no_stream() -> None:
    seeds = {split: [SyntheticDataset(split, 300).seed(index) for index in range(300)] for split in SPLITS}
    every = [seed for split in SPLITS for seed in seeds[split]]
    assert len(set(every)) == 300 * len(SPLITS)
    streams = {tuple(np.random.SeedSequence(seed).generate_state(4).tolist()) for seed in every}
    assert len(streams) == len(every)


def test_a_sequence_does_not_depend_on_how_many_there_are() -> None:
    few, many = SyntheticDataset("test", 4)[3], SyntheticDataset("test", 50)[3]
    assert few.name == many.name
    np.testing.assert_array_equal(few.boxes_xywh, many.boxes_xywh)
    np.testing.assert_array_equal(few.frames[40], many.frames[40])


def test_a_sequence_is_its_scene() -> None:
    dataset = SyntheticDataset("train", 10, num_frames=30)
    assert isinstance(dataset, SceneDataset)
    sequence, scene = dataset[7], dataset.scene(7)
    assert sequence.masks is not None
    assert len(sequence) == len(sequence.masks) == len(sequence.boxes_xywh) == scene.num_frames == 30
    for index in (0, 11, 29, -1):
        frame = scene.render(index % 30)
        np.testing.assert_array_equal(sequence.frames[index], frame.image)
        np.testing.assert_array_equal(sequence.masks[index], frame.label.mask)
        np.testing.assert_array_equal(sequence.boxes_xywh[index], frame.label.box_xywh)
        assert sequence.visible[index] == frame.label.visible
    with pytest.raises(IndexError):
        sequence.frames[30]
    with pytest.raises(IndexError):
        sequence.masks[-31]


def test_labels_agree_with_each_other(sequences: list[Sequence]) -> None:
    for sequence in sequences:
        visibility = sequence.labels["visibility"]
        assert sequence.visible[0] and visibility[0] == 1
        assert ((visibility >= 0) & (visibility <= 1)).all()
        np.testing.assert_array_equal(sequence.absent, visibility == 0)
        np.testing.assert_array_equal(sequence.absent, np.isnan(sequence.boxes_xywh).all(axis=1))
        assert not (sequence.visible & (visibility < 0.2)).any()
        assert (sequence.boxes_xywh[~sequence.absent, 2:] >= 1).all()


def test_motion_is_trackable_and_wide(sequences: list[Sequence]) -> None:
    steps, static_success = [], []
    for sequence in sequences:
        boxes = sequence.boxes_xywh
        centres, sides = boxes[:, :2] + boxes[:, 2:] / 2, np.sqrt(boxes[:, 2:].prod(axis=1))
        fully = sequence.labels["visibility"] == 1
        step = np.linalg.norm(np.diff(centres, axis=0), axis=1) / sides[:-1]
        steps.extend(step[fully[1:] & fully[:-1]])
        overlap = np.nan_to_num(iou(np.repeat(boxes[:1], len(boxes), axis=0), boxes))  # absent frames are misses
        static_success.append([(overlap > threshold).mean() for threshold in np.arange(0, 1.05, 0.05)])
    assert 0.05 < np.median(steps) < 0.2
    assert np.quantile(steps, 0.95) < 0.45  # a search window of four sides reaches 1.5 sides to either side
    assert np.mean(static_success) < 0.2


def test_hard_events_happen_but_do_not_rule(sequences: list[Sequence]) -> None:
    visibility = np.array([sequence.labels["visibility"] for sequence in sequences])
    assert 0.001 < (visibility == 0).mean() < 0.08
    assert 0.04 < (visibility == 0).any(axis=1).mean() < 0.35
    assert 0.15 < (visibility < 0.8).any(axis=1).mean() < 0.6
    assert (visibility == 1).mean() > 0.75


def test_targets_come_in_many_sizes() -> None:
    dataset = SyntheticDataset("train", 150)
    sides = [np.sqrt(dataset.scene(index).label(0).box_xywh[2:].prod()) for index in range(len(dataset))]
    assert min(sides) < 22 and max(sides) > 55
    assert min(sides) > 12 and max(sides) < 110


def test_difficulty_scales_the_style_it_is_given() -> None:
    calm = SyntheticDataset("train", 200, style=SceneStyle(difficulty=0.5))
    same = SyntheticDataset("train", 200, style=SceneStyle(difficulty=1.0))
    np.testing.assert_array_equal(calm.scene(3).render(9).image, same.scene(3, difficulty=0.5).render(9).image)
    easy = [same.scene(index, difficulty=0).label(60).visibility for index in range(40)]
    assert min(easy) > 0.5


def test_names_are_unique_and_cheap() -> None:
    names = SyntheticDataset("train").names
    assert len(names) == 1_000_000
    assert names[0] == "train-0000" and names[-1] == "train-999999" and names[123456] == "train-123456"
    assert len({names[index] for index in range(0, 1_000_000, 9973)}) == len(range(0, 1_000_000, 9973))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no split 'tset'; choose one of train, val, test"):
        SyntheticDataset("tset")
    with pytest.raises(ValueError, match="not 0 and 100"):
        SyntheticDataset("test", 0)
    with pytest.raises(IndexError, match="sequence 40 of 40"):
        SyntheticDataset("test").scene(40)
