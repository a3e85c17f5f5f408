"""Samples are functions of (seed, epoch, index), and their labels sit on the target."""

import dataclasses

import numpy as np
import pytest
from torch.utils.data import DataLoader

from lib.config.load import load
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.images.frames import ArrayFrames
from lib.data.samples.clips import middle_box, open_clip
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import TrainingSet
from lib.data.sequence import Frames, Sequence, SequenceDataset

EXPERIMENT = load("mmg_tiny")


class SquareFrames(Frames):
    """A white square on black that walks to the right, one frame at a time."""

    def __init__(self, boxes_xywh: np.ndarray) -> None:
        self._boxes_xywh = boxes_xywh
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(self._boxes_xywh)

    def __getitem__(self, index: int) -> np.ndarray:
        self.reads.append(index)
        image = np.zeros((240, 320, 3), dtype=np.uint8)
        left, top, width, height = self._boxes_xywh[index].astype(int)
        image[top : top + height, left : left + width] = 255
        return image


class Squares(SequenceDataset):
    """A data set of one video, or of one picture."""

    def __init__(self, num_frames: int = 40, *, images_only: bool = False, visible: np.ndarray | None = None) -> None:
        boxes = np.array([[40.0 + 4 * frame, 100, 30, 20] for frame in range(num_frames)])
        self.frames = SquareFrames(boxes)
        self.images_only = images_only
        self.names = ["square"]
        seen = np.ones(num_frames, dtype=bool) if visible is None else visible
        self.sequence = Sequence("square", self.frames, boxes, seen, ~seen)

    def __getitem__(self, index: int) -> Sequence:
        return self.sequence


def training_set(dataset, seed: int = 0, **changes) -> TrainingSet:
    data = dataclasses.replace(EXPERIMENT.data, **changes)
    return TrainingSet([MixedSource(dataset, 1.0)], data, EXPERIMENT.crop, seed)


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_same_index_gives_the_same_sample_and_others_differ():
    samples = training_set(SyntheticDataset("train"))
    again = training_set(SyntheticDataset("train"))
    first = samples[sample_id(3, 17)]
    samples[sample_id(0, 0)]
    assert same(first, again[sample_id(3, 17)])
    assert not same(first, samples[sample_id(3, 18)])
    assert not same(first, samples[sample_id(4, 17)])
    assert not same(first, training_set(SyntheticDataset("train"), seed=1)[sample_id(3, 17)])


def test_workers_do_not_change_the_batches():
    def batches(workers: int):
        groups = [[sample_id(0, 4 * group + item) for item in range(4)] for group in range(3)]
        dataset = training_set(SyntheticDataset("train"))
        return list(DataLoader(dataset, batch_sampler=groups, num_workers=workers, collate_fn=dataset.collate))

    for alone, with_worker in zip(batches(0), batches(1), strict=True):
        assert all((a == b).all() for a, b in zip(alone, with_worker, strict=True))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_labels_stay_on_the_target_with_and_without_the_joint_flip(flip):
    samples = training_set(Squares(), flip_probability=flip, brightness=0.0, grayscale_probability=0.0)
    for index in range(40):
        sample = samples[sample_id(0, index)]
        rows, columns = np.nonzero(sample.search[..., 0] > 127)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        expected = np.clip(sample.search_crop_box_xyxy * sample.search.shape[0], 0, sample.search.shape[0])
        np.testing.assert_allclose(found, expected, atol=1.01)


def test_flip_and_grey_are_joint():
    """A frame whose left half is red: after the augmentation either all three crops agree or the flip was not joint."""

    class HalfRed(SquareFrames):
        def __getitem__(self, index: int) -> np.ndarray:
            image = np.zeros((240, 320, 3), dtype=np.uint8)
            image[:, :160] = (200, 40, 40)
            return image

    dataset = Squares(num_frames=30)
    boxes = np.tile(np.array([[140.0, 100.0, 40.0, 40.0]]), (30, 1))
    dataset.sequence = dataclasses.replace(dataset.sequence, frames=HalfRed(boxes), boxes_xywh=boxes)
    samples = training_set(
        dataset, search_center_jitter=0.0, search_scale_jitter=0.0, brightness=0.0, grayscale_probability=0.5
    )
    kinds = set()
    for index in range(60):
        sample = samples[sample_id(0, index)]
        crops = (sample.template, sample.online_template, sample.search)
        left_is_bright = [int(crop[:, 4, 0].max()) > int(crop[:, -4, 0].max()) for crop in crops]
        is_gray = [bool((crop[..., 0] == crop[..., 1]).all()) for crop in crops]
        assert len(set(left_is_bright)) == 1 and len(set(is_gray)) == 1
        kinds.add((left_is_bright[0], is_gray[0]))
    assert len(kinds) == 4


def test_a_photograph_is_repeated_with_its_own_jitter_for_the_search():
    dataset = Squares(num_frames=1, images_only=True)
    samples = training_set(dataset, flip_probability=0.0)
    boxes = {tuple(samples[sample_id(0, index)].search_crop_box_xyxy) for index in range(5)}
    assert len(boxes) == 5


