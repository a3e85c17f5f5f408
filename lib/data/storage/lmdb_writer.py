"""Pack a folder of files into LMDB: one file to copy, no millions of small ones to open."""

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from lib.data.storage.lmdb_tree import PackWriter, is_packed
from lib.data.storage.tree import ARCHIVES, PICTURES, VIDEOS

_CLOCKS = 120.0  # seconds by which the clock of a file server may differ
_PAGE = 4096  # bytes; LMDB stores a file in whole pages
CHECK_EVERY = 50  # of how many files one is compared in full


@dataclass(frozen=True)
class PackReport:
    """What was done.

    Attributes:
        files: in the database now.
        size: of their contents in bytes.
        kept: how many of them were there already.
        removed: how many were there and are in the folder no longer.
        compared: how many were read back and compared byte by byte.
    """

    files: int
    size: int
    kept: int
    removed: int
    compared: int


def pack_folder(
    root: Path, out: Path, only: Iterable[str] = (), *, compare_all: bool = False, progress: bool = True
) -> PackReport:
    """Store every file of a folder under its relative path, its bytes unchanged.

    The same call resumes what was interrupted and follows what has changed: files that are gone are removed, and a file
    is kept if its contents are those stored. Of a picture of the same size that is believed, unless it was changed
    after the last complete call began. A call with another part of the folder adds to it. At the end the size of every
    file is checked, and of one in fifty, or of all, the contents.

    Args:
        root: folder of a data set; hidden files and archives are left out.
        out: folder of the LMDB, made when missing.
        only: names of folders within `root`; all when empty.
        compare_all: read back and compare every file.
        progress: show progress bars.

    Raises:
        FileNotFoundError: no such folder, or nothing in it.
        ValueError: the folder holds videos or is packed itself, or what was stored is not what is there.
        OSError: the disk is too small, or a file cannot be read or written.
    """
    if is_packed(root):
        raise ValueError(f"{root} is an LMDB already")
    if out.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{out} lies in the data set {root} that is to be packed: choose a folder outside")
    began = time.time()
    folders = list(only)
    files = _list_files(root, folders)
    stored_bytes = sum(-(-file.size // _PAGE) * _PAGE for file in files.values())
    out.mkdir(parents=True, exist_ok=True)
    with PackWriter(out, f"the files of {root.resolve()}") as writer:
        missing = {
            key: file.size
            for key, file in tqdm(files.items(), desc="comparing", unit="file", disable=not progress)
            if not _is_stored(writer, root, key, file)
        }
        present = [key for folder in folders or [""] for key in writer.keys(folder)]
        gone = [key for key in present if key not in files]
        writer.remove(gone)
        needed = sum(-(-size // _PAGE) * _PAGE for size in missing.values())
        free = shutil.disk_usage(out).free
        if needed > free:
            raise OSError(
                f"{out} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} of {stored_bytes / 1e9:.1f} GB are needed"
            )
        with tqdm(
            total=sum(missing.values()), desc=f"packing {root.name}", unit="B", unit_scale=True, disable=not progress
        ) as bar:
            for key, size in missing.items():
                writer.add(key, (root / key).read_bytes())
                bar.update(size)
        writer.flush()
        compared = 0
        for number, (key, file) in enumerate(tqdm(files.items(), desc="verifying", unit="file", disable=not progress)):
            if compare_all or number % CHECK_EVERY == 0:
                same = writer.read(key) == (root / key).read_bytes()
                compared += 1
            else:
                same = writer.size(key) == file.size
            if not same:
                raise ValueError(f"{root / key} is not what was stored of it; has it changed? Run the command again")
        if not folders:  # else there may be other files, which were not looked at
            writer.current_at = began
        writer.finish()
    return PackReport(
        len(files), sum(file.size for file in files.values()), len(files) - len(missing), len(gone), compared
    )


class _File(NamedTuple):
    """Size in bytes, and when its contents or its place were last changed, in seconds since 1970."""

    size: int
    changed: float


def _is_stored(writer: PackWriter, root: Path, key: str, file: _File) -> bool:
    if writer.size(key) != file.size:
        return False
    if Path(key).suffix.lower() in PICTURES:
        current_at = writer.current_at
        if current_at is not None and file.changed < current_at - _CLOCKS:
            return True
    return writer.read(key) == (root / key).read_bytes()


def _list_files(root: Path, only: list[str]) -> dict[str, _File]:
    """Return every file by its path in the folder, in order."""
    if not root.is_dir():
        raise FileNotFoundError(f"the folder {root} does not exist")
    for name in only:
        if not (root / name).exists():
            raise FileNotFoundError(f"there is no {name} in {root}")
    files = {}
    for start in [root / name for name in only] or [root]:
        for folder, folders, names in os.walk(start, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder) / name
                suffix = path.suffix.lower()
                if suffix in VIDEOS:
                    raise ValueError(f"{path} is a video; only image files can be packed: make frames of it first")
                if not name.startswith(".") and suffix not in ARCHIVES:
                    status = path.stat()
                    changed = max(status.st_mtime, status.st_ctime)
                    files[path.relative_to(root).as_posix()] = _File(status.st_size, changed)
    if not files:
        raise FileNotFoundError(f"there are no files in {root}")
    return files
