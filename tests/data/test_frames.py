"""Pictures come out as (H, W, 3) uint8 RGB whatever is stored, and videos by exact index."""

import os
import pickle
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data.images.frames import MaskFiles, read_image
from lib.data.images.video import VideoFile

RED_GREEN = np.array([[[200, 10, 30], [10, 220, 40]]], dtype=np.uint8)  # (1, 2, 3) RGB
GREY = np.array([[0, 77, 255]], dtype=np.uint8)
DEEP = np.array([[0, 257 * 100, 257 * 100 + 128, 257 * 100 + 129, 65535]], dtype=np.uint16)


def _write(path: Path, picture: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (RED_GREEN[..., ::-1], RED_GREEN),
        (GREY, np.stack([GREY] * 3, axis=-1)),
        (DEEP, np.stack([[[0, 100, 100, 101, 255]]] * 3, axis=-1)),  # scaled to the full range
        (RED_GREEN[..., ::-1].astype(np.uint16) * 257, RED_GREEN),
        (np.concatenate((RED_GREEN[..., ::-1], [[[0], [128]]]), axis=-1).astype(np.uint8), RED_GREEN),  # not blended
    ],
    ids=["colour", "grey", "16 bits", "16 bits of colour", "alpha"],
)
def test_whatever_is_stored_comes_out_as_rgb(tmp_path: Path, stored: np.ndarray, read: np.ndarray) -> None:
    np.testing.assert_array_equal(read_image(_write(tmp_path / "a.png", stored)), read)


def test_exif_rotation_is_ignored(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", np.zeros((10, 20, 3), np.uint8))
    tiff = b"II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation: turn by 90 degrees
    block = b"Exif\x00\x00" + tiff
    path = tmp_path / "a.jpg"
    jpeg = data.tobytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:])
    turned = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert turned is not None and turned.shape == (20, 10, 3)  # the note is there, and valid
    assert read_image(path).shape == (10, 20, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.jpg is not an image"):
        read_image(tmp_path / "bad.jpg")


def test_floating_point_image_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tiff", np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="float32"):
        read_image(path)


def test_mask_is_true_where_anything_but_zero_is_stored(tmp_path: Path) -> None:
    grey = _write(tmp_path / "a.png", np.array([[0, 1, 255]], np.uint8))
    colour = _write(tmp_path / "b.png", np.array([[[0, 0, 0], [0, 0, 9], [9, 0, 0]]], np.uint8))
    opaque = _write(tmp_path / "c.png", np.array([[[0, 0, 0, 255], [1, 0, 0, 255], [0, 1, 0, 0]]], np.uint8))
    for mask in MaskFiles([grey, colour, opaque]):
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, [[False, True, True]])


