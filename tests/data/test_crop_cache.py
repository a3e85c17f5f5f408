"""Samples from stored regions are those from whole frames, from fewer bytes."""

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.config.load import load
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import CropDataset, Extent, Reach
from lib.data.crop_cache.cut import QUALITY, cut_crops, cut_frame
from lib.data.datasets import open_dataset
from lib.data.datasets.folder import FolderDataset
from lib.data.images.frames import ArrayFrames, decode_image
from lib.data.images.jpeg import JpegImage
from lib.data.samples.augment import jitter_box
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import Sample, TrainingSet
from lib.data.sequence import Sequence
from lib.data.storage.lmdb_writer import LmdbWriter
from lib.data.storage.tree import LmdbPath, open_tree
from lib.eval.benchmarks import find_benchmark

HEIGHT, WIDTH, NUM_FRAMES = 722, 1283, 21
SIDES = {"small": 60.0, "middle": 140.0, "large": 300.0}
EXPERIMENT = load("mmg_vitb")
REACH = Reach.of(EXPERIMENT.data, EXPERIMENT.crop)


def picture(seed: int) -> np.ndarray:
    """Draw a frame of coloured noise, of which nothing is finer than 24 px: then shrinking loses little."""
    rng = np.random.default_rng(seed)
    noises = [rng.random((HEIGHT // cell + 2, WIDTH // cell + 2, 3)) for cell in (160, 60, 24)]
    layers = [cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for noise in noises]
    return (255 * np.clip(0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2], 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own data: three videos whose targets wander over the frame, to its very edge."""
    root = tmp_path_factory.mktemp("videos")
    pictures = [cv2.imencode(".jpg", picture(seed), [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for seed in range(3)]
    for name, side in SIDES.items():
        (root / name / "img").mkdir(parents=True)
        rows = []
        for index in range(NUM_FRAMES):
            (root / name / "img" / f"{index:08d}.jpg").write_bytes(pictures[index % 3].tobytes())
            left, top = (WIDTH - side) * index / (NUM_FRAMES - 1), (HEIGHT - side) * (index % 5) / 4
            rows.append(f"{left:.2f},{top:.2f},{1.25 * side:.2f},{side / 1.25:.2f}")
        (root / name / "groundtruth.txt").write_text("\n".join(rows))
        (root / name / "absent.txt").write_text("\n".join("1" if index == 7 else "0" for index in range(NUM_FRAMES)))
    return root


@pytest.fixture(scope="module")
def regions(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("regions")
    cut_crops(FolderDataset(videos), "train", out, REACH, "videos", progress=False)
    return out


def opened(root: Path) -> CropDataset:
    dataset = open_dataset("folder", "train", root)
    assert isinstance(dataset, CropDataset)
    return dataset


def test_reach_by_hand() -> None:
    data = dataclasses.replace(EXPERIMENT.data, search_center_jitter=3.0, search_scale_jitter=0.0)
    reach = Reach.of(data, EXPERIMENT.crop)
    # Half a window and half of the centre's range; 256 px for 4 sides, 128 for 2.
    assert reach == Reach(template=Extent(2 / 2, 64.0), search=Extent((4 + 3) / 2, 64.0))
    spread = 0.25 / math.sqrt(2)
    assert REACH.template == reach.template
    assert pytest.approx(3.5 * math.exp(3 * spread)) == REACH.search.half_side
    assert pytest.approx(64 * math.exp(spread)) == REACH.search.target_side


def samples(dataset: FolderDataset | CropDataset, count: int) -> list[Sample]:
    data = dataclasses.replace(EXPERIMENT.data, brightness=0.0)
    drawn = TrainingSet([MixedSource(dataset, 1.0)], data, EXPERIMENT.crop, seed=3)
    return [drawn[sample_id(0, index)] for index in range(count)]


def test_samples_are_those_from_the_whole_frames(videos: Path, regions: Path) -> None:
    """Tolerance: three grey levels of 255 on average over a crop, for a second JPEG and a second interpolation."""
    ours, theirs = samples(opened(regions), 30), samples(FolderDataset(videos), 30)
    errors = []
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.search_crop_box_xyxy, b.search_crop_box_xyxy)
        errors += [np.abs(x.astype(float) - y).mean() for x, y in zip(a[:3], b[:3], strict=True)]
    assert np.mean(errors) < 1.5
    assert np.max(errors) < 3.0


@pytest.mark.parametrize("side", [180.0, 300.0])
def test_fine_detail_differs_as_between_two_interpolations(side: float) -> None:
    """Tolerance: half as much again as crops from the frame as it is and from it reduced by the decoder differ."""
    differences, errors = [], []
    rng = np.random.default_rng(2)
    for _ in range(2):
        # As in photographs, fine detail is of brightness more than of colour.
        noises = [rng.random((HEIGHT // cell + 2, WIDTH // cell + 2, 3 if cell == 40 else 1)) for cell in (40, 12, 4)]
        layers = [np.atleast_3d(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)) for noise in noises]
        image = (255 * np.clip(0.4 * layers[0] + 0.3 * layers[1] + 0.3 * layers[2], 0, 1)).astype(np.uint8)
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        whole = decode_image(data)
        box = np.array((400.0, 200.0, side, side))
        video = Sequence("a", ArrayFrames([whole]), box[None], np.array([True]), np.array([False]))
        cut = cut_frame(video, 0, REACH, QUALITY)
        region, stored = cut.crops[1], cut.encoded[1]
        for _ in range(6):
            jittered = jitter_box(box, rng, EXPERIMENT.data.search_center_jitter, EXPERIMENT.data.search_scale_jitter)
            window = CropWindow.around(jittered, 4.0, 256)
            if window.reduction() == 1:
                continue
            reduced = cut_encoded(data, window)
            differences.append(np.abs(reduced - window.cut(whole)).mean())
            errors.append(np.abs(reduced - cut_encoded(stored, region.place(window))).mean())
    assert np.mean(errors) < 1.5 * np.mean(differences)


def cut_encoded(data: bytes, window: CropWindow) -> np.ndarray:
    crop = JpegImage(data).cut(window)
    assert crop is not None
    return crop.astype(float)


def test_crops_lie_where_the_label_says(tmp_path: Path) -> None:
    """A square drawn in the frame is found at its box, from every stored resolution.

    The edges are sharp, so sampling puts them up to a quarter of a pixel off, to either side; the mean is exact.
    """
    shifts = []
    (tmp_path / "videos").mkdir()
    for side in (40, 131, 233, 410):
        folder = tmp_path / "videos" / f"side-{side}"
        (folder / "img").mkdir(parents=True)
        rows = []
        for index in range(4):
            image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
            left, top = 101 + 7 * index, 50 + 3 * index
            image[top : top + side, left : left + side] = 220
            assert cv2.imwrite(str(folder / "img" / f"{index}.png"), image)
            rows.append(f"{left},{top},{side},{side}")
        (folder / "groundtruth.txt").write_text("\n".join(rows))
    dataset = FolderDataset(tmp_path / "videos")
    cut_crops(dataset, "train", tmp_path / "out", REACH, "squares", progress=False)
    for sequence in (opened(tmp_path / "out")[index] for index in range(4)):
        for index, box in enumerate(sequence.boxes_xywh):
            window = CropWindow.around(box + np.array((3.3, -5.7, 0, 0)), 4.0, 256)
            crop = sequence.frames.cut(index, window)
            assert crop is not None
            light = (crop[..., 0].astype(float) - 30) / 190
            inside = window.to_crop(box) * 256
            middle = light[120:140, 120:140].mean()
            assert middle == pytest.approx(1, abs=0.02)
            # Lengths of the light part of a row and a column, and their centres.
            for profile, low, high in ((light[128], inside[0], inside[2]), (light[:, 128], inside[1], inside[3])):
                near = np.clip(profile, 0, 1) * (profile > 0.1)
                assert near.sum() == pytest.approx(high - low, abs=0.4)
                shifts.append((near * (np.arange(256) + 0.5)).sum() / near.sum() - (low + high) / 2)
    assert np.abs(shifts).max() < 0.25
    assert abs(np.mean(shifts)) < 0.05


def test_regions_are_smaller_than_the_frames(videos: Path, tmp_path: Path) -> None:
    report = cut_crops(FolderDataset(videos), "train", tmp_path, REACH, "videos", progress=False)
    assert report.frames == 3 * (NUM_FRAMES - 1) and report.kept == 0
    assert report.size < report.source_size / 2
    again = cut_crops(FolderDataset(videos), "train", tmp_path, REACH, "videos", progress=False)
    assert (again.kept, again.frames) == (3, 0)


def test_a_template_is_cut_from_fewer_bytes(videos: Path, regions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, files = opened(regions), FolderDataset(videos)
    sizes: list[int] = []
    read_bytes = LmdbPath.read_bytes
    monkeypatch.setattr(LmdbPath, "read_bytes", lambda path: sizes.append(len(data := read_bytes(path))) or data)
    for index in range(len(cache)):
        box = cache[index].boxes_xywh[10]
        template, search = (CropWindow.around(box, factor, size) for factor, size in ((2.0, 128), (4.0, 256)))
        read, crops = [], []
        for window in (template, search):
            crops.append((cache[index].frames.cut(10, window), files[index].frames.cut(10, window)))
            read.append(sizes.pop())
        assert 0 < 3 * read[0] < read[1]
        for crop, expected in crops:
            assert crop is not None and expected is not None
            assert np.abs(crop.astype(float) - expected).mean() < 3


def test_interrupted_cutting_is_resumed(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FolderDataset(videos)
    add = LmdbWriter.add

    def stop_at_the_second(writer: LmdbWriter, key: str, data: bytes) -> None:
        if key.startswith("train/middle/00000003"):
            raise KeyboardInterrupt
        add(writer, key, data)

    monkeypatch.setattr(LmdbWriter, "add", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        cut_crops(dataset, "train", tmp_path, REACH, "videos", progress=False)
    monkeypatch.setattr(LmdbWriter, "add", add)
    assert cut_crops(dataset, "train", tmp_path, REACH, "videos", progress=False).kept == 1
    assert len(samples(opened(tmp_path), 3)) == 3


@pytest.fixture
def own_videos(tmp_path: Path) -> Path:
    """Own data that a test may change."""
    image = cv2.imencode(".jpg", picture(0)[:200, :300])[1].tobytes()
    for name in ("first", "second"):
        (tmp_path / "own" / name / "img").mkdir(parents=True)
        for index in range(4):
            (tmp_path / "own" / name / "img" / f"{index}.jpg").write_bytes(image)
        (tmp_path / "own" / name / "groundtruth.txt").write_text("100,80,50,40\n" * 4)
    return tmp_path / "own"


def recut(videos: Path, out: Path) -> tuple[int, int]:
    """Return how many sequences were kept, and how many regions were written."""
    report = cut_crops(FolderDataset(videos), "train", out, REACH, "own", root=videos, progress=False)
    return report.kept, report.frames


def change_boxes(videos: Path) -> None:
    (videos / "second" / "groundtruth.txt").write_text("100,80,50,41\n" * 4)  # of the same length


def change_visibility(videos: Path) -> None:
    (videos / "second" / "absent.txt").write_text("0\n1\n0\n1\n")


def change_picture(videos: Path) -> None:
    path = videos / "first" / "img" / "2.jpg"
    before, times = path.read_bytes(), path.stat()
    path.write_bytes(before.replace(b"JFIF", b"JFIG"))  # of the same size
    os.utime(path, (times.st_atime, times.st_mtime + 1))


def remove_sequence(videos: Path) -> None:
    shutil.rmtree(videos / "first")


@pytest.mark.parametrize(
    ("change", "again"),
    [(change_boxes, (1, 4)), (change_visibility, (1, 2)), (change_picture, (1, 4)), (remove_sequence, (1, 0))],
)
def test_what_has_changed_alone_is_cut_again(
    own_videos: Path, tmp_path: Path, change: Callable[[Path], None], again: tuple[int, int]
) -> None:
    out = tmp_path / "out"
    assert [recut(own_videos, out), recut(own_videos, out)] == [(0, 8), (2, 0)]
    change(own_videos)
    assert recut(own_videos, out) == again
    files, cache = FolderDataset(own_videos), opened(out)
    assert list(cache.names) == list(files.names)
    for index, name in enumerate(files.names):
        np.testing.assert_array_equal(cache[index].boxes_xywh, files[index].boxes_xywh)
        np.testing.assert_array_equal(cache[index].visible, files[index].visible)
        np.testing.assert_array_equal(cache[index].absent, files[index].absent)
        stored = [path.name for path in (open_tree(out) / "train" / name).iterdir() if path.suffix == ".jpg"]
        assert len(stored) == 2 * files[index].visible.sum(), "nothing is left behind"
    assert (open_tree(out) / "train" / "first").exists() == ("first" in files.names)
    assert recut(own_videos, out) == (len(files), 0)


def test_another_folder_or_one_inside_is_refused(own_videos: Path, tmp_path: Path) -> None:
    recut(own_videos, tmp_path / "out")
    other = shutil.copytree(own_videos, tmp_path / "other")
    with pytest.raises(ValueError, match=r"holds regions of own in .*/own, .*not regions of own in .*/other"):
        recut(other, tmp_path / "out")
    with pytest.raises(ValueError, match="choose a folder outside"):
        recut(own_videos, own_videos / "crops")
    with pytest.raises(ValueError, match="holds crops already"):
        cut_crops(opened(tmp_path / "out"), "train", tmp_path / "again", REACH, "own", progress=False)


def test_nothing_can_be_tested_on_regions(own_videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recut(own_videos, out)
    with pytest.raises(FileNotFoundError, match="to test, name the folder of whole frames"):
        find_benchmark("folder").open(out)
    cut_crops(FolderDataset(own_videos), "test", tmp_path / "test", REACH, "own", progress=False)
    with pytest.raises(ValueError, match="for training only; to test, name the folder of whole frames"):
        find_benchmark("folder").open(tmp_path / "test")


def test_window_that_was_not_stored_gives_nothing(regions: Path) -> None:
    cache = opened(regions)
    sequence: Sequence = cache[list(cache.names).index("small")]
    x, y, width, _ = sequence.boxes_xywh[10]
    near = CropWindow(x - 100, y - 100, 200 + width, 64)
    far = CropWindow(x - 600, y - 100, 200 + width, 64)
    outside = CropWindow(WIDTH + 10.0, y, 50, 64)
    assert sequence.frames.cut(10, near) is not None
    assert sequence.frames.cut(10, far) is None
    assert sequence.frames.cut(10, outside) is None


def test_a_manifest_names_folders_beside_it(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "regions.json").write_text("{}")
    for name in ("../train", "9" * 400, "gone", "a\0"):
        about = {"version": 3, "images_only": False, "reach": dataclasses.asdict(REACH), "names": [name]}
        (tmp_path / "train" / "crops.json").write_text(json.dumps(about))
        with pytest.raises(ValueError, match=r"crops\.json is damaged"):
            open_dataset("folder", "train", tmp_path)


def test_clear_errors(videos: Path, regions: Path, tmp_path: Path) -> None:
    cache = opened(regions)
    wider = dataclasses.replace(EXPERIMENT.data, search_center_jitter=4.0)
    with pytest.raises(ValueError, match="make them again"):
        TrainingSet([MixedSource(cache, 1.0)], wider, EXPERIMENT.crop, seed=0)
    with pytest.raises(ValueError, match="no whole frames"):
        cache[0].frames[0]
    with pytest.raises(FileNotFoundError, match="crops of train, not of 'test'; crops are for training only"):
        open_dataset("folder", "test", regions)
    other = Reach(Extent(1.0, 32.0), Extent(1.0, 32.0))
    with pytest.raises(ValueError, match="choose another folder"):
        cut_crops(FolderDataset(videos), "train", regions, other, "videos", progress=False)
    with pytest.raises(ValueError, match="draws its frames"):
        cut_crops(open_dataset("synthetic", "test"), "test", tmp_path, REACH, "synthetic", progress=False)
