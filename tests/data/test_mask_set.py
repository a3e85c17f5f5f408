"""Mask samples: crop, mask and box agree, whatever the jitter and flip; a sample is a function of its number."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.config.refine_schema import RefineCrop, RefineData
from lib.data.crop import CropWindow, StretchedWindow
from lib.data.datasets import open_dataset
from lib.data.images.frames import ArrayFrames, ImageFiles
from lib.data.samples.mask_set import MaskSet, draw_masked_views
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.sequence import Sequence, SequenceDataset

PLAIN = RefineData(
    sources=(), validation=(), samples_per_epoch=10, validation_samples=0, max_gap=50, center_jitter=0.25,
    scale_jitter=0.25, flip_probability=0.5, brightness=0.0, grayscale_probability=0.0, max_redraws=5,
)  # fmt: skip
CROP = RefineCrop(size=64, factor=2.0)


class Painted(SequenceDataset):
    """Videos whose pictures show nothing but the mask: white on the target, black elsewhere."""

    names = ("painted",)

    def __init__(self, masked: bool = True, num_frames: int = 30) -> None:
        masks, boxes = [], []
        for frame in range(num_frames):
            mask = np.zeros((120, 160), dtype=bool)
            mask[30 + frame : 60 + frame, 40:80] = True
            mask[30 + frame : 45 + frame, 40:55] = False  # an L, so that a flip shows
            masks.append(mask)
            boxes.append((40.0, 30.0 + frame, 40.0, 30.0))
        images = [np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2) for mask in masks]
        visible = np.ones(num_frames, dtype=bool)
        self._sequence = Sequence(
            "painted", ArrayFrames(images), np.array(boxes), visible, ~visible, ArrayFrames(masks) if masked else None
        )

    def __getitem__(self, index: int) -> Sequence:
        return self._sequence


def test_the_mask_is_where_the_picture_shows_it():
    samples = MaskSet([MixedSource(Painted(), 1)], PLAIN, CROP, seed=4)
    flips = 0
    for index in range(12):
        sample = samples[sample_id(0, index)]
        assert np.array_equal(sample.mask, sample.search[..., 0] >= 128), index
        assert 0.05 < sample.mask.mean() < 0.9
        # The reference box is exact: in the middle, half as wide and high as the crop.
        assert sample.reference_crop_box_xyxy == pytest.approx([0.25, 0.25, 0.75, 0.75])
        left, top, right, bottom = (round(64 * value) for value in sample.reference_crop_box_xyxy)
        assert not sample.reference[: top - 1, :, 0].any() and sample.reference[bottom - 2, left + 2 : right - 2].all()
        corner = sample.reference[top + 4, [left + 4, right - 5], 0]
        flips += corner[0] > corner[1]
    assert 0 < flips < 12


def test_a_batch_has_channels_first_and_stays_uint8():
    samples = MaskSet([MixedSource(Painted(), 1)], PLAIN, CROP, seed=4)
    pair = [samples[sample_id(0, index)] for index in range(2)]
    batch = samples.collate(pair)
    assert batch.num_samples == 2
    assert batch.search.shape == (2, 3, 64, 64) and str(batch.search.dtype) == "torch.uint8"
    assert np.array_equal(batch.search[1].permute(1, 2, 0).numpy(), pair[1].search)
    assert np.array_equal(batch.mask[1].numpy(), pair[1].mask)


def test_videos_without_masks_are_passed_over_and_a_set_of_them_is_an_error():
    mixed = MaskSet([MixedSource(Painted(masked=False), 1), MixedSource(Painted(), 1)], replace(PLAIN, max_redraws=50),
                    CROP, seed=1)  # fmt: skip
    assert mixed[sample_id(0, 0)].mask.any()
    with pytest.raises(ValueError, match="mask/"):
        MaskSet([MixedSource(Painted(masked=False), 1)], PLAIN, CROP, seed=1)[sample_id(0, 0)]


def test_frames_of_a_sample_are_no_farther_apart_than_allowed():
    # The target moves down a pixel a frame; in crops around its own boxes it stands still, so look at the draw itself.
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(40):
        views = draw_masked_views(Painted(), rng, max_gap=5, difficulty=1.0)
        assert views is not None
        gaps.append(abs(views[0].box_xywh[1] - views[1].box_xywh[1]))
    assert min(gaps) >= 1 and max(gaps) <= 5


def test_unreadable_frames_are_an_error_or_counted(tmp_path: Path):
    broken = Painted()
    missing = ImageFiles([tmp_path / f"{frame}.png" for frame in range(30)])
    broken._sequence = replace(broken[0], frames=missing)
    with pytest.raises(ValueError, match=r"\.png does not exist"):
        MaskSet([MixedSource(broken, 1)], PLAIN, CROP, seed=1)[sample_id(0, 0)]
    sources = [MixedSource(broken, 1), MixedSource(Painted(), 1)]
    samples = MaskSet(sources, replace(PLAIN, on_bad_frame="skip", max_redraws=50), CROP, seed=1)
    with pytest.warns(UserWarning, match="drew another"):
        for index in range(6):
            assert samples[sample_id(0, index)].mask.any()
    assert samples.num_skipped > 0


def test_photographs_with_outlines_as_coco_writes_them(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[10:40, 20:50] = 255
    cv2.imwrite(str(tmp_path / "val2017" / "7.png"), picture)
    outline = [20, 10, 50, 10, 50, 40, 20, 40]
    annotation = {
        "images": [{"id": 7, "file_name": "7.png", "height": 60, "width": 80}],
        "annotations": [{"id": 1, "image_id": 7, "bbox": [20, 10, 30, 30], "segmentation": [outline]}],
    }
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(annotation))
    dataset = open_dataset("coco", "val", tmp_path)
    masks = dataset[0].masks
    assert masks is not None and np.array_equal(masks[0], picture[..., 0] > 0)
    samples = MaskSet([MixedSource(dataset, 1)], replace(PLAIN, max_redraws=50), CROP, seed=3)
    for index in range(4):
        sample = samples[sample_id(0, index)]
        assert sample.mask.any()


def test_a_square_box_gives_the_same_crop_as_the_trackers_window():
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    box = np.array([30.3, 20.7, 25.0, 25.0])
    stretched, square = StretchedWindow.around(box, 2.0, 48), CropWindow.around(box, 2.0, 48)
    assert np.array_equal(stretched.cut(image), square.cut(image))
    assert stretched.to_crop(box) == pytest.approx(square.to_crop(box))


def test_a_mask_comes_back_to_where_it_was_cut():
    rng = np.random.default_rng(2)
    for _ in range(8):
        left, top, width, height = rng.uniform((-8, -8, 20, 20), (100, 70, 60, 50))
        rows, columns = np.mgrid[:100, :140]
        across, down = (columns + 0.5 - left) / width - 0.5, (rows + 0.5 - top) / height - 0.5
        mask = across**2 + down**2 <= 0.25  # an ellipse
        window = StretchedWindow.around(np.array([left, top, width, height]), 2.0, 128)
        back = window.paste(window.cut_mask(mask).astype(np.float32), 100, 140) >= 0.5
        assert np.count_nonzero(back & mask) / np.count_nonzero(back | mask) > 0.97


def test_nothing_is_pasted_outside_the_window_or_the_frame():
    window = StretchedWindow(left=-20.0, top=10.0, width=30.0, height=8.0, size=16)
    frame = window.paste(np.ones((16, 16), np.float32), 40, 50)
    assert frame.shape == (40, 50)
    assert (frame[11:17, :9] == 1).all() and not frame[:10].any() and not frame[18:].any() and not frame[:, 10:].any()
    assert not StretchedWindow(-60.0, 0.0, 30.0, 8.0, 16).paste(np.ones((16, 16), np.float32), 40, 50).any()
