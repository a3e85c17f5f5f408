"""Where a data set lies: a folder of files or an LMDB of them, which readers see alike; what a suffix says.

An LMDB holds the files' own bytes, found by their paths within the folder.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from lib.config.text import parse_json

try:
    import lmdb
except ImportError:  # folders of files are read without it
    lmdb = None

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
VIDEOS = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"))
ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"))
DATA_FILE = "data.mdb"
NOTE = "packed.json"  # beside it: what was stored, whether all of it was, and how to know that it is unchanged
FIRST_KEY = b"\1"  # before it lie notes of the writer, which are no files
_UNWRITTEN = 16  # pages; only single ones were seen
_AFTER_SLASH = chr(ord("/") + 1)  # sorts directly after everything below a folder
_CURE = "copy it again, or remove the folder and make it anew with prepare.py"


@dataclass(frozen=True, order=True)
class LmdbPath:
    """A file or folder within an LMDB, with those methods of `pathlib.Path` that readers use.

    Holds two strings, so it travels to other processes; the database is opened once in each process that reads.

    Attributes:
        database: folder of the LMDB.
        key: path within it, with forward slashes; empty for the root.
    """

    database: str
    key: str = ""

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2] or Path(self.database).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "LmdbPath":
        return LmdbPath(self.database, self.key.rpartition("/")[0])

    def __truediv__(self, key: str) -> "LmdbPath":
        return LmdbPath(self.database, f"{self.key}/{key}" if self.key else str(key))

    def __str__(self) -> str:
        return f"{self.database}/{self.key}" if self.key else self.database

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        with _environment(self.database).begin() as transaction:
            return transaction.get(self.key.encode()) is not None if self.key else False

    def is_dir(self) -> bool:
        prefix = self._prefix()
        with _environment(self.database).begin() as transaction:
            cursor = transaction.cursor()
            return cursor.set_range(prefix or FIRST_KEY) and cursor.key().startswith(prefix)

    def iterdir(self) -> Iterator["LmdbPath"]:
        """List a folder; whole folders below it are skipped by one look-up each."""
        prefix = self._prefix()
        found = []
        with _environment(self.database).begin() as transaction:
            cursor = transaction.cursor()
            more = cursor.set_range(prefix or FIRST_KEY)
            while more and cursor.key().startswith(prefix):
                name, slash, _ = cursor.key()[len(prefix) :].partition(b"/")
                found.append(self / name.decode())
                more = cursor.set_range(prefix + name + _AFTER_SLASH.encode()) if slash else cursor.next()
        if not found:
            raise FileNotFoundError(f"the folder {self} does not exist")
        return iter(found)

    def read_bytes(self) -> bytes:
        with _environment(self.database).begin() as transaction:
            data = transaction.get(self.key.encode()) if self.key else None
        if data is None:
            raise FileNotFoundError(f"the file {self} does not exist")
        return bytes(data)

    def _prefix(self) -> bytes:
        return f"{self.key}/".encode() if self.key else b""


TreePath = Path | LmdbPath  # readers that use what both have work from files and from LMDB


def open_tree(root: Path) -> TreePath:
    """Return the root of a data set: an LMDB if the folder holds one, else the folder itself."""
    return LmdbPath(str(root)) if is_lmdb(root) else root


def read_file(path: TreePath) -> bytes:
    """Return the bytes of a file; of a pipe in its place, which would be waited for without end, an error."""
    if isinstance(path, Path) and not path.is_file() and path.exists():
        raise ValueError(f"{path} is not a file")
    return path.read_bytes()


def read_json(path: TreePath) -> Any:
    """Return what a JSON file holds."""
    try:
        return parse_json(read_file(path))
    except ValueError as error:
        raise ValueError(f"{path} is damaged, copy or unpack it again: {error}") from None


def is_lmdb(root: Path) -> bool:
    """Return whether a folder is an LMDB."""
    return (root / DATA_FILE).is_file()


# What writing one may raise.
LmdbError, LmdbFullError = (OSError, OSError) if lmdb is None else (lmdb.Error, lmdb.MapFullError)
_opened: dict[str, tuple[int, Any]] = {}


def _environment(database: str) -> Any:
    """Open a database; once in each process, because an open LMDB must not cross a fork."""
    process = os.getpid()
    if database not in _opened or _opened[database][0] != process:
        forget_lmdb(database)
        if not is_lmdb(Path(database)):
            raise FileNotFoundError(f"there is no LMDB in {database}")
        note = read_note(Path(database))
        if not note["complete"]:
            raise ValueError(f"the LMDB in {database} is not complete; run again the command that was writing it")
        _opened[database] = process, open_to_read(Path(database), note)
    return _opened[database][1]


def forget_lmdb(database: str) -> None:
    """Let the next read open a database anew."""
    _opened.pop(database, None)


def suspect_lmdbs() -> str:
    """Return what to add to an error where a process was killed: a damaged LMDB kills its reader."""
    if not _opened:
        return ""
    return f"; it may have been reading a damaged LMDB, so check {', '.join(sorted(_opened))} with prepare.py check"


def _package() -> Any:
    if lmdb is None:
        raise ValueError("an LMDB needs the package lmdb, which is not installed: pip install lmdb")
    return lmdb


def open_to_write(database: Path, map_size: int) -> Any:
    """Open a database to write it, for this process alone."""
    return _package().open(str(database), map_size=map_size, lock=True, metasync=False)


def open_to_read(database: Path, note: dict[str, Any]) -> Any:
    """Open a database to read it, if its file is as long as it must be: reading beyond the end kills the process."""
    file = database / DATA_FILE
    _require_length(file, note.get("bytes", 0))
    try:
        environment = _package().open(str(database), readonly=True, lock=False, readahead=False)
    except LmdbError as error:
        raise ValueError(f"{file} is damaged: {error}; {_CURE}") from None
    if "bytes" not in note:  # by an earlier version, or an interrupted one; the last few pages may be unwritten
        try:
            pages = environment.info()["last_pgno"] + 1 - _UNWRITTEN
            _require_length(file, pages * environment.stat()["psize"])
        except ValueError:
            environment.close()
            raise
    return environment


def _require_length(file: Path, needed: int) -> None:
    size = file.stat().st_size
    if size < needed:
        raise ValueError(f"{file} is cut off: it has {size:,} bytes of {needed:,}; {_CURE}")


def read_note(database: Path) -> dict[str, Any]:
    """Read what was noted beside a database; ValueError where that is missing or damaged."""
    path = database / NOTE
    if not path.is_file():
        raise ValueError(f"{database} holds an LMDB without {NOTE}; it was not written by `prepare.py lmdb` or `crops`")
    note = read_json(path)
    kinds = {"source": str, "complete": bool, "bytes": int, "sha256": str}
    if (
        not isinstance(note, dict)
        or {"source", "complete"} - note.keys()
        or not all(isinstance(note[key], kind) for key, kind in kinds.items() if key in note)
    ):
        raise ValueError(f"{path} is damaged; remove the folder and make it anew with prepare.py")
    return note


def require_intact(database: Path) -> None:
    """Compare an LMDB with the hash that was noted when it was written, before anything opens it.

    Raises:
        ValueError: it is damaged; LMDB would kill the process that reads the damaged part.
    """
    note = read_note(database)
    _require_length(database / DATA_FILE, note.get("bytes", 0))
    if "sha256" in note and note["sha256"] != hash_lmdb(database):
        raise ValueError(f"{database / DATA_FILE} is damaged: its contents are not those that were written; {_CURE}")


def hash_lmdb(database: Path) -> str:
    """Return the SHA-256 of the file of a database; shows progress where that takes longer than a moment."""
    file = database / DATA_FILE
    digest = hashlib.sha256()
    size = file.stat().st_size
    with (
        file.open("rb") as stream,
        tqdm(
            desc=f"hashing {database.name}", total=size, unit="B", unit_scale=True, disable=None, leave=False, delay=2
        ) as bar,
    ):
        while block := stream.read(2**22):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()
