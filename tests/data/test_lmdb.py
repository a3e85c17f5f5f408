"""A packed folder reads like the folder, survives interruptions, and is checked."""

import json
import multiprocessing
import os
import pickle
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import lib.data.storage.lmdb_writer as pack
from lib.data.check import Selection, check
from lib.data.storage.lmdb_writer import LmdbWriter, write_lmdb
from lib.data.storage.tree import LmdbPath, TreePath, open_tree
from lib.train.loading import open_loader

FILES = {
    "a/1.txt": b"one",
    "a/2.txt": b"two",
    "a/deep/er/3.bin": bytes(range(256)) * 40,
    "a-b/1.txt": b"sorts between a and a/",
    "ab": b"",
    "z.txt": "höhe\r\n".encode(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture
def tree(folder: Path, tmp_path: Path) -> TreePath:
    write_lmdb(folder, tmp_path / "lmdb", progress=False)
    return open_tree(tmp_path / "lmdb")


def walk(path: TreePath, top: int) -> dict[str, object]:
    """Describe everything below a path by what readers can ask of it."""
    found: dict[str, object] = {}
    for child in path.iterdir():
        name = str(child)[top:]
        found[name] = (child.name, child.suffix, child.is_file(), child.is_dir(), child.exists())
        if child.is_dir():
            found |= walk(child, top)
        else:
            found[name + " bytes"] = child.read_bytes()
    return found


def test_packed_folder_reads_like_the_folder(folder: Path, tree: TreePath) -> None:
    assert isinstance(tree, LmdbPath)
    assert walk(tree, len(str(tree))) == walk(open_tree(folder), len(str(folder)))
    deep = tree / "a" / "deep/er" / "3.bin"
    assert deep.parent.parent.name == "deep"


def test_what_is_not_there_is_an_error_as_in_a_folder(folder: Path, tree: TreePath) -> None:
    for root in (folder, tree):
        for name in ("a/3.txt", "a/deep/e", "1.txt", "zz"):
            path = root / name
            assert not path.exists() and not path.is_file() and not path.is_dir()
            with pytest.raises(FileNotFoundError, match=name):
                path.read_bytes()
            with pytest.raises(FileNotFoundError, match=name):
                list(path.iterdir())


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_read_the_same_database(tree: TreePath, start: str) -> None:
    assert isinstance(tree, LmdbPath)
    path = tree / "a" / "2.txt"
    assert path.read_bytes() == b"two"
    assert pickle.loads(pickle.dumps(path)) == path
    with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:  # which loads nothing but what it reads by
        assert pool.submit(path.read_bytes).result() == b"two"
    assert path.read_bytes() == b"two"


def test_interrupted_work_is_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "lmdb"
    add, added = LmdbWriter.add, []

    def fail_at_the_fourth(writer: LmdbWriter, key: str, data: bytes) -> None:
        if len(added) == 3:
            raise KeyboardInterrupt
        added.append(key)
        add(writer, key, data)

    monkeypatch.setattr(LmdbWriter, "add", fail_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        write_lmdb(folder, out, progress=False)
    with pytest.raises(ValueError, match="not complete; run again"):
        (open_tree(out) / "ab").read_bytes()
    monkeypatch.setattr(LmdbWriter, "add", add)
    report = write_lmdb(folder, out, progress=False)
    assert (report.files, report.kept) == (len(FILES), 3)
    assert walk(open_tree(out), len(str(out))) == walk(folder, len(str(folder)))
    assert write_lmdb(folder, out, progress=False).kept == len(FILES)


def test_parts_are_added_one_after_the_other(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "lmdb"
    assert write_lmdb(folder, out, only=["a"], progress=False).files == 3
    assert sorted(path.name for path in open_tree(out).iterdir()) == ["a"]
    write_lmdb(folder, out, only=["a-b"], progress=False)
    assert sorted(path.name for path in open_tree(out).iterdir()) == ["a", "a-b"]


def test_map_grows_with_what_is_stored(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "FIRST_MAP", 2**16)
    monkeypatch.setattr(pack, "COMMIT_BYTES", 2**15)
    rng = np.random.default_rng(0)
    for index in range(20):
        (folder / f"{index}.bin").write_bytes(rng.bytes(20_000))
    report = write_lmdb(folder, tmp_path / "lmdb", compare_all=True, progress=False)
    assert report.compared == report.files == len(FILES) + 20


def test_stored_bytes_are_compared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = LmdbWriter.add
    monkeypatch.setattr(LmdbWriter, "add", lambda writer, key, data: add(writer, key, data[::-1]))
    with pytest.raises(ValueError, match=r"z\.txt is not what was stored"):
        write_lmdb(folder, tmp_path / "lmdb", compare_all=True, progress=False)


def test_edited_annotation_of_the_same_size_is_lmdb_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "lmdb"
    write_lmdb(folder, out, progress=False)
    times = (folder / "a/2.txt").stat()
    (folder / "a/2.txt").write_bytes(b"new")
    os.utime(folder / "a/2.txt", (times.st_atime, times.st_mtime))  # as an editor that hides its traces
    report = write_lmdb(folder, out, progress=False)
    assert report.kept == len(FILES) - 1
    assert (open_tree(out) / "a/2.txt").read_bytes() == b"new"


@pytest.mark.parametrize("only", [(), ("a",)])
def test_changed_picture_of_the_same_size_is_lmdb_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: tuple[str, ...]
) -> None:
    out, picture = tmp_path / "lmdb", folder / "a" / "3.jpg"
    picture.write_bytes(b"before")
    now = time.time()
    monkeypatch.setattr(pack, "SETTLED_NS", 0)
    write_lmdb(folder, out, progress=False)
    reads: list[str] = []
    read = LmdbWriter.read
    monkeypatch.setattr(LmdbWriter, "read", lambda writer, key: reads.append(key) or read(writer, key))
    monkeypatch.setattr(pack, "CHECK_EVERY", 10**9)
    assert write_lmdb(folder, out, only, progress=False).removed == 0
    assert "a/3.jpg" not in reads  # believed: not read again
    picture.write_bytes(b"after!")
    os.utime(picture, (now + 2000, now + 2000))
    write_lmdb(folder, out, only, progress=False)
    assert (open_tree(out) / "a/3.jpg").read_bytes() == b"after!"


def test_no_stale_picture_is_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture was made, and packed, by a clock a day ahead of the one by which it is changed."""
    out, picture = tmp_path / "lmdb", folder / "a" / "3.jpg"
    picture.write_bytes(b"before")
    now = time.time()
    os.utime(picture, (now + 80000, now + 80000))
    monkeypatch.setattr(pack.time, "time", lambda: now + 86400)
    write_lmdb(folder, out, progress=False)
    monkeypatch.undo()
    picture.write_bytes(b"after!")
    assert write_lmdb(folder, out, only=["a-b"], progress=False).kept
    write_lmdb(folder, out, progress=False)
    assert (open_tree(out) / "a/3.jpg").read_bytes() == b"after!"


@pytest.mark.parametrize("damage", ["page", "bit"])
def test_a_damaged_database_is_found_before_it_is_opened(tmp_path: Path, damage: str) -> None:
    """To read a page of zeros would abort this process."""
    _own_data(tmp_path / "data")
    out = tmp_path / "lmdb"
    write_lmdb(tmp_path / "data", out, progress=False)
    (report,) = check([Selection("folder", root=out)])
    assert not report.broken
    data = bytearray((out / "data.mdb").read_bytes())
    if damage == "page":
        data[8192:] = bytes(len(data) - 8192)
    else:
        data[len(data) // 2] ^= 4
    copy = tmp_path / "copy"  # under a name that is not open yet
    shutil.copytree(out, copy)
    (copy / "data.mdb").write_bytes(data)
    (report,) = check([Selection("folder", root=copy)])
    assert report.broken and "copy/data.mdb is damaged" in report.absent


def test_what_is_gone_is_removed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "lmdb"
    write_lmdb(folder, out, progress=False)
    for name in ("a/1.txt", "a-b/1.txt"):
        (folder / name).unlink()
    assert write_lmdb(folder, out, only=["a"], progress=False).removed == 1
    assert not (open_tree(out) / "a/1.txt").exists() and (open_tree(out) / "a-b/1.txt").exists()
    assert write_lmdb(folder, out, progress=False).removed == 1
    (folder / "a-b").rmdir()
    assert walk(open_tree(out), len(str(out))) == walk(folder, len(str(folder)))


@pytest.mark.parametrize("name", ["train.tgz", "train.tar.bz2", "a/TRAIN.ZIP", ".hidden"])
def test_archives_and_hidden_files_are_left_out(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_bytes(b"much")
    assert write_lmdb(folder, tmp_path / "lmdb", progress=False).files == len(FILES)
    assert not (open_tree(tmp_path / "lmdb") / name).exists()


def test_what_cannot_be_packed_is_refused(folder: Path, tree: TreePath, tmp_path: Path) -> None:
    for out in (folder, folder / "packed"):
        with pytest.raises(ValueError, match="choose a folder outside"):
            write_lmdb(folder, out, progress=False)
    with pytest.raises(ValueError, match="is an LMDB already"):
        write_lmdb(tmp_path / "lmdb", tmp_path / "again", progress=False)
    with pytest.raises(FileNotFoundError, match="there is no b in"):
        write_lmdb(folder, tmp_path / "other", only=["b"], progress=False)
    with pytest.raises(ValueError, match="holds the files of"):
        write_lmdb(folder / "a", tmp_path / "lmdb", progress=False)
    (folder / "a" / "v.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"v\.mp4 is a video"):
        write_lmdb(folder, tmp_path / "other", progress=False)
    (folder / "a" / "v.mp4").unlink()
    with LmdbWriter(tmp_path / "keys", "keys") as writer, pytest.raises(ValueError, match="too long for LMDB"):
        writer.add("x" * 512, b"")


def test_foreign_database_is_refused(tree: TreePath, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "lmdb", tmp_path / "foreign")
    (tmp_path / "foreign" / "packed.json").unlink()
    with pytest.raises(ValueError, match=r"without packed\.json"):
        (open_tree(tmp_path / "foreign") / "ab").read_bytes()
    (tmp_path / "foreign" / "packed.json").write_text(json.dumps([]))
    with pytest.raises(ValueError, match="damaged"):
        (open_tree(tmp_path / "foreign") / "ab").read_bytes()


def _own_data(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        (root / name / "img").mkdir(parents=True)
        for index in range(1, 6):
            assert cv2.imwrite(str(root / name / "img" / f"{index:08d}.jpg"), rng.integers(0, 255, (60, 80, 3)))
        (root / name / "groundtruth.txt").write_text("10,10,20,20\n" * 5)
        (root / name / "absent.txt").write_text("0\n0\n1\n0\n0\n")


@pytest.mark.parametrize("noted", [True, False])
def test_a_file_that_was_cut_off_is_refused_before_it_is_read(tmp_path: Path, noted: bool) -> None:
    root, out = tmp_path / "files", tmp_path / "lmdb"
    root.mkdir()
    for number in range(60):
        (root / f"{number}.bin").write_bytes(bytes([number]) * 5000)
    write_lmdb(root, out, progress=False)
    note = json.loads((out / "packed.json").read_text())
    file = out / "data.mdb"
    whole = file.stat().st_size
    assert note.pop("bytes") == whole and note.pop("sha256")
    if not noted:  # as packs of an earlier version
        (out / "packed.json").write_text(json.dumps(note))
    assert len(list(open_tree(out).iterdir())) == 60
    cut = tmp_path / "cut"  # under a name that is not open yet
    shutil.copytree(out, cut)
    length = whole - 1 if noted else whole // 2
    os.truncate(cut / "data.mdb", length)
    with pytest.raises(ValueError, match=rf"cut/data\.mdb is cut off: it has {length:,} bytes of .*copy it again"):
        list(open_tree(cut).iterdir())
    before = (cut / "packed.json").read_text()
    with pytest.raises(ValueError, match="is cut off"):
        write_lmdb(root, cut, progress=False)
    assert (cut / "packed.json").read_text() == before
    (report,) = check([Selection("folder", root=cut)])
    assert report.broken and "is cut off" in report.absent
    for length in (5000, 4096, 100, 50, 0):  # to open it would kill this process, as a bus error
        os.truncate(cut / "data.mdb", length)
        with pytest.raises(ValueError, match=r"cut/data\.mdb is (damaged|cut off)"):
            list(open_tree(cut).iterdir())


def test_a_folder_of_other_files_is_refused_and_left_alone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"out holds other files \(thesis\.txt, 1 in all\) and no LMDB"):
        write_lmdb(folder, out, progress=False)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    (out / "thesis.txt").rename(out / "packed.json")  # as an interruption may leave it
    assert write_lmdb(folder, out, progress=False).files == len(FILES)


class KilledByDamage(Dataset[int]):
    """Reads a file of an LMDB and dies as LMDB does on a page of zeros."""

    def __init__(self, path: TreePath) -> None:
        self._path = path
        self._path.read_bytes()

    def __getitem__(self, index: int) -> int:
        self._path.read_bytes()
        os.abort()

    def collate(self, samples: list[int]) -> list[int]:
        return samples


def test_a_killed_loader_process_names_the_databases(tree: TreePath) -> None:
    loader = open_loader(KilledByDamage(tree / "a" / "2.txt"), [[0]], 1, torch.device("cpu"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(OSError, match=r"may have been reading a damaged LMDB, so check .*lmdb with prepare\.py check"):
        list(loader)
