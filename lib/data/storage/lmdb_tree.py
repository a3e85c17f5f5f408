"""A folder of files packed into one LMDB: the files' own bytes, found by their paths within the folder."""

import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import lmdb

_DATA_FILE = "data.mdb"
_NOTE = "packed.json"  # beside it: what was packed, and whether all of it was
COMMIT_BYTES = 64 * 2**20  # written at once; what an interruption loses at most
FIRST_MAP = 2**30  # bytes of address space; doubled when full
_UNWRITTEN = 16  # pages; only single ones were seen
_MAX_KEY = 511  # bytes, a limit of LMDB
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


class PackWriter:
    """Adds files to an LMDB, in a `with` statement. What was there stays, so an interrupted work can be resumed.

    Attributes:
        current_at: seconds since 1970: what is stored was, then or later, what it was packed from; None if unknown.
    """

    def __init__(self, database: Path, source: str) -> None:
        """Open or make the database; until `finish` it counts as incomplete.

        Args:
            database: its folder.
            source: what is packed; another one may not be added to the same database.

        Raises:
            ValueError: the folder holds an LMDB of something else, or a damaged one, or other files.
            OSError: it cannot be written.
        """
        database.mkdir(parents=True, exist_ok=True)
        self.current_at: float | None = time.time()
        _opened.pop(str(database), None)  # this process may have read what it now goes on writing
        if is_packed(database):
            note = _read_note(database)
            if note["source"] != source:
                raise ValueError(
                    f"{database} holds {note['source']}, not {source}; choose another folder, or remove it"
                )
            self.current_at = note.get("current_at")
            _open(database, note).close()  # refuses a damaged one before anything is written
        else:
            _refuse_other_files(database)
        self._database = database
        self._source = source
        self._pending: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        self._write_note(complete=False)
        self._environment = lmdb.open(str(database), map_size=FIRST_MAP, lock=True, metasync=False)

    def __enter__(self) -> "PackWriter":
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
            more = cursor.set_range(prefix) if prefix else cursor.first()
            while more and cursor.key().startswith(prefix):
                found.append(cursor.key().decode())
                more = cursor.next()
        return found

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files, as far as they are stored."""
        self.flush()
        with self._environment.begin(write=True) as transaction:
            for key in keys:
                transaction.delete(key.encode())

    def add(self, key: str, data: bytes) -> None:
        """Store a file, in place of an earlier one under the same path.

        Raises:
            ValueError: the path is too long.
            OSError: it cannot be written.
        """
        if not 0 < len(key.encode()) <= _MAX_KEY:
            raise ValueError(f"the path {key!r} is too long for LMDB: {len(key.encode())} bytes, at most {_MAX_KEY}")
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
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as error:
                raise OSError(f"cannot write the LMDB in {self._database}: {error}") from error
            else:
                self._pending.clear()
                self._pending_bytes = 0

    def _write_note(self, complete: bool) -> None:
        partial = self._database / f".{_NOTE}.partial"
        note: dict[str, Any] = {"source": self._source, "complete": complete, "current_at": self.current_at}
        if complete:
            note["bytes"] = (self._database / _DATA_FILE).stat().st_size
        partial.write_text(json.dumps(note) + "\n", encoding="utf-8")
        partial.replace(self._database / _NOTE)


def _refuse_other_files(database: Path) -> None:
    # Ours may be there when a first call was interrupted early.
    others = sorted(path.name for path in database.iterdir()
                    if path.name not in {_NOTE, "lock.mdb"} and not path.name.startswith("."))  # fmt: skip
    if others:
        raise ValueError(
            f"{database} holds other files ({others[0]}, {len(others)} in all) and no LMDB; choose a new folder for it"
        )


_opened: dict[str, tuple[int, lmdb.Environment]] = {}


def _environment(database: str) -> lmdb.Environment:
    """Open a database; once in each process, because an open LMDB must not cross a fork."""
    process = os.getpid()
    if database not in _opened or _opened[database][0] != process:
        _opened.pop(database, None)
        if not is_packed(Path(database)):
            raise FileNotFoundError(f"there is no LMDB in {database}")
        note = _read_note(Path(database))
        if not note["complete"]:
            raise ValueError(f"the LMDB in {database} is not complete; run again the command that was writing it")
        _opened[database] = process, _open(Path(database), note)
    return _opened[database][1]


def _open(database: Path, note: dict[str, Any]) -> lmdb.Environment:
    """Open a database to read it, if its file is as long as it must be: reading beyond the end kills the process.

    Raises:
        ValueError: it was cut off, or is no LMDB.
    """
    file = database / _DATA_FILE
    cure = "copy it again, or remove the folder and make it anew with prepare.py"
    try:
        environment = lmdb.open(str(database), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise ValueError(f"{file} is damaged: {error}; {cure}") from None
    size = file.stat().st_size
    page_size = environment.stat()["psize"]
    # Where the size was not noted, it is that of the pages; the last few, if unused, may never have been written.
    needed = note.get("bytes") or (environment.info()["last_pgno"] + 1 - _UNWRITTEN) * page_size
    if size < needed:
        environment.close()
        raise ValueError(f"{file} is cut off: it has {size:,} bytes of {needed:,}; {cure}")
    return environment


def _read_note(database: Path) -> dict[str, Any]:
    path = database / _NOTE
    if not path.is_file():
        raise ValueError(
            f"{database} holds an LMDB without {_NOTE}; it was not written by `prepare.py lmdb` or `crops`"
        )
    note = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(note, dict) or {"source", "complete"} - note.keys():
        raise ValueError(f"{path} is damaged; remove the folder and pack again")
    return note
