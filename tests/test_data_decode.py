"""A crop that decodes a part of a picture, or a reduced one, is the crop of the whole picture."""

import dataclasses
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from lib.config.load import load
from lib.data import jpeg, picture
from lib.data.crop import CropWindow
from lib.data.frames import ArrayFrames, ImageFiles, read_image
from lib.data.jpeg import decode_jpeg, read_header
from lib.data.picture import EncodedImage, UnreadableFrameError, cut_decoded, cut_picture, open_picture
from lib.data.sequence import Sequence
from lib.data.training_set import MixedSource, TrainingSet, collate, sample_id

HEIGHT, WIDTH = 358, 501  # no multiples of a block
SAMPLINGS = {"4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}


def textured(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Draw coloured noise of several scales, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            rng.random((height // cell + 2, width // cell + 2, 3)), (width, height), interpolation=cv2.INTER_CUBIC
        )
        for cell in (64, 16, 4)
    ]
    return (255 * np.clip(0.5 * layers[0] + 0.35 * layers[1] + 0.15 * layers[2], 0, 1)).astype(np.uint8)


def encoded(image: np.ndarray, sampling: str = "4:2:0", progressive: bool = False) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    ok, data = cv2.imencode(".jpg", image, [*options, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])
    assert ok
    return data.tobytes()


def by_opencv(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def cut(data: bytes, window: CropWindow) -> np.ndarray:
    decoded = EncodedImage(data).decode(window)
    assert decoded is not None
    return cut_decoded(*decoded)


def random_windows(rng: np.random.Generator, count: int, scale: tuple[float, float]) -> list[CropWindow]:
    """Draw windows of all places, some over the border; `scale` is pixels of the frame for one of the crop."""
    windows = []
    for _ in range(count):
        side = 48 * rng.uniform(*scale)
        left, top = rng.uniform(-0.7 * side, WIDTH - 0.3 * side), rng.uniform(-0.7 * side, HEIGHT - 0.3 * side)
        windows.append(CropWindow(left, top, side, 48))
    return windows


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_header_states_the_size_and_decoding_matches_opencv(sampling: str, progressive: bool) -> None:
    data = encoded(textured(), sampling, progressive)
    header = read_header(data)
    assert (header.height, header.width) == (HEIGHT, WIDTH)
    assert header.from_the_top is not progressive
    assert header.block_height == (16 if sampling == "4:2:0" else 8)
    np.testing.assert_array_equal(decode_jpeg(data, header), by_opencv(data))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_first_rows_are_those_of_the_whole(sampling: str, progressive: bool) -> None:
    data = encoded(textured(), sampling, progressive)
    header = read_header(data)
    whole = by_opencv(data)
    for rows in (1, 15, 16, 17, 200, HEIGHT - 1, HEIGHT, HEIGHT + 5):
        part = decode_jpeg(data, header, rows=rows)
        assert len(part) >= min(rows, HEIGHT)
        np.testing.assert_array_equal(part[:rows], whole[:rows])
    if not progressive:
        assert len(decode_jpeg(data, header, rows=100)) < 140  # that is, the rest is not decoded


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_crop_not_shrunk_is_exactly_that_of_the_whole_picture(sampling: str) -> None:
    data = encoded(textured(), sampling)
    whole = by_opencv(data)
    kept = EncodedImage(data, keep=True)
    for window in random_windows(np.random.default_rng(1), 100, (0.3, 1.99)):
        expected = window.cut(whole)
        np.testing.assert_array_equal(cut(data, window), expected)
        decoded = kept.decode(window)
        assert decoded is not None
        np.testing.assert_array_equal(cut_decoded(*decoded), expected)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_shrunk_crop_is_that_of_block_means(reduction: int) -> None:
    """Tolerance: half a grey level on average, since means are taken before and not after rounding to 8 bits."""
    image = textured(HEIGHT // 8 * 8, WIDTH // 8 * 8)
    data = encoded(image, "4:4:4")
    whole = by_opencv(data)
    means = cv2.resize(whole, None, fx=1 / reduction, fy=1 / reduction, interpolation=cv2.INTER_AREA)
    errors = []
    for window in random_windows(np.random.default_rng(2), 50, (reduction, min(1.99 * reduction, 10))):
        assert window.reduction() == reduction
        crop = cut(data, window)
        expected = window.in_reduced(reduction).cut(means)
        errors.append(np.abs(crop.astype(float) - expected).mean())
    assert np.mean(errors) < 0.5
    assert np.max(errors) < 1.0


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.0, 4.5, 9.0])
def test_shrunk_crop_lies_where_the_label_says(scale: float) -> None:
    """The centre of mass of a blob, in the crop, is that of the box around it: no shift of half a pixel."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[0:480, 0:640]
    for _ in range(10):
        center = rng.uniform((200, 200), (440, 280))
        blob = np.exp(-((columns + 0.5 - center[0]) ** 2 + (rows + 0.5 - center[1]) ** 2) / (2 * (8 * scale) ** 2))
        data = encoded(np.repeat((255 * blob)[..., None], 3, axis=2).astype(np.uint8))
        side = 64 * scale
        shift = rng.uniform(-0.1, 0.1, 2) * side
        window = CropWindow(center[0] - side / 2 + shift[0], center[1] - side / 2 + shift[1], side, 64)
        crop = cut(data, window)
        weights = np.where(crop[..., 0] > 60, crop[..., 0].astype(float) - 60, 0)  # a disc inside any of the windows
        grid = np.arange(64) + 0.5
        found = np.array([(weights.sum(axis=0) * grid).sum(), (weights.sum(axis=1) * grid).sum()]) / weights.sum()
        target = window.to_crop(np.array((*center - 1, 2, 2)))
        np.testing.assert_allclose(found / 64, (target[:2] + target[2:]) / 2, atol=0.06 / 64)


def test_without_the_fast_decoder_crops_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(textured())
    windows = random_windows(np.random.default_rng(4), 30, (0.5, 10))
    fast = [cut(data, window) for window in windows]
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    for window, crop in zip(windows, fast, strict=True):
        np.testing.assert_array_equal(cut(data, window), crop)
    jpeg.warn_if_slow.cache_clear()
    with pytest.warns(UserWarning, match="simplejpeg is not installed"):
        jpeg.warn_if_slow()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jpeg.warn_if_slow()  # once is enough
    jpeg.warn_if_slow.cache_clear()


def test_kept_picture_serves_several_crops_alike() -> None:
    data = encoded(textured())
    shared = EncodedImage(data, keep=True)
    for window in random_windows(np.random.default_rng(5), 20, (0.5, 6)):
        decoded = shared.decode(window)
        assert decoded is not None
        np.testing.assert_array_equal(cut_decoded(*decoded), cut(data, window))


def test_other_kinds_are_cut_from_the_whole(tmp_path: Path) -> None:
    image = textured()
    assert cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    for window in random_windows(np.random.default_rng(6), 5, (0.5, 6)):
        crop = cut_picture(open_picture(ImageFiles([tmp_path / "a.png"]), 0), window)
        np.testing.assert_array_equal(crop, window.cut(image))
        np.testing.assert_array_equal(cut_picture(open_picture(ArrayFrames([image]), 0), window), crop)


def test_window_beside_the_picture_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(textured()))
    beside = CropWindow(WIDTH + 1.0, 20, 50, 32)
    assert cut_picture(open_picture(ImageFiles([tmp_path / "a.jpg"]), 0), beside) is None
    assert cut_picture(open_picture(ArrayFrames([textured()]), 0), beside) is None


def test_cut_off_file_is_an_error(tmp_path: Path) -> None:
    data = encoded(textured())
    window = CropWindow(0, 0, 64, 64)
    for size in (2, 10, 300, len(data) // 2, len(data) - 2):
        with pytest.raises(ValueError, match=r"cut off|damaged"):
            cut(data[:size], window)
    (tmp_path / "bad.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"bad\.jpg.*cut off"):
        read_image(tmp_path / "bad.jpg")


def test_unreadable_picture_is_tried_again_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    pauses = []
    monkeypatch.setattr(picture.time, "sleep", pauses.append)
    frame = ImageFiles([path]).picture(0)
    with pytest.raises(UnreadableFrameError, match=r"a\.jpg.*tried 3 times"):
        cut_picture(frame, CropWindow(0, 0, 64, 64))
    assert len(pauses) == 2
    # A disk that recovers while it is waited for.
    monkeypatch.setattr(picture.time, "sleep", lambda seconds: path.write_bytes(encoded(textured())))
    assert cut_picture(frame, CropWindow(0, 0, 64, 64)) is not None


class OneVideo:
    """A data set of one video in files."""

    images_only = False

    def __init__(self, folder: Path, num_frames: int = 24) -> None:
        paths = [folder / f"{index:08d}.jpg" for index in range(num_frames)]
        for index, path in enumerate(paths):
            path.write_bytes(encoded(textured(200, 300, seed=index)))
        boxes = np.array([[100.0 + 4 * index, 70, 40, 50] for index in range(num_frames)])
        seen = np.ones(num_frames, dtype=bool)
        self.names = ["video"]
        self.paths = paths
        self.sequence = Sequence("video", ImageFiles(paths), boxes, seen, ~seen)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sequence:
        return self.sequence


def training_set(dataset: OneVideo, on_bad_frame: str) -> TrainingSet:
    experiment = load("mmg_tiny")
    data = dataclasses.replace(experiment.data, on_bad_frame=on_bad_frame)
    return TrainingSet([MixedSource(dataset, 1.0)], data, experiment.crop, seed=0)


def test_unreadable_frame_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "_PAUSE", 0.0)
    dataset = OneVideo(tmp_path)
    for path in dataset.paths[::2]:
        path.write_bytes(b"")
    samples = training_set(dataset, "raise")
    with pytest.raises(UnreadableFrameError, match=r"0\d\.jpg|[12]\d\.jpg"):
        [samples[sample_id(0, index)] for index in range(20)]


@pytest.mark.filterwarnings("ignore:skipped")
def test_skipped_frames_are_counted_over_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "_PAUSE", 0.0)
    dataset = OneVideo(tmp_path)
    for path in dataset.paths[::4]:
        path.unlink()
    ids = [sample_id(0, index) for index in range(12)]
    alone = training_set(dataset, "skip")
    expected = [alone[index] for index in ids]
    assert alone.num_skipped > 0
    shared = training_set(dataset, "skip")
    loader = DataLoader(shared, batch_size=3, sampler=ids, num_workers=2, collate_fn=collate)
    batches = list(loader)
    assert shared.num_skipped == alone.num_skipped
    found = np.concatenate([batch.search.numpy() for batch in batches])
    np.testing.assert_array_equal(found, np.stack([sample.search for sample in expected]).transpose(0, 3, 1, 2))


def test_each_skipped_frame_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "_PAUSE", 0.0)
    dataset = OneVideo(tmp_path)
    dataset.paths[3].unlink()
    samples = training_set(dataset, "skip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for index in range(60):
            samples[sample_id(0, index)]
    assert samples.num_skipped > 1
    assert len(caught) == 1 and "00000003.jpg" in str(caught[0].message)
