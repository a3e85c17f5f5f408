"""A crop that decodes a part of a picture, or a reduced one, is the crop of the whole picture."""

import ctypes.util
import dataclasses
import io
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from torch.utils.data import DataLoader

from lib.config.load import load
from lib.data import sequence
from lib.data.crop import CropWindow, Rectangle
from lib.data.datasets import open_dataset
from lib.data.images import jpeg, turbojpeg
from lib.data.images.frames import ArrayFrames, ImageFiles, decode_image, read_header, read_image
from lib.data.images.jpeg import DECODERS, JpegImage, chosen_decoder, decode_part
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import TrainingSet
from lib.data.sequence import Sequence, SequenceDataset, UnreadableFrameError

HEIGHT, WIDTH = 358, 501  # no multiples of a block
SAMPLINGS = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
BLOCKS = {"4:2:0": 16, "4:2:2": 16, "4:4:0": 8, "4:4:4": 8}  # their widths


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with each decoder that is installed."""
    monkeypatch.setenv("MMG_JPEG", request.param)
    try:
        return chosen_decoder()
    except ValueError as error:
        pytest.skip(str(error))


@cache
def textured(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Draw coloured noise of several scales, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    noises = [rng.random((height // cell + 2, width // cell + 2, 3)) for cell in (64, 16, 4)]
    layers = [cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) for noise in noises]
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
    crop = JpegImage(data).cut(window)
    assert crop is not None
    return crop


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
def test_header_states_the_size_and_decoding_matches_opencv(sampling: str, progressive: bool, decoder: str) -> None:
    data = encoded(textured(), sampling, progressive)
    header = read_header(data)
    assert (header.height, header.width) == (HEIGHT, WIDTH)
    assert header.from_the_top is not progressive
    assert header.block_width == BLOCKS[sampling]
    np.testing.assert_array_equal(decode_image(data), by_opencv(data))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_part_of_a_picture_is_that_of_the_whole(sampling: str, progressive: bool, decoder: str) -> None:
    """No tolerance: every pixel of the part is the same number, at every reduction and place."""
    data = encoded(textured(), sampling, progressive)
    header = read_header(data)
    rng = np.random.default_rng(8)
    for reduction in (1, 2, 4, 8):
        whole = decode_image(data, reduction)
        height, width = whole.shape[:2]
        corners = np.sort(rng.uniform(-0.2, 1.2, (12, 2, 2)), axis=1)
        for (top, left), (bottom, right) in (corners * (height, width)).astype(int).tolist():
            part = Rectangle(
                min(left, width - 1), min(top, height - 1), max(right, left + 1, 1), max(bottom, top + 1, 1)
            )
            jpeg.MEMORY.buffer = np.empty(rng.choice([10, 10**6]), np.uint8)  # every other does not fit into it
            image, x, y = decode_part(data, header, reduction, part)
            top, left = max(part.top, 0), max(part.left, 0)
            expected = whole[top : part.bottom, left : part.right]
            found = image[top - y : part.bottom - y, left - x : part.right - x, :3]
            np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(turbojpeg.find_library() is None, reason="the library TurboJPEG 3 is not installed")
def test_what_lies_beside_is_left_out() -> None:
    data = encoded(textured())
    header = read_header(data)
    part = Rectangle(200, 150, 300, 200)
    image, left, top = decode_part(data, header, 1, part)
    assert (left, top) == (192, 150) and image.shape == (50, 109, 4)


@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_window_with_a_sliver_of_the_picture_is_cut(scale: float, decoder: str) -> None:
    """Of such a window no pixel may be needed; it is black, but for what is interpolated from the last ones."""
    data = encoded(textured())
    side = 48 * scale
    for share in (1e-6, 0.2, 0.5):
        for left, top in ((WIDTH - share, 20.0), (share - side, 20.0), (20.0, HEIGHT - share), (20.0, share - side)):
            window = CropWindow(left, top, side, 48)
            reduced = decode_image(data, window.reduction())
            expected = window.in_reduced(window.reduction()).cut(reduced).astype(int)
            assert np.abs(cut(data, window) - expected).max() <= 2


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_crop_not_shrunk_is_that_of_the_whole_picture(sampling: str, decoder: str) -> None:
    """Tolerance: two grey levels in single pixels, since OpenCV computes places in a large picture less exactly."""
    data = encoded(textured(), sampling)
    whole = by_opencv(data)
    kept = JpegImage(data, keep=True)
    for window in random_windows(np.random.default_rng(1), 100, (0.3, 1.99)):
        expected = window.cut(whole).astype(int)
        error = np.abs(cut(data, window) - expected)
        assert error.max() <= 2 and error.mean() < 0.02
        np.testing.assert_array_equal(kept.cut(window), expected)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_shrunk_crop_is_that_of_block_means(reduction: int, decoder: str) -> None:
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
def test_shrunk_crop_lies_where_the_label_says(scale: float, decoder: str) -> None:
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


def test_missing_decoders_are_named_once(monkeypatch: pytest.MonkeyPatch, forget_decoders: None) -> None:
    def warnings_of_two_calls() -> list[str]:
        jpeg.resolve_decoder.cache_clear()
        jpeg.warn_if_slow.cache_clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            jpeg.warn_if_slow()
            jpeg.warn_if_slow()
        return [str(warning.message) for warning in caught]

    monkeypatch.delenv("MMG_JPEG", raising=False)
    monkeypatch.setattr(jpeg, "find_library", lambda: None)
    (message,) = warnings_of_two_calls()
    assert chosen_decoder() == "simplejpeg"
    assert "TurboJPEG 3 was not found" in message and "pip install turbojpeg" in message
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    (message,) = warnings_of_two_calls()
    assert chosen_decoder() == "opencv"
    assert "simplejpeg is not installed" in message
    monkeypatch.setenv("MMG_JPEG", "simplejpeg")
    with pytest.raises(ValueError, match=r"MMG_JPEG is simplejpeg, but simplejpeg is not installed: pip install"):
        warnings_of_two_calls()


@pytest.fixture
def forget_decoders() -> Iterator[None]:
    yield
    jpeg.resolve_decoder.cache_clear()
    jpeg.warn_if_slow.cache_clear()


def test_unknown_decoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_JPEG", "libjpeg")
    with pytest.raises(ValueError, match=r"^MMG_JPEG is 'libjpeg'"):  # rather than complain of each picture
        open_dataset("synthetic", "test")
    with pytest.raises(ValueError, match="MMG_JPEG is 'libjpeg'; it must be one of auto, turbojpeg, simplejpeg, jpeg4"):
        decode_image(encoded(textured()))


def test_library_without_partial_decoding_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    older = ctypes.util.find_library("c")  # a library that has none of the functions
    monkeypatch.setattr(turbojpeg, "candidates", lambda: iter(["/nowhere/libturbojpeg.so.0", older]))
    assert turbojpeg.find_library.__wrapped__() is None


def test_damaged_middle_is_decoded_as_far_as_possible(decoder: str) -> None:
    """OpenCV gives a picture too, with grey after the damage; the bytes after it are not trusted to be a picture."""
    data = encoded(textured())
    middle = data.index(b"\xff\xda") + 3000  # into the scan
    damaged = data[:middle] + bytes(200) + data[middle + 200 :]
    crop = cut(damaged, CropWindow(WIDTH - 60.0, HEIGHT - 60.0, 50, 48))
    assert crop.shape == (48, 48, 3)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_print_colours_are_cut_too(channels: int, decoder: str) -> None:
    image = textured()
    mode, pixels = ("L", image[..., 0]) if channels == 1 else ("CMYK", np.dstack([image, image[..., 0] // 2]))
    stream = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(pixels), mode).save(stream, "JPEG", quality=95)
    whole = by_opencv(stream.getvalue())
    window = CropWindow(100.3, 80.2, 70.0, 48)
    assert np.abs(cut(stream.getvalue(), window).astype(int) - window.cut(whole)).max() <= 2


def test_other_kinds_are_cut_from_the_whole(tmp_path: Path) -> None:
    image = textured()
    assert cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    for window in random_windows(np.random.default_rng(6), 5, (0.5, 6)):
        crop = ImageFiles([tmp_path / "a.png"]).cut(0, window)
        np.testing.assert_array_equal(crop, window.cut(image))
        np.testing.assert_array_equal(ArrayFrames([image]).cut(0, window), crop)


def test_window_beside_the_picture_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(textured()))
    beside = CropWindow(WIDTH + 1.0, 20, 50, 32)
    assert ImageFiles([tmp_path / "a.jpg"]).cut(0, beside) is None
    assert ArrayFrames([textured()]).cut(0, beside) is None


def test_cut_off_file_is_an_error(tmp_path: Path, decoder: str) -> None:
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
    monkeypatch.setattr(sequence.time, "sleep", pauses.append)
    frame = ImageFiles([path])
    with pytest.raises(UnreadableFrameError, match=r"a\.jpg.*tried 3 times"):
        frame.read_crop(0, CropWindow(0, 0, 64, 64))
    assert len(pauses) == 2
    # A disk that recovers while it is waited for.
    monkeypatch.setattr(sequence.time, "sleep", lambda seconds: path.write_bytes(encoded(textured())))
    assert frame.read_crop(0, CropWindow(0, 0, 64, 64)) is not None


class OneVideo(SequenceDataset):
    """A data set of one video in files."""

    def __init__(self, folder: Path, num_frames: int = 24) -> None:
        paths = [folder / f"{index:08d}.jpg" for index in range(num_frames)]
        for index, path in enumerate(paths):
            path.write_bytes(encoded(textured(200, 300, seed=index)))
        boxes = np.array([[100.0 + 4 * index, 70, 40, 50] for index in range(num_frames)])
        seen = np.ones(num_frames, dtype=bool)
        self.names = ["video"]
        self.paths = paths
        self.sequence = Sequence("video", ImageFiles(paths), boxes, seen, ~seen)

    def __getitem__(self, index: int) -> Sequence:
        return self.sequence


def training_set(dataset: OneVideo, on_bad_frame: str) -> TrainingSet:
    experiment = load("mmg_tiny")
    data = dataclasses.replace(experiment.data, on_bad_frame=on_bad_frame)
    return TrainingSet([MixedSource(dataset, 1.0)], data, experiment.crop, seed=0)


def test_unreadable_frame_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "PAUSE", 0.0)
    dataset = OneVideo(tmp_path)
    for path in dataset.paths[::2]:
        path.write_bytes(b"")
    samples = training_set(dataset, "raise")
    with pytest.raises(UnreadableFrameError, match=r"0\d\.jpg|[12]\d\.jpg"):
        [samples[sample_id(0, index)] for index in range(20)]


@pytest.mark.filterwarnings("ignore:skipped")
def test_skipped_frames_are_counted_over_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "PAUSE", 0.0)
    dataset = OneVideo(tmp_path)
    for path in dataset.paths[::4]:
        path.unlink()
    ids = [sample_id(0, index) for index in range(12)]
    alone = training_set(dataset, "skip")
    expected = [alone[index] for index in ids]
    assert alone.num_skipped > 0
    shared = training_set(dataset, "skip")
    loader = DataLoader(shared, batch_size=3, sampler=ids, num_workers=2, collate_fn=shared.collate)
    batches = list(loader)
    assert shared.num_skipped == alone.num_skipped
    found = np.concatenate([batch.search.numpy() for batch in batches])
    np.testing.assert_array_equal(found, np.stack([sample.search for sample in expected]).transpose(0, 3, 1, 2))


def test_each_skipped_frame_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "PAUSE", 0.0)
    dataset = OneVideo(tmp_path)
    dataset.paths[3].unlink()
    samples = training_set(dataset, "skip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for index in range(60):
            samples[sample_id(0, index)]
    assert samples.num_skipped > 1
    assert len(caught) == 1 and "00000003.jpg" in str(caught[0].message)
