"""Whether output files can be written, asked before hours of work instead of after them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path


def check_writable(files: Mapping[str, Path | None], folders: Mapping[str, Path | None]) -> None:
    """Raise an error for the first path that could not be written; nothing is created.

    Args:
        files: by the option that names each, such as "--csv"; None where it was not given.
        folders: the same; a folder is made later when missing.

    Raises:
        ValueError: a folder where a file is wanted, a file where a folder is, or two options with one path.
        OSError: the place cannot be written to.
    """
    taken: dict[Path, str] = {}
    for options, wants_folder in ((files, False), (folders, True)):
        for option, path in options.items():
            if path is None:
                continue
            if wants_folder and path.exists() and not path.is_dir():
                raise ValueError(f"{option} {path} is a file, but a folder is wanted")
            if not wants_folder and path.is_dir():
                raise ValueError(f"{option} {path} is a folder, but a file is wanted: name one in it")
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise ValueError(f"{other} and {option} are both {path}: one would replace the other")
            _check_place(option, path, path if wants_folder else path.parent)


def _check_place(option: str, path: Path, folder: Path) -> None:
    """Try to write into the nearest folder that exists, into which missing ones would be made."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise ValueError(f"{option} {path}: {folder} is a file, so nothing can be written below it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{option} {path}: cannot write into {folder}: {error.strerror}") from error
