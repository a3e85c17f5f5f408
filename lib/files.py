"""Write files that are complete wherever they exist."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial"  # what the name of a file ends in that is being written; it begins with a dot


@contextmanager
def whole_file(path: Path, ending: str = PARTIAL) -> Iterator[Path]:
    """Yield the name of a temporary file beside `path`, which becomes `path` when the block ends without an error.

    What was at `path` stays until then, and others see the old file or the new one, never a part. The file and its
    name are on the disk afterwards, and nothing is left of it after an error.

    Args:
        path: the file; its folder exists.
        ending: of the temporary name, for a writer that chooses its format by it. Others leave it, so that no search
            for files by their ending finds one that is not complete.

    Raises:
        OSError: it cannot be written, because the disk is full, say; the message names it.
    """
    # The number of the process, because two may write the same file.
    aside = path.with_name(f".{path.name}.{os.getpid()}{ending}")
    try:
        yield aside
        with aside.open("r+b") as file:
            os.fsync(file.fileno())
        aside.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        # Errors of writing name no file or the temporary one; those of another file are left alone.
        if error.errno is None or error.filename not in (None, str(aside), aside):
            raise
        raise OSError(error.errno, f"{error.strerror}; could not write", str(path)) from error
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


def flush_folder(folder: Path) -> None:
    """Make the names in a folder outlive a loss of power; a file's own flush does not cover its name."""
    with suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def text_path(path: Path) -> str:
    """Return the absolute path as text for a library in C; OpenCV crashes over one that is not UTF-8, a ValueError."""
    text = str(path.absolute())
    if text.encode(errors="replace").decode() != text:
        raise ValueError(f"{text!a}: this name is not UTF-8: rename the file or its folder")
    return text
