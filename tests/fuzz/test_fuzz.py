"""Damaged and hostile files: each is read as a plain decoder reads it, or refused by an error that names the file.

The fast suite tries a few of every kind; `make fuzz` tries 50,000, and `python tests/fuzz/test_fuzz.py COUNT SEED` as
many as wanted. All are read in a child process, with limits on memory and time: what kills it is a failure like another.
"""

import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from lib.config.load import load
from lib.config.paths import dataset_root
from lib.data.crop import CropWindow
from lib.data.crop_cache.cache import Extent, Reach
from lib.data.crop_cache.cut import cut_crops
from lib.data.datasets import open_dataset
from lib.data.images.decode import find_damage
from lib.data.images.frames import ImageFiles, MaskFiles
from lib.data.storage.lmdb_writer import write_lmdb
from lib.data.storage.tree import TreePath, open_tree, require_intact
from lib.eval.record import read_record
from lib.eval.results import read_boxes, read_seconds
from lib.eval.score.learning_curves import read_learning_curves
from lib.models.pretrained import read_checkpoint
from lib.models.trained import read_weights, write_weights
from lib.tracker.onnx_tracker import FORMAT, TrackingRecipe

MEMORY = 2 * 2**30  # bytes more than the process had when it began
SECONDS = 5.0  # of the processor, for one input
MAX_PIXELS = 4_000_000
ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
WORDS = [
    b"nan", b"inf", b"-1", b"0", b"1e999", b"1e9", b"-0.0", b"1_0", "٣".encode(), "\u2028".encode(), b"", b"\0", b"\r", b"\xff",
    b"null", b"true", b"{}", b"[]", b"[[]]", b'"a"', b"9" * 400, b"2020-99-99", b"!!bool maybe", b"!!python/name:os.system ",
    b"&a [*a]", b"../../x", b"/etc/passwd", b"[" * 3000, b'{"a":' * 3000, b"1" + b"0" * 12, b"~nobody", b"$HOME", b"=1+1",
]  # fmt: skip


class Kind(NamedTuple):
    """A kind of file: a valid one is mutated in its place and read, which may raise ValueError or OSError."""

    file: Path
    read: Callable[[], object]
    text: bool = False
    named: str = ""  # what an error must name, if not the file


def mutate(data: bytes, rng: np.random.Generator, text: bool) -> bytes:
    """Damage a file in one to three of the ways in which disks, programs and people do."""
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 1 + rng.choice([4, 64, 4096])))
        tokens = [match.span() for match in re.finditer(rb"[-\w.]+", data[:100_000])] if text else []
        way = rng.integers(10 if tokens else 7)
        if way == 0:
            flipped = bytearray(data)
            for place in rng.integers(len(data), size=rng.integers(1, 9)) if data else ():
                flipped[place] ^= 1 << rng.integers(8)
            data = bytes(flipped)
        elif way == 1:
            data = data[:at]
        elif way == 2:
            data = data[:at] + data[at + length :]
        elif way == 3:
            data = data[:at] + data[max(0, at - length) : at] + data[at:]
        elif way == 4:
            data = data[:at] + rng.choice([0, 255], 1).astype(np.uint8).tobytes() * length + data[at + length :]
        elif way == 5:
            data = data[:at] + rng.bytes(length) + data[at + length :]
        elif way == 6:
            extreme = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 0xC3, 0xC2]))
            layout = rng.choice([">I", "<I", ">H", "<H", "B"])
            packed = struct.pack(layout, extreme & 2 ** (8 * struct.calcsize(layout)) - 1)
            data = data[:at] + packed + data[at + len(packed) :]
        else:
            start, stop = tokens[rng.integers(len(tokens))]
            data = data[:start] + WORDS[rng.integers(len(WORDS))] + data[stop:]
    return data


