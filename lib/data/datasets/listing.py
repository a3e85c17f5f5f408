"""What is there: the sequences of a split that are at hand, and files by number."""

import re
import warnings
from collections import abc
from collections.abc import Iterable
from pathlib import PurePath

from lib.data.sequence import Names
from lib.data.storage.tree import ARCHIVES, PICTURES, TreePath

_DIGITS = re.compile(r"[0-9]+")


class MissingSequencesWarning(UserWarning):
    """Some of a published split's sequences are not there."""


def keep_present(title: str, wanted: abc.Sequence[str], present: Iterable[str], root: TreePath, layout: str) -> Names:
    """Return the wanted sequences that are present, in the wanted order; warns when some are missing.

    Args:
        title: what is opened, such as "LaSOT test".
        wanted: the published split.
        present: what was found.
        root: where it was looked for.
        layout: what the folder should look like, for the error.
    """
    found = set(present)
    kept = [name for name in wanted if name in found]
    if not kept:
        raise FileNotFoundError(f"no sequence of {title} found in {root}; expected {layout}{advice_to_unpack(root)}")
    if len(kept) < len(wanted):
        missing = [name for name in wanted if name not in found]
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        share = f"{len(missing)} of {len(wanted)} sequences"
        warnings.warn(f"{title}: {share} are missing in {root} ({named})", MissingSequencesWarning, stacklevel=2)
    return Names(kept)


def advice_to_unpack(folder: TreePath) -> str:
    """Return the end of an error message where a folder holds archives, else nothing."""
    archives = sorted(name for name in list_names(folder) if PurePath(name).suffix.lower() in ARCHIVES)
    return f"; {folder} holds archives ({archives[0]}, {len(archives)} in all): unpack them" if archives else ""


def list_names(folder: TreePath) -> list[str]:
    """Return the names in a folder, none if there is no such folder; hidden ones are left out."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def list_pictures(folder: TreePath) -> list[TreePath]:
    """Return the image files of a folder in natural order, none if there is no such folder."""
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith("."))
    return sorted(files, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key that puts frame 2 before frame 10."""
    words, numbers = _DIGITS.split(name), [*_DIGITS.findall(name), "0"]
    pairs = ((word, int(number)) for word, number in zip(words, numbers, strict=True))
    return (*pairs, (name, 0))  # frames 2 and 02 are still in a fixed order
