"""Small valid files of every kind that the project reads, and how each is read beside a plain decoder."""

import ctypes
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from lib.config.load import load
from lib.config.paths import dataset_root
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import Extent, Reach
from lib.data.crop_cache.cut import cut_crops
from lib.data.datasets import open_dataset
from lib.data.images.frames import ImageFiles
from lib.data.images.jpeg import find_damage
from lib.data.images.video import VideoFile
from lib.data.storage.lmdb_writer import write_lmdb
from lib.data.storage.tree import TreePath, open_tree, require_intact
from lib.eval.mask_files import MaskRecord, claim_masks
from lib.eval.record import read_record
from lib.eval.results import read_boxes, read_seconds
from lib.eval.score.learning_curves import read_learning_curves
from lib.eval.vot.scores import format_vot_analysis, read_vot_analysis
from lib.models.pretrained import read_checkpoint
from lib.models.trained import read_weights, write_weights
from lib.tracker.onnx_tracker import TrackingRecipe

MAX_PIXELS = 4_000_000
ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
PICTURES = {
    "base.jpg": [cv2.IMWRITE_JPEG_QUALITY, 60],
    "restart.jpg": [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
    "progressive.jpg": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    **{f"a{suffix}": [] for suffix in (".png", ".bmp", ".webp", ".tif")},
}
RLE = {"size": [120, 160], "counts": [4800, 300, 120 * 160 - 5100]}
COCO = {
    "images": [{"id": 1, "file_name": "1.jpg", "height": 120, "width": 160}],
    "annotations": [
        {"id": number, "image_id": 1, "iscrowd": 0, "bbox": [10, 10, 50, 80], "segmentation": shape}
        for number, shape in enumerate(([[10, 10, 60.5, 10, 60, 90]], RLE, {"size": [120, 160], "counts": "Pf4\\9dh="}))
    ],
}
RECIPE = TrackingRecipe(
    config="mmg", checkpoint_sha256="0", template_size=128, template_factor=2.0, search_size=256, search_factor=4.0,
    pixel_mean=[1.0], pixel_std=[2.0], clip_margin=10.0, update="score", update_interval=200,
    update_intervals={"lasot": 200}, score_threshold=0.5,
)  # fmt: skip
RECORD = {"tracker": "mmg", "config": "a", "benchmark": "b", "checkpoint_sha256": None, "settings": None}
STEP = {"kind": "train", "epoch": 1, "total": 1.5}
VOT_KINDS = [f"vot.analysis.multistart.{each}" for each in ("EAOCurve", "AverageAccuracyRobustness", "EAOScore")]
VOT_EXPERIMENT = {"parameters": {"analyses": [{"type": each, "low": 2, "high": 4} for each in VOT_KINDS]},
                  "results": [[[[0, 0.5, 0.4]]], [[0.25, 0.5]], [[0.35]]]}  # fmt: skip
MASKS = MaskRecord("box", None, 0.5, "c0de")
STATE = {"a": torch.arange(12.0), "b": torch.ones(3, dtype=torch.int64)}
CONFIG = {"name": "x", "n": [1, 2.5]}


class Kind(NamedTuple):
    """A kind of file: a valid one is mutated in its place and read, which may raise ValueError or OSError."""

    file: Path
    read: Callable[[Path], object]
    named: str  # what an error must name, if not the file

    @property
    def is_text(self) -> bool:
        return self.file.suffix in {".txt", ".json", ".jsonl", ".yaml", ".onnx"}


def read_picture(path: Path) -> None:
    """Decode twice, with different bytes in fresh memory: OpenCV's picture both times, and crops of it."""
    whole = [with_fresh_memory(byte, lambda: ImageFiles([path])[0]) for byte in (1, 254)]
    first, second = whole
    plain = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert first is not None and second is not None and plain is not None
    assert np.array_equal(first, second), "memory that nobody wrote became a picture"
    height, width = first.shape[:2]
    assert height * width <= MAX_PIXELS
    data = np.frombuffer(path.read_bytes(), np.uint8)
    is_jpeg = path.suffix == ".jpg" and data[0] == 0xFF
    assert np.abs(first[..., ::-1].astype(int) - plain).max() <= (0 if is_jpeg else 1), "not OpenCV's picture"
    intact = is_jpeg and find_damage(data.tobytes()) is None
    for window in (CropWindow(width * 0.3, height * 0.2, 40.0, 32), CropWindow(-9.5, 20.3, 3.3 * 48, 48)):
        crops = [with_fresh_memory(byte, lambda: ImageFiles([path]).cut(0, window)) for byte in (1, 254)]  # noqa: B023
        if crops[0] is None or crops[1] is None:
            assert crops[0] is crops[1] is None and window.covers_frame_share(height, width) == 0
            continue
        assert np.array_equal(crops[0], crops[1]), "memory that nobody wrote became a crop"
        if intact and window.reduction() == 1:
            assert np.abs(crops[0].astype(int) - window.cut(first)).max() <= 2, "not the crop of OpenCV's picture"


def with_fresh_memory(byte: int, decode: Callable[[], np.ndarray | None]) -> np.ndarray | None:
    """Decode while fresh memory is filled with a byte, where the C library is glibc."""
    if sys.platform == "linux":
        ctypes.CDLL(None).mallopt(-6, byte)  # M_PERTURB
    try:
        return decode()
    finally:
        if sys.platform == "linux":
            ctypes.CDLL(None).mallopt(-6, 0)


def read_numbers(path: Path, read: Callable[[Path], np.ndarray]) -> None:
    """Compare with the slowest parser that does the same."""
    found = np.atleast_2d(read(path))
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("ascii")
    lines = (re.sub(r"\s*[,;]$", "", line.strip()) for line in re.split("\r\n|\r|\n", text.rstrip()))
    rows = [re.split(r"\s*[,;]\s*|\s+", line) for line in lines]
    assert all(NUMBER.fullmatch(word) for row in rows for word in row), "what is no number became one"
    np.testing.assert_array_equal(found.reshape(len(rows), -1), [[float(word) for word in row] for row in rows])


def read_dataset(name: str, root: Path) -> None:
    """Go through a data set as a training does: boxes, crops around them, masks."""
    if (root / "data.mdb").is_file():
        require_intact(root)
    dataset = open_dataset(name, "train", root)
    for index in range(len(dataset)):
        sequence = dataset[index]
        for frame in np.flatnonzero(sequence.visible)[:2].tolist():
            crop = sequence.frames.cut(frame, CropWindow.around(sequence.boxes_xywh[frame], 2.0, 32))
            assert crop is None or crop.shape == (32, 32, 3)
            if sequence.masks is not None:
                assert sequence.masks[frame].shape == sequence.frames.size(frame)


def unpack(tree: TreePath, folder: Path) -> None:
    folder.mkdir()
    for path in tree.iterdir():
        unpack(path, folder / path.name) if path.is_dir() else (folder / path.name).write_bytes(path.read_bytes())


def make_kinds(root: Path) -> dict[str, Kind]:
    """Write a small valid file of every kind."""
    os.environ.update(MMG_MAX_PIXELS=str(MAX_PIXELS), MMG_CACHE=str(root / "cache"))
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 2)
    jpeg, mask = (cv2.imencode(*each)[1].tobytes() for each in ((".jpg", image), (".png", image[..., 0] // 128 * 255)))
    video, crops, coco = root / "videos" / "one", root / "crops" / "train", root / "coco"
    files: dict[str, bytes | str] = {
        **{file: cv2.imencode(Path(file).suffix, image, options)[1].tobytes() for file, options in PICTURES.items()},
        **{f"videos/one/img/{index}.jpg": jpeg for index in range(4)},
        **{f"videos/one/mask/{index}.png": mask for index in range(4)},
        "videos/one/absent.txt": "0\n0\n1\n0\n",
        "videos/one/groundtruth.txt": "10,20,30.5,40\n" * 3 + "nan,nan,nan,nan\n",
        "results/boxes.txt": "10,20,30.5,40\n" * 3,
        "results/seconds.txt": "0.01\n0.02\n",
        "coco/train2017/1.jpg": jpeg,
        "coco/annotations/instances_train2017.json": json.dumps(COCO),
        "paths.yaml": "lasot: /data/lasot\ncoco: ~/coco\n",
        "a.onnx": RECIPE.to_json(),
        "run/run.json": json.dumps({**RECORD, "versions": {"torch": "2"}, "videos": {"one": "a"}}),
        "trained/config.yaml": (ROOT / "experiments" / "mmg_tiny.yaml").read_text(),
        "run/masks/box/masks.json": json.dumps(vars(MASKS)),
        "run/masks/box/one/boxes.txt": "",
        "vot/config.yaml": "registry:\n- ./trackers.ini\nstack: stack.yaml\n",
        "vot/analysis/one.json": json.dumps({"trackers": {"mmg": {}}, "results": {"baseline": VOT_EXPERIMENT}}),
        "trained/log.jsonl": "".join(json.dumps({**STEP, "step": n, "samples": 8 * n}) + "\n" for n in range(5)),
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    film = cv2.VideoWriter(str(root / "a.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
    for shift in range(12):
        film.write(np.roll(image, 3 * shift, 1))
    film.release()
    shutil.copytree(video.parent, root / "files")
    for folder in ("lmdb", "note"):
        write_lmdb(root / "files", root / folder, progress=False)
    reach = Reach(Extent(2.0, 20.0), Extent(2.0, 20.0))
    cut_crops(open_dataset("folder", "train", root / "files"), "train", root / "cut", reach, "folder", progress=False)
    unpack(open_tree(root / "cut"), root / "crops")
    shutil.copytree(ROOT / "experiments", root / "experiments", ignore=shutil.ignore_patterns("*.md", "paths.yaml"))
    torch.save({"model": STATE, "config": CONFIG}, root / "a.pth")
    write_weights(root / "a.safetensors", STATE, {"config": CONFIG})

    def read_lmdb(path: Path) -> None:
        require_intact(path.parent)
        assert sorted(file.name for file in open_tree(path.parent).iterdir()) == ["one"]

    readers: list[tuple[Path, Callable[[Path], object], str]] = [
        *((root / name, read_picture, "") for name in PICTURES),
        *((video / name, lambda _: read_dataset("folder", video.parent), "one")
          for name in ("groundtruth.txt", "absent.txt", "mask/0.png", "img/0.jpg")),
        *((crops / name, lambda _: read_dataset("folder", crops.parent), "")
          for name in ("crops.json", "one/table.bin", "one/00000000-template.jpg")),
        (coco / "annotations" / "instances_train2017.json", lambda _: read_dataset("coco", coco), "coco"),
        (root / "lmdb" / "data.mdb", read_lmdb, "lmdb"),
        (root / "note" / "packed.json", read_lmdb, "note"),
        (root / "results" / "boxes.txt", lambda path: read_numbers(path, read_boxes), ""),
        (root / "results" / "seconds.txt", lambda path: read_numbers(path, read_seconds), ""),
        (root / "run" / "run.json", lambda path: read_record(path.parent), ""),
        *((root / "trained" / name, lambda path: read_learning_curves([str(path.parent)], "total", kind="train"), "")
          for name in ("log.jsonl", "config.yaml")),
        (root / "run/masks/box/masks.json", lambda _: claim_masks(root / "run", "box", MASKS, overwrite=False), ""),
        *((root / "vot" / name, lambda _: format_vot_analysis(read_vot_analysis(root / "vot"), ()), "vot")
          for name in ("config.yaml", "analysis/one.json")),
        (root / "a.mp4", lambda path: [film[n] for film in [VideoFile(path)] for n in (*range(len(film)), -1)], ""),
        (root / "experiments" / "mmg_tiny.yaml", load, ""),
        (root / "experiments" / "mmg_vitb.yaml", load, ""),
        (root / "paths.yaml", lambda path: dataset_root("lasot", ["lasot", "coco"], path), ""),
        (root / "a.pth", read_checkpoint, ""),
        (root / "a.safetensors", read_weights, ""),
        (root / "a.onnx", lambda path: TrackingRecipe.from_json(path.read_text(errors="replace"), str(path)), ""),
    ]  # fmt: skip
    return {str(file.relative_to(root)): Kind(file, read, named) for file, read, named in readers}