def test_a_short_or_unseen_video_ends_in_an_error_that_names_the_knobs():
    for dataset in (Squares(num_frames=19), Squares(visible=np.arange(40) < 6)):
        with pytest.raises(ValueError, match=r"no usable training sample after 50 draws.*data\.max_redraws"):
            training_set(dataset)[0]


def test_ratios_are_kept():
    video, picture = Squares(), Squares(num_frames=1, images_only=True)
    sources = [MixedSource(video, 3.0), MixedSource(picture, 1.0)]
    samples = TrainingSet(sources, EXPERIMENT.data, EXPERIMENT.crop, seed=0)
    for index in range(400):
        samples[sample_id(0, index)]
    assert len(video.frames.reads) / len(picture.frames.reads) == pytest.approx(3, rel=0.35)


def test_a_curriculum_asks_for_growing_difficulty():
    asked = []

    class Recorder(SyntheticDataset):
        def scene(self, index: int, difficulty: float = 1.0):
            asked.append(difficulty)
            return super().scene(index, difficulty)

    samples = training_set(Recorder("train"), curriculum_epochs=2.0)
    for epoch in (0, 1, 2, 5):
        samples[sample_id(epoch, 0)]
    assert asked[0] == 0.0 and asked[-1] == 1.0 and asked == sorted(asked)
    assert 0.5 in asked


class Painted(SequenceDataset):
    """Videos of plain pictures whose grey level is 10 * video + 100 where the target is absent."""

    def __init__(self, num_videos: int, absent: np.ndarray) -> None:
        self.names = [f"plain-{index}" for index in range(num_videos)]
        self._absent = absent

    def __getitem__(self, index: int) -> Sequence:
        levels = 10 * index + 100 * self._absent
        frames = ArrayFrames([np.full((240, 320, 3), level, np.uint8) for level in levels])
        boxes = np.tile((140.0, 100, 40, 40), (len(levels), 1))
        return Sequence(self.names[index], frames, boxes, ~self._absent, self._absent)


def levels(sample) -> list[int]:
    return [int(crop[crop.shape[0] // 2, crop.shape[1] // 2, 0]) for crop in sample[:3]]


def test_negatives_show_an_absent_target_or_another_video():
    absent = np.arange(40) >= 30
    samples = training_set(Painted(3, absent), negatives=0.5, brightness=0.0, max_gap=200)
    kinds = {"positive": 0, "absent": 0, "stranger": 0}
    for index in range(200):
        sample = samples[sample_id(0, index)]
        template, online, search = levels(sample)
        assert template == online < 100
        if sample.present:
            kinds["positive"] += 1
            assert search == template
            assert (sample.search_crop_box_xyxy[2:] > sample.search_crop_box_xyxy[:2]).all()
        else:
            kinds["absent" if search == template + 100 else "stranger"] += 1
            assert search == template + 100 or (search < 100 and search != template)
            assert not sample.search_crop_box_xyxy.any()
    # Half of all are negatives, half of these of their own video; four standard deviations.
    assert abs(kinds["positive"] - 100) < 29 and abs(kinds["absent"] - 50) < 25 and abs(kinds["stranger"] - 50) < 25


def test_negatives_do_not_become_fewer_where_they_cannot_be_found():
    alone = training_set(Painted(1, np.zeros(40, bool)), negatives=0.5, max_redraws=5)
    with pytest.raises(ValueError, match="too few frames with an absent target, or too few videos"):
        for index in range(40):
            alone[sample_id(0, index)]


@pytest.mark.parametrize("size", [(192, 256), (720, 1280)])
def test_an_absent_target_is_looked_for_in_the_middle_eighth(size):
    left, top, width, height = middle_box(np.zeros((*size, 3), np.uint8))
    assert (left + width / 2, top + height / 2) == (size[1] / 2, size[0] / 2)
    assert (width, height) == (size[1] / 8, size[0] / 8)


def test_drawn_videos_give_negatives_of_both_kinds():
    samples = training_set(SyntheticDataset("train"), negatives=1.0)
    scene = SyntheticDataset("train")
    drawn = [open_clip(scene, index, 1.0).draw_absent(np.random.default_rng(index)) for index in range(40)]
    assert 0 < sum(view is not None for view in drawn) < 40
    assert not any(samples[sample_id(0, index)].present for index in range(10))


def test_a_source_keeps_its_share_though_half_of_its_videos_are_too_short():
    class HalfShort(Squares):
        short = Squares(num_frames=5).sequence

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sequence:
            return self.short if index else self.sequence

    class Grey(SquareFrames):
        def __getitem__(self, index: int) -> np.ndarray:
            return np.full((240, 320, 3), 128, dtype=np.uint8)

    whole = Squares()
    whole.sequence = dataclasses.replace(whole.sequence, frames=Grey(whole.sequence.boxes_xywh))
    sources = [MixedSource(whole, 1.0), MixedSource(HalfShort(), 1.0)]
    data = dataclasses.replace(EXPERIMENT.data, brightness=0.0)
    samples = TrainingSet(sources, data, EXPERIMENT.crop, 0)
    share = np.mean([(samples[sample_id(0, index)].search == 128).mean() > 0.2 for index in range(400)])
    assert abs(share - 0.5) < 0.08  # three standard deviations; drawn anew over all sources, it was 0.67
