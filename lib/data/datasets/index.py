"""Indexes: what takes long to find out about a data set, kept in files that may be deleted at any time."""

import hashlib
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from lib.config.paths import expand
from lib.data.storage.tree import LmdbPath, TreePath
from lib.files import whole_file

_STAMP = "stamp"
# A file system may count in steps this long: what has changed a moment ago could change again and look the same.
_SETTLED_NS = 2 * 10**9


class IndexNotKeptWarning(UserWarning):
    """An index is made anew each time, because its folder cannot be written; nothing else suffers."""


def cached_arrays(
    title: str, place: str, times: tuple[int, ...], build: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """Return what `build` returns, from the cache if nothing has changed since it was built.

    Safe to call from several processes at once: each builds for itself, and the last one's file stays. What has
    changed within the last two seconds is not kept yet.

    Args:
        title: start of the file's name, for people.
        place: what is indexed; another place has another file.
        times: when its parts were last modified, in nanoseconds, as `modified_ns` tells.
        build: makes the arrays; none may hold objects.
    """
    digest = hashlib.sha256(str(Path(place).resolve()).encode()).hexdigest()[:16]
    file = cache_folder() / f"{title}-{digest}.npz"
    stamp = " ".join(map(str, times))
    arrays = _load(file)
    if arrays is None or str(arrays[_STAMP]) != stamp:
        settled = abs(time.time_ns() - max(times)) > _SETTLED_NS
        arrays = {**build(), _STAMP: np.array(stamp)}
        try:
            if settled:
                file.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(file) as partial, partial.open("wb") as stream:
                    np.savez(stream, allow_pickle=False, **arrays)
        except OSError as error:
            advice = "set MMG_CACHE to a folder that can be written"
            warnings.warn(f"cannot keep the index of {place}: {error}; {advice}", IndexNotKeptWarning, stacklevel=2)
    return arrays


def cache_folder() -> Path:
    """Return where indexes are kept: the environment's MMG_CACHE, else ~/.cache/mmg."""
    return expand(os.environ.get("MMG_CACHE") or "~/.cache/mmg", "set MMG_CACHE to a folder for indexes")


def modified_ns(path: TreePath) -> int:
    """Return when a file or folder was last modified, in nanoseconds; 0 if it does not exist."""
    file = Path(path.database) / "data.mdb" if isinstance(path, LmdbPath) else path
    assert isinstance(file, Path)
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _load(file: Path) -> dict[str, np.ndarray] | None:
    """Read a file of arrays; None when there is none, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, LookupError, RuntimeError, MemoryError, zipfile.BadZipFile):
        return None
    return arrays if _STAMP in arrays else None