def read_picture(path: Path) -> None:
    """Decode twice, with different bytes in fresh memory: OpenCV's picture both times, and crops of it."""
    whole = [with_fresh_memory(byte, lambda: ImageFiles([path])[0]) for byte in (1, 254)]
    assert np.array_equal(*whole), "memory that nobody wrote became a picture"
    height, width = whole[0].shape[:2]
    assert height * width <= MAX_PIXELS
    data = np.frombuffer(path.read_bytes(), np.uint8)
    plain = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    is_jpeg = path.suffix == ".jpg" and data[0] == 0xFF
    assert np.abs(whole[0][..., ::-1].astype(int) - plain).max() <= (0 if is_jpeg else 1), "not OpenCV's picture"
    intact = is_jpeg and find_damage(data.tobytes()) is None
    for window in (CropWindow(width * 0.3, height * 0.2, 40.0, 32), CropWindow(-9.5, 20.3, 3.3 * 48, 48)):
        crops = [with_fresh_memory(byte, lambda: ImageFiles([path]).cut(0, window)) for byte in (1, 254)]  # noqa: B023
        if crops[0] is None or crops[1] is None:
            assert crops[0] is crops[1] is None and window.covers_frame_share(height, width) == 0
            continue
        assert np.array_equal(*crops), "memory that nobody wrote became a crop"
        if intact and window.reduction() == 1:
            assert np.abs(crops[0].astype(int) - window.cut(whole[0])).max() <= 2, "not the crop of OpenCV's picture"


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
    rows = [
        re.split(r"\s*[,;]\s*|\s+", re.sub(r"\s*[,;]$", "", row.strip()))
        for row in re.split("\r\n|\r|\n", text.rstrip())
    ]
    assert all(NUMBER.fullmatch(word) for row in rows for word in row), "what is no number became one"
    np.testing.assert_array_equal(
        found.reshape(len(rows), -1), np.array([[float(word) for word in row] for row in rows])
    )


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


def read_note_of_lmdb(root: Path, original: Path) -> None:
    require_intact(root)
    files = sorted(path.name for path in open_tree(root).iterdir())
    assert files == sorted(path.name for path in original.iterdir())


def unpack(tree: TreePath, folder: Path) -> None:
    folder.mkdir()
    for path in tree.iterdir():
        unpack(path, folder / path.name) if path.is_dir() else (folder / path.name).write_bytes(path.read_bytes())


