"""Files that would crash, fill the memory, hang, or be silently misread: refused, by an error that names them."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lib.data.check import Selection, check
from lib.data.crop import CropWindow
from lib.data.datasets import open_dataset
from lib.data.images.frames import ImageFiles, read_header
from lib.data.images.jpeg import find_damage
from lib.data.table import read_table

IMAGE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8), (0, 0), 2)


def encoded(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, IMAGE, options)[1].tobytes()


def test_a_lossless_jpeg_is_asked_of_no_decoder_that_would_scale_it(tmp_path: Path) -> None:
    """Its frame header alone is changed: the fast decoders would reduce it and write past the end of their buffer."""
    data = bytearray(encoded(".jpg"))
    data[data.index(b"\xff\xc0") + 1] = 0xC3
    (tmp_path / "a.jpg").write_bytes(data)
    header = read_header(bytes(data))
    assert not header.scalable and not header.from_the_top
    with pytest.raises(ValueError, match=r"a\.jpg"):
        ImageFiles([tmp_path / "a.jpg"]).cut(0, CropWindow(0, 0, 200.0, 40))


@pytest.mark.parametrize("marker", [b"\xff\x01", b"\xff\xd0", b"\xff\x00"])
def test_a_header_hidden_from_us_and_not_from_the_decoder_is_refused(marker: bytes) -> None:
    """Such markers have no length; whoever reads one jumps over the header that the decoder will find."""
    data = encoded(".jpg")
    with pytest.raises(ValueError, match="header is damaged"):
        read_header(data[:2] + marker + data[2:])
    frame = data[data.index(b"\xff\xc0") : data.index(b"\xff\xc4")]
    with pytest.raises(ValueError, match="header is damaged"):
        read_header(data.replace(frame, frame + frame, 1))


SIZES = {  # where height and width are stated, and how
    ".png": (20, 16, ">I"),
    ".bmp": (22, 18, "<i"),
    ".jpg": (None, None, ">H"),
}


@pytest.mark.parametrize("suffix", SIZES)
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path, suffix: str) -> None:
    data = bytearray(encoded(suffix))
    at_height, at_width, layout = SIZES[suffix]
    if at_height is None or at_width is None:
        at_height = data.index(b"\xff\xc0") + 5
        at_width = at_height + 2
    struct.pack_into(layout, data, at_height, 20_000)
    struct.pack_into(layout, data, at_width, 30_000)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\{suffix} .*30000 x 20000 pixels, more than 200,000,000"):
        ImageFiles([path])[0]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".webp", ".tif"])
def test_the_limit_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(suffix))
    assert ImageFiles([path]).size(0) == IMAGE.shape[:2]
    assert ImageFiles([path])[0].shape == IMAGE.shape
    monkeypatch.setenv("MMG_MAX_PIXELS", str(IMAGE.shape[0] * IMAGE.shape[1] - 1))
    with pytest.raises(ValueError, match=r"320 x 240 pixels, more than 76,799; MMG_MAX_PIXELS=N allows more"):
        ImageFiles([path])[0]
    monkeypatch.setenv("MMG_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="MMG_MAX_PIXELS is 'many'"):
        ImageFiles([path])[0]


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_damaged_jpeg_is_opencvs_picture_every_time_and_check_says_so(tmp_path: Path, progressive: int) -> None:
    """Many zeros in the middle; what memory held before must not show, in the whole or in a part."""
    folder = tmp_path / "videos" / "one"
    (folder / "img").mkdir(parents=True)
    data = bytearray(encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, progressive))
    data[len(data) // 2 : len(data) // 2 + 1000] = bytes(1000)
    (folder / "img" / "1.jpg").write_bytes(data)
    (folder / "groundtruth.txt").write_text("10,10,50,50\n")
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert plain is not None
    expected = plain[..., ::-1]
    window = CropWindow(100.0, 150.0, 64.0, 64)
    for _ in range(3):
        frames = ImageFiles([folder / "img" / "1.jpg"])
        np.testing.assert_array_equal(frames[0], expected)
        np.testing.assert_array_equal(frames.cut(0, window), expected[150:214, 100:164])
    assert find_damage(bytes(data)) is not None and find_damage(encoded(".jpg")) is None
    (report,) = check([Selection("folder", root=tmp_path / "videos")], full=True)
    assert report.broken and "1 damaged frames, decoded as far as possible" in report.problems[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg is not a file"):
        ImageFiles([tmp_path / "a.jpg"])[0]
    os.mkfifo(tmp_path / "groundtruth.txt")
    with pytest.raises(ValueError, match=r"groundtruth\.txt is not a file"):
        read_table(tmp_path / "groundtruth.txt", 4)


@pytest.mark.parametrize("end", ["\u2028", "\x0b", "\x1c", "\x85"])
def test_only_the_ends_of_lines_end_lines(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.txt").write_text(f"1,2,3,4{end}5,6,7,8\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.txt, row 1: expected 4 numbers"):
        read_table(tmp_path / "a.txt", 4)


def coco(root: Path, segmentation: object, name: object = "1.jpg", **changes: object) -> Path:
    (root / "annotations").mkdir()
    (root / "train2017").mkdir()
    (root / "train2017" / "1.jpg").write_bytes(encoded(".jpg"))
    image = {"id": 1, "file_name": name, "height": 240, "width": 320}
    entry = {"id": 5, "image_id": 1, "bbox": [10, 10, 40, 40], "segmentation": segmentation, **changes}
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps({"images": [image], "annotations": [entry]}))
    return file


HUGE, AREA = 10**9, 240 * 320


@pytest.mark.parametrize(
    "segmentation",
    [
        [[float("inf"), 10, 50, 10, 50, 50]], [[float("nan"), 10, 50, 10, 50, 50]], [[HUGE, 10, 50, 10, 50, 50]],
        [[-1e6, 10, 50, 10, 50, 50]], [], [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], "text", None, [["1"] * 6],
        {"size": [240, 320], "counts": "text"}, {"size": [HUGE, HUGE], "counts": [HUGE]}, {"counts": [AREA]},
        {"size": [240, 320], "counts": [AREA + 1]}, {"size": [240, 320], "counts": [-5, AREA + 5]},
        {"size": [240, 320], "counts": [float("inf")]}, {"size": [-1, 5], "counts": [3]},
    ],
)  # fmt: skip
def test_bad_segmentations_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segmentation: object) -> None:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    coco(tmp_path, segmentation)
    dataset = open_dataset("coco", "train", tmp_path)
    masks = dataset[0].masks
    assert masks is not None
    with pytest.raises(ValueError, match=r"instances_train2017\.json: the segmentation of object 5"):
        masks[0]


@pytest.mark.parametrize(
    "changes",
    [{"image_id": 9}, {"image_id": None}, {"bbox": "text"}, {"bbox": [1, 2]}, {"id": 1e99}, {"bbox": None},
     {"name": "../../secret.jpg"}, {"name": "/etc/secret.jpg"}, {"name": "a\0.jpg"}, {"name": ""}, {"name": 1}],
)  # fmt: skip
def test_bad_entries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    coco(tmp_path, [], **changes)
    with pytest.raises(ValueError, match=r"instances_train2017\.json is damaged"):
        open_dataset("coco", "train", tmp_path)


def test_runs_as_text_are_those_of_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pycocotools import mask as codec

    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    disc = np.asarray(cv2.circle(np.zeros((240, 320), np.uint8), (200, 100), 60, 1, -1), np.uint8)
    expected = disc ^ (IMAGE[..., 0] > 140).astype(np.uint8)
    code: Any = codec.encode(np.asfortranarray(expected))
    coco(tmp_path, {"size": [240, 320], "counts": code["counts"].decode()})
    masks = open_dataset("coco", "train", tmp_path)[0].masks
    assert masks is not None
    np.testing.assert_array_equal(masks[0], expected > 0)


def test_a_mask_of_another_size_than_its_frame_is_refused_by_both_names(tmp_path: Path) -> None:
    folder = tmp_path / "videos" / "one"
    for name, picture in (("img/1.jpg", IMAGE), ("mask/1.png", IMAGE[:120, :160, 0])):
        (folder / name).parent.mkdir(parents=True)
        assert cv2.imwrite(str(folder / name), picture)
    (folder / "groundtruth.txt").write_text("10,10,50,50\n")
    masks = open_dataset("folder", "train", tmp_path / "videos")[0].masks
    assert masks is not None
    with pytest.raises(ValueError, match=r"mask/1\.png has 160 x 120 pixels, its frame .*img/1\.jpg has 320 x 240"):
        masks[0]
    (report,) = check([Selection("folder", root=tmp_path / "videos")])
    assert report.broken and "mask/1.png has 160 x 120 pixels" in report.problems[0]


def test_a_user_without_a_home_is_told_where_to_put_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco(tmp_path, [])
    monkeypatch.setenv("MMG_CACHE", "~nobody-by-this-name/cache")
    with pytest.raises(ValueError, match="set MMG_CACHE to a folder"):
        open_dataset("coco", "train", tmp_path)