NUM_FRAMES = 30


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose frames carry their index as five black or white squares."""
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 32))
    for index in range(NUM_FRAMES):
        bits = [255 * (index >> bit & 1) for bit in range(5)]
        grey = np.repeat(np.repeat(np.array([bits], np.uint8), 32, axis=0), 32, axis=1)
        writer.write(np.stack([grey // 2, grey, grey], axis=-1))  # yellowish, as blue, green, red
    writer.release()
    return path


def _index_of(picture: np.ndarray) -> int:
    return sum(int(picture[16, 32 * bit + 16, 0] > 127) << bit for bit in range(5))


def test_video_gives_exact_frames_in_any_order(video: Path, tmp_path: Path) -> None:
    frames = VideoFile(video)
    order = [0, 1, 2, 17, 18, 3, 29, 0, 12, 12, 11, 28]
    assert [_index_of(frames[index]) for index in order] == order
    assert len(frames) == NUM_FRAMES
    assert _index_of(frames[-1]) == NUM_FRAMES - 1
    # What its header says of its maker need not be text.
    (tmp_path / "a.mp4").write_bytes(video.read_bytes().replace(b"Lavf", b"\xff\xff\xff\xff"))
    assert _index_of(VideoFile(tmp_path / "a.mp4")[17]) == 17


def test_video_can_be_looped_over_and_ends(video: Path) -> None:
    frames = VideoFile(video)
    assert [_index_of(picture) for picture in frames] == list(range(NUM_FRAMES))
    with pytest.raises(IndexError, match=rf"frame {NUM_FRAMES} .* which has {NUM_FRAMES}"):
        frames[NUM_FRAMES]


def test_video_colours_are_rgb(video: Path) -> None:
    red, green, blue = VideoFile(video)[31 & 29][16, 16].astype(int)
    assert red > blue + 60 and green > blue + 60


def test_video_survives_another_process(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = VideoFile(video)
    assert _index_of(frames[9]) == 9
    assert _index_of(pickle.loads(pickle.dumps(frames))[10]) == 10  # spawned
    # Forked: the parent's decoder must be left alone, since both share one position in the file.
    parents = frames._capture
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert _index_of(frames[10]) == 10
    assert frames._capture is not parents


@pytest.fixture(scope="module", params=["mp4", "mkv"])
def h264(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of H.264 whose groups of frames are open and contain B-frames, which are stored out of order."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path_factory.mktemp("video") / f"v.{request.param}"
    noise = np.random.default_rng(0).integers(0, 256, (18, 32, 3), np.uint8)
    scenery = cv2.resize(noise, (320, 180), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"preset": "veryfast", "g": "12", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal"}
        for index in range(60):
            part = np.ascontiguousarray(scenery[2 * index : 2 * index + 48, 4 * index : 4 * index + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_frames_at_random_are_those_in_order(h264: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pixel; and none of them is decoded from the start, for which the file would be opened anew."""
    in_order = [picture for picture in VideoFile(h264)]  # `list` would ask for the length, and so for PyAV
    frames = VideoFile(h264)
    assert len(in_order) == len(frames) == 60
    monkeypatch.setattr(cv2, "VideoCapture", None)
    for index in (*np.random.default_rng(1).permutation(60).tolist(), -1, 1, 2, 40, 41, 41, 40):
        np.testing.assert_array_equal(frames[index], in_order[index])
    with pytest.raises(IndexError, match=r"frame 99 .* which has 60"):
        frames[99]


def test_a_video_that_its_header_turns_is_the_same_in_any_order(tmp_path: Path) -> None:
    """With a first frame that looks the same turned, which hides that PyAV does not turn."""
    av = pytest.importorskip("av")
    black = tmp_path / "turned.mp4"
    with av.open(str(black), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(8):
            picture = np.zeros((64, 64, 3), np.uint8)
            picture[: 32 if index else 0] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = black.read_bytes()
    upright = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    turned = b"".join(
        value.to_bytes(4, "big", signed=True) for value in (-1 << 16, 0, 0, 0, -1 << 16, 0, 64 << 16, 64 << 16, 1 << 30)
    )
    place = content.index(b"tkhd")
    start = content.index(upright, place)
    black.write_bytes(content[:start] + turned + content[start + 36 :])
    in_order = [picture for picture in VideoFile(black)]
    assert in_order[3][:16].mean() < 20 < 180 < in_order[3][-16:].mean(), "the header turns it"
    np.testing.assert_array_equal(VideoFile(black)[3], in_order[3])


def test_frames_at_random_do_without_pyav(h264: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, other = VideoFile(h264), VideoFile(h264)
    with_pyav = [frames[index] for index in (30, 7)]
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(other) == 60
    np.testing.assert_array_equal([other[index] for index in (30, 7)], with_pyav)


def test_video_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4 does not exist"):
        VideoFile(tmp_path / "gone.mp4")
    for name, said in (("text.mp4", "text.mp4 is not a video"), ("boxes.txt", "boxes.txt is not a video"),
                       ("odd\udcff.mp4", r"odd\\udcff.mp4.* is not UTF-8")):  # fmt: skip
        (tmp_path / name).write_text("120,80,64,48\n" * 100)
        with pytest.raises(ValueError, match=said):
            VideoFile(tmp_path / name)
    empty = tmp_path / "empty.mp4"
    cv2.VideoWriter(str(empty), cv2.VideoWriter.fourcc(*"mp4v"), 25, (32, 32)).release()
    with pytest.raises(ValueError, match=r"empty\.mp4"):
        VideoFile(empty)