def make_kinds(root: Path) -> dict[str, Kind]:
    """Write a small valid file of every kind."""
    os.environ.update(MMG_MAX_PIXELS=str(MAX_PIXELS), MMG_CACHE=str(root / "cache"))
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 2)
    kinds: dict[str, Kind] = {}

    def add(
        name: str, file: Path, data: bytes | str, read: Callable[[], object], *, text: bool = False, named: str = ""
    ) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        kinds[name] = Kind(file, read, text, named)

    for name, file, options in (
        ("JPEG", "base.jpg", [cv2.IMWRITE_JPEG_QUALITY, 60]),
        ("JPEG with restarts", "restart.jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        ("progressive JPEG", "progressive.jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        ("PNG", "a.png", []), ("BMP", "a.bmp", []), ("WebP", "a.webp", []), ("TIFF", "a.tif", []),
    ):  # fmt: skip
        path = root / file
        add(name, path, cv2.imencode(path.suffix, image, options)[1].tobytes(), lambda path=path: read_picture(path))
    jpeg, mask = kinds["JPEG"].file.read_bytes(), cv2.imencode(".png", image[..., 0] // 128 * 255)[1].tobytes()

    video = root / "videos" / "one"
    for index in range(4):
        for place, data in (("img/{}.jpg", jpeg), ("mask/{}.png", mask)):
            (video / place.format(index)).parent.mkdir(parents=True, exist_ok=True)
            (video / place.format(index)).write_bytes(data)
    boxes, flags = "10,20,30.5,40\n" * 3 + "nan,nan,nan,nan\n", "0\n0\n1\n0\n"
    (video / "absent.txt").write_text(flags)
    (video / "groundtruth.txt").write_text(boxes)
    shutil.copytree(video.parent, root / "packed_from")
    add("boxes", video / "groundtruth.txt", boxes, lambda: read_dataset("folder", video.parent), text=True, named="one")
    add("flags", video / "absent.txt", flags, lambda: read_dataset("folder", video.parent), text=True, named="one")
    add(
        "masks",
        video / "mask" / "0.png",
        mask,
        lambda: MaskFiles([video / "mask" / "0.png"], ImageFiles([video / "img/0.jpg"]))[0],
    )
    for name, read in (("boxes", read_boxes), ("seconds", read_seconds)):
        path = root / "results" / f"{name}.txt"
        text = boxes if name == "boxes" else "0.01\n0.02\n"
        add(f"result {name}", path, text, lambda path=path, read=read: read_numbers(path, read), text=True)

    for folder in (root / "lmdb", root / "note"):
        write_lmdb(root / "packed_from", folder, progress=False)
    for name, folder, file in (("LMDB", "lmdb", "data.mdb"), ("note of an LMDB", "note", "packed.json")):
        path = root / folder / file
        add(name, path, path.read_bytes(), lambda path=path: read_note_of_lmdb(path.parent, root / "packed_from"),
            text=name != "LMDB", named=folder)  # fmt: skip
    extent = Extent(2.0, 20.0)
    cut_crops(
        open_dataset("folder", "train", root / "packed_from"),
        "train",
        root / "cut",
        Reach(extent, extent),
        "folder",
        progress=False,
    )
    unpack(open_tree(root / "cut"), root / "crops")
    for file in ("crops.json", "one/table.bin", "one/00000000-template.jpg"):
        path = root / "crops" / "train" / file
        add(
            f"crop cache {file}",
            path,
            path.read_bytes(),
            lambda: read_dataset("folder", root / "crops"),
            text=path.suffix == ".json",
        )

    (root / "coco" / "train2017").mkdir(parents=True)
    (root / "coco" / "train2017" / "1.jpg").write_bytes(jpeg)
    runs = [120 * 40, 300, 120 * 160 - 120 * 40 - 300]
    shapes: list[object] = [
        [[10, 10, 60.5, 10, 60, 90]],
        {"size": [120, 160], "counts": runs},
        {"size": [120, 160], "counts": "PbT1d31O10000O10000O10000O10000O1k_>"},
    ]
    objects = [
        {"id": number, "image_id": 1, "iscrowd": 0, "bbox": [10, 10, 50, 80], "segmentation": shape}
        for number, shape in enumerate(shapes)
    ]
    content = {"images": [{"id": 1, "file_name": "1.jpg", "height": 120, "width": 160}], "annotations": objects}
    add(
        "COCO",
        root / "coco" / "annotations" / "instances_train2017.json",
        json.dumps(content),
        lambda: read_dataset("coco", root / "coco"),
        text=True,
        named="coco",
    )

    shutil.copytree(
        ROOT / "experiments", root / "experiments", ignore=shutil.ignore_patterns("*.md", "paths.yaml", "gpu")
    )
    for name in ("mmg_tiny", "mmg_vitb"):
        path = root / "experiments" / f"{name}.yaml"
        add(f"experiment {name}", path, path.read_bytes(), lambda path=path: load(path), text=True)
    paths = root / "paths.yaml"
    add(
        "paths",
        paths,
        "lasot: /data/lasot\ncoco: ~/coco\n",
        lambda: dataset_root("lasot", ["lasot", "coco"], paths),
        text=True,
    )
    state = {
        "model": {"a": torch.arange(12.0), "b": torch.ones(3, dtype=torch.int64)},
        "config": {"name": "x", "n": [1, 2.5]},
    }
    torch.save(state, root / "a.pth")
    add("checkpoint", root / "a.pth", (root / "a.pth").read_bytes(), lambda: read_checkpoint(root / "a.pth"))
    write_weights(root / "a.safetensors", state["model"], {"config": state["config"]})
    add(
        "safetensors",
        root / "a.safetensors",
        (root / "a.safetensors").read_bytes(),
        lambda: read_weights(root / "a.safetensors"),
    )
    recipe = {"format": FORMAT, "template_size": 128, "search_size": 256, "update_intervals": {"lasot": 200}}
    onnx = root / "a.onnx"
    add(
        "recipe of ONNX",
        onnx,
        json.dumps(recipe),
        lambda: TrackingRecipe.from_json(onnx.read_bytes().decode(errors="replace"), str(onnx)),
        text=True,
    )
    record = {
        "tracker": "mmg",
        "config": "a",
        "benchmark": "b",
        "checkpoint_sha256": None,
        "settings": None,
        "versions": {},
        "videos": {},
    }
    add("run.json", root / "run" / "run.json", json.dumps(record), lambda: read_record(root / "run"), text=True)
    lines = "".join(json.dumps({"kind": "train", "step": step, "total": 1.5 / (1 + step)}) + "\n" for step in range(5))
    (root / "trained").mkdir()
    (root / "trained" / "config.yaml").write_bytes((ROOT / "experiments" / "mmg_tiny.yaml").read_bytes())
    log = root / "trained" / "log.jsonl"
    add(
        "log.jsonl",
        log,
        lines,
        lambda: read_learning_curves([str(root / "trained")], "total", kind="train"),
        text=True,
        named="trained",
    )
    return kinds


def try_one(kind: Kind, data: bytes) -> str:
    """Read one file; return "accepted", "refused", or what is wrong."""
    kind.file.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read()
    except (ValueError, OSError) as error:
        return "refused" if (kind.named or kind.file.name) in str(error) else f"names no file: {error!r}"[:300]
    except Exception as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        at = "" if place is None else f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
        return f"{error!r}"[:300] + at
    return "accepted"


def try_many(kinds: dict[str, Kind], first: int, stop: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Read inputs `first` to `stop` in a child process, another after one that killed it: number, kind, outcome."""
    names = list(kinds)
    originals = {name: kind.file.read_bytes() for name, kind in kinds.items()}
    while first < stop:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries' own complaints
            for number in range(first, stop):
                name = names[number % len(names)]
                rng = np.random.default_rng((seed, number))
                outcome = try_one(kinds[name], mutate(originals[name], rng, kinds[name].text))
                kinds[name].file.write_bytes(originals[name])
                os.write(writing, json.dumps([number, name, outcome]).encode()[:4000] + b"\n")
            os._exit(0)
        os.close(writing)
        rest, silent = b"", False
        while not (silent := not wait_for(child, reading)):
            if not (data := os.read(reading, 2**16)):
                break
            *lines, rest = (rest + data).split(b"\n")
            outcomes = [json.loads(line) for line in lines]
            yield from map(tuple, outcomes)
            first += len(outcomes)
        if silent:
            os.kill(child, signal.SIGKILL)
        os.close(reading)
        status = os.waitpid(child, 0)[1]
        if first < stop:  # the child did not end by itself
            name = names[first % len(names)]
            kinds[name].file.write_bytes(originals[name])
            yield (
                first,
                name,
                f"took more than {SECONDS} s" if silent else f"killed: {os.waitstatus_to_exitcode(status)}",
            )
            first += 1


def wait_for(child: int, reading: int) -> bool:
    """Wait for an answer; False when one takes too long, by the child's own time, or by the clock's if it sleeps."""
    busy, waited = cpu_seconds(child), 0
    while not select.select([reading], [], [], 1.0)[0]:
        waited += 1
        if cpu_seconds(child) - busy > SECONDS or waited > 30 * SECONDS:
            return False
    return True


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(root: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how many inputs of each kind were accepted and refused, and the failures."""
    counts: Counter[str] = Counter()
    failures = []
    for number, name, outcome in try_many(make_kinds(root), 0, count, seed):
        counts[f"{name}: {outcome if outcome in {'accepted', 'refused'} else 'FAILED'}"] += 1
        if outcome not in {"accepted", "refused"}:
            failures.append(f"{name}, input {number} of seed {seed}: {outcome}")
    return counts, failures


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
def test_damaged_files_are_read_right_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})
    counts, failures = run(tmp_path, 2000, seed=1)
    assert not failures, "\n".join(failures[:20])
    assert counts.total() == 2000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found, wrong = run(Path(folder), int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print("\n".join(f"{count:7d}  {what}" for what, count in sorted(found.items())))
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)
