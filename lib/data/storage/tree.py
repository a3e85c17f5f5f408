"""Where a data set lies: a folder of files or its LMDB, which readers see alike; what a suffix says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from lib.data.storage.lmdb_tree import PackedPath, is_packed

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
VIDEOS = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"))
ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"))


class TreePath(Protocol):
    """The part of `pathlib.Path` that readers of data sets use; `Path` itself has it.

    Readers that join, list and read by these methods alone work from files and from LMDB.
    """

    @property
    def name(self) -> str: ...

    @property
    def stem(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def parent(self) -> "TreePath": ...

    def __truediv__(self, key: str, /) -> "TreePath": ...

    def with_name(self, name: str, /) -> "TreePath": ...

    def exists(self) -> bool: ...

    def is_file(self) -> bool: ...

    def is_dir(self) -> bool: ...

    def iterdir(self) -> "Iterator[TreePath]": ...

    def read_bytes(self) -> bytes: ...

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str: ...


def open_tree(root: Path) -> TreePath:
    """Return the root of a data set: packed if the folder holds an LMDB, else the folder itself."""
    return PackedPath(str(root)) if is_packed(root) else root
