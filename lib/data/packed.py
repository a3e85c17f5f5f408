"""A folder of files packed into one LMDB: the files' own bytes, found by their paths within the folder."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import lmdb

_DATA_FILE = "data.mdb"
_AFTER_SLASH = chr(ord("/") + 1)  # sorts directly after everything below a folder


def is_packed(root: Path) -> bool:
    """Return whether a folder is an LMDB."""
    return (root / _DATA_FILE).is_file()


@dataclass(frozen=True, order=True)
class PackedPath:
    """A file or folder within an LMDB, with the methods of `pathlib.Path` that `TreePath` names.

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
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "PackedPath":
        return PackedPath(self.database, self.key.rpartition("/")[0])

    def __truediv__(self, key: str) -> "PackedPath":
        return PackedPath(self.database, f"{self.key}/{key}" if self.key else str(key))

    def __str__(self) -> str:
        return f"{self.database}/{self.key}" if self.key else self.database

    def with_name(self, name: str) -> "PackedPath":
        return self.parent / name

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        with _environment(self.database).begin() as transaction:
            return transaction.get(self.key.encode()) is not None if self.key else False

    def is_dir(self) -> bool:
        prefix = self._prefix()
        with _environment(self.database).begin() as transaction:
            cursor = transaction.cursor()
            return cursor.set_range(prefix) and cursor.key().startswith(prefix)

    def iterdir(self) -> Iterator["PackedPath"]:
        """List a folder; whole folders below it are skipped by one look-up each."""
        prefix = self._prefix()
        found = []
        with _environment(self.database).begin() as transaction:
            cursor = transaction.cursor()
            more = cursor.set_range(prefix)
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

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        with io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding=encoding or "utf-8", errors=errors) as stream:
            return stream.read()

    def _prefix(self) -> bytes:
        return f"{self.key}/".encode() if self.key else b""


_opened: dict[str, tuple[int, lmdb.Environment]] = {}


def _environment(database: str) -> lmdb.Environment:
    """Open a database; once in each process, because an open LMDB must not cross a fork."""
    process = os.getpid()
    if database not in _opened or _opened[database][0] != process:
        _opened.pop(database, None)
        if not is_packed(Path(database)):
            raise FileNotFoundError(f"there is no LMDB in {database}")
        _opened[database] = process, lmdb.open(database, readonly=True, lock=False, readahead=False)
    return _opened[database][1]
