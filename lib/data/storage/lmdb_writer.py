"""Store a folder of files in an LMDB: one file to copy, no millions of small ones to open."""

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lib.data.storage.tree import (
    ARCHIVES,
    DATA_FILE,
    FIRST_KEY,
    NOTE,
    PICTURES,
    VIDEOS,
    LmdbError,
    LmdbFullError,
    forget_lmdb,
    hash_lmdb,
    is_lmdb,
    open_to_read,
    open_to_write,
    read_file,
    read_note,
)
from lib.files import whole_file

COMMIT_BYTES = 64 * 2**20  # written at once; what an interruption loses at most
FIRST_MAP = 2**30  # bytes of address space; doubled when full
_MAX_KEY = 510  # bytes; LMDB's limit is 511, and a stamp's key has one more
_STAMP = b"\0"  # begins the key of what was noted of a file
SETTLED_NS = 2 * 10**9  # a file that has changed a moment ago could change again and look the same
_PAGE = 4096  # bytes; LMDB stores a file in whole pages
CHECK_EVERY = 50  # of how many files one is compared in full


class LmdbWriter:
    """Adds files to an LMDB, in a `with` statement. What was there stays, so an interrupted work can be resumed."""

    def __init__(self, database: Path, source: str) -> None:
        """Open or make the database; until `finish` it counts as incomplete.

        Args:
            database: its folder.
            source: what is stored; another one may not be added to the same database.
        """
        database.mkdir(parents=True, exist_ok=True)
        forget_lmdb(str(database))  # this process may have read what it now goes on writing
        if is_lmdb(database):
            note = read_note(database)
            if note["source"] != source:
                raise ValueError(
                    f"{database} holds {note['source']}, not {source}; choose another folder, or remove it"
                )
            open_to_read(database, note).close()  # refuses a damaged one before anything is written
        else:
            # Ours may be there when a first call was interrupted early.
            others = sorted(path.name for path in database.iterdir()
                            if path.name not in {NOTE, "lock.mdb"} and not path.name.startswith("."))  # fmt: skip
            if others:
                raise ValueError(f"{database} holds other files ({others[0]}, {len(others)} in all) and no LMDB; "
                                 "choose a new folder for it")  # fmt: skip
        self._database = database
        self._source = source
        self._pending: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        self._write_note(complete=False)
        self._environment = open_to_write(database, FIRST_MAP)

    def __enter__(self) -> "LmdbWriter":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Close; after an interruption too, what was added is kept."""
        if error is None or isinstance(error, KeyboardInterrupt):
            self.flush()
        self._environment.close()

    def size(self, key: str) -> int | None:
        """Return the number of bytes of a file that is stored, None if there is none."""
        if key.encode() in self._pending:
            return len(self._pending[key.encode()])
        with self._environment.begin(buffers=True) as transaction:
            found = transaction.get(key.encode())
            return None if found is None else len(found)

    def read(self, key: str) -> bytes | None:
        """Return a file that is stored, None if there is none."""
        if key.encode() in self._pending:
            return self._pending[key.encode()]
        with self._environment.begin() as transaction:
            return transaction.get(key.encode())

    def keys(self, folder: str = "") -> list[str]:
        """Return the paths of all files in a folder, and below it, but for those added since the last `flush`."""
        prefix = f"{folder}/".encode() if folder else b""
        found = []
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            more = cursor.set_range(prefix or FIRST_KEY)
            while more and cursor.key().startswith(prefix):
                found.append(cursor.key().decode())
                more = cursor.next()
        return found

    def stamp(self, key: str) -> bytes | None:
        """Return what `note_stamp` noted of a file, None if nothing."""
        with self._environment.begin() as transaction:
            return transaction.get(_STAMP + key.encode())

    def note_stamp(self, key: str, stamp: bytes) -> None:
        """Note what a stored file was made of."""
        self._pending[_STAMP + key.encode()] = stamp

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files, as far as they are stored."""
        self.flush()
        with self._environment.begin(write=True) as transaction:
            for key in keys:
                transaction.delete(key.encode())
                transaction.delete(_STAMP + key.encode())

    def add(self, key: str, data: bytes) -> None:
        """Store a file, in place of an earlier one under the same path."""
        if not 0 < len(key.encode()) <= _MAX_KEY:
            raise ValueError(
                f"the path {key!r} is too long for LMDB: {len(key.encode())} bytes, at most {_MAX_KEY - len(_STAMP)}"
            )
        self._pending[key.encode()] = data
        self._pending_bytes += len(data)
        if self._pending_bytes >= COMMIT_BYTES:
            self.flush()

    def finish(self) -> None:
        """Declare that everything is there."""
        self.flush()
        self._environment.sync(True)
        self._write_note(complete=True)

    def flush(self) -> None:
        """Write to the disk what was added; a large number of bytes is written by itself."""
        while self._pending:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, data in self._pending.items():
                        transaction.put(key, data)
            except LmdbFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except LmdbError as error:
                raise OSError(f"cannot write the LMDB in {self._database}: {error}") from error
            else:
                self._pending.clear()
                self._pending_bytes = 0

    def _write_note(self, complete: bool) -> None:
        note: dict[str, Any] = {"source": self._source, "complete": complete}
        if complete:
            note["bytes"] = (self._database / DATA_FILE).stat().st_size
            note["sha256"] = hash_lmdb(self._database)
        with whole_file(self._database / NOTE) as partial:
            partial.write_text(json.dumps(note) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class LmdbReport:
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


def write_lmdb(
    root: Path, out: Path, only: Iterable[str] = (), *, compare_all: bool = False, progress: bool = True
) -> LmdbReport:
    """Store every file of a folder under its relative path, its bytes unchanged.

    The same call resumes what was interrupted and follows what has changed: files that are gone are removed, and a file
    is kept if its contents are those stored. Of a picture that is believed if its size and its times are those that it
    was stored with. A call with another part of the folder adds to it. At the end the size of every
    file is checked, and of one in fifty, or of all, the contents.

    Args:
        root: folder of a data set; hidden files and archives are left out.
        out: folder of the LMDB, made when missing.
        only: names of folders within `root`; all when empty.
        compare_all: read back and compare every file.
        progress: show progress bars.
    """
    if is_lmdb(root):
        raise ValueError(f"{root} is an LMDB already")
    if out.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{out} lies in the data set {root} that is to be packed: choose a folder outside")
    folders = list(only)
    files = _list_files(root, folders)
    stored_bytes = sum(-(-file.st_size // _PAGE) * _PAGE for file in files.values())
    out.mkdir(parents=True, exist_ok=True)
    with LmdbWriter(out, f"the files of {root.resolve()}") as writer:
        missing = {
            key: file.st_size
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
                writer.add(key, read_file(root / key))
                writer.note_stamp(key, _stamp(files[key]))
                bar.update(size)
        writer.flush()
        compared = 0
        for number, (key, file) in enumerate(tqdm(files.items(), desc="verifying", unit="file", disable=not progress)):
            if compare_all or number % CHECK_EVERY == 0:
                same = writer.read(key) == (root / key).read_bytes()
                compared += 1
            else:
                same = writer.size(key) == file.st_size
            if not same:
                raise ValueError(f"{root / key} is not what was stored of it; has it changed? Run the command again")
        writer.finish()
    return LmdbReport(
        len(files), sum(file.st_size for file in files.values()), len(files) - len(missing), len(gone), compared
    )


def _is_stored(writer: LmdbWriter, root: Path, key: str, file: os.stat_result) -> bool:
    if writer.size(key) != file.st_size:
        return False
    if Path(key).suffix.lower() in PICTURES and writer.stamp(key) == _stamp(file) != b"":
        return True
    same = writer.read(key) == read_file(root / key)
    if same:
        writer.note_stamp(key, _stamp(file))
    return same


def _stamp(file: os.stat_result) -> bytes:
    """Return what changes when a file does, whatever the clock says; nothing of one that changed a moment ago."""
    if abs(time.time_ns() - max(file.st_mtime_ns, file.st_ctime_ns)) < SETTLED_NS:
        return b""
    return f"{file.st_size} {file.st_mtime_ns} {file.st_ctime_ns}".encode()


def _list_files(root: Path, only: list[str]) -> dict[str, os.stat_result]:
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
                    files[path.relative_to(root).as_posix()] = path.stat()
    if not files:
        raise FileNotFoundError(f"there are no files in {root}")
    return files
