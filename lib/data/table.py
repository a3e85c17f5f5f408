"""Text files of numbers, a row per frame: boxes, flags, times. Written by many tools, so any separator will do."""

import codecs
import re
from pathlib import Path

import numpy as np

from lib.data.storage.tree import TreePath, read_file

_CHARACTERS = b"0123456789+-.eE,; \t\r\nNAIFTYnaifty"  # of numbers, nan and infinity among them, and between them
_SEPARATORS = re.compile(rb"\s*[,;]\s*|\s+")
_LAST_SEPARATOR = re.compile(rb"\s*[,;]$")


def read_table(path: TreePath, num_columns: int) -> np.ndarray:
    """Read (N, num_columns) float64, N >= 1: the one rule for boxes, results, flags and times.

    Numbers are separated by commas, semicolons, tabs or spaces. nan and inf are numbers; a separator at the end of a
    row, empty lines at the end of the file and a byte order mark are ignored.

    Numpy parses the file in one go, 0.2 microseconds a box; only where it objects is each row looked at.

    Args:
        path: of the file; any line ends.
        num_columns: how many there must be in each row.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, or a row is something else; the message names file, row and text.
    """
    data = read_file(path).removeprefix(codecs.BOM_UTF8).rstrip()
    if not data:
        raise ValueError(f"{path} is empty; it needs a row of {_describe(num_columns)} for each frame")
    if is_numeric(data):
        delimiter = "," if b"," in data else None  # None is any white space
        try:
            # Numpy is a sixth faster on a file than on lines; one in an LMDB is no file.
            source = path if isinstance(path, Path) else data.decode("ascii").splitlines()
            table = np.loadtxt(source, delimiter=delimiter, comments=None, encoding="ascii", ndmin=2)
            if table.shape == (data.count(b"\n") + 1, num_columns):
                return table
        except ValueError:
            pass
    return _read_rows(path, data.splitlines(), num_columns)


def is_numeric(data: bytes) -> bool:
    """Return whether text is made of numbers as people write them: Python and numpy know others, such as 1_0."""
    return not data.translate(None, _CHARACTERS)


def _read_rows(path: TreePath, lines: list[bytes], num_columns: int) -> np.ndarray:
    rows = []
    for row, line in enumerate(lines, start=1):
        words = _SEPARATORS.split(_LAST_SEPARATOR.sub(b"", line.strip()))
        try:
            numbers = [float(word) for word in words] if is_numeric(line) else []
        except ValueError:
            numbers = []
        if len(numbers) != num_columns:
            found = line.strip().decode(errors="replace")[:200]
            raise ValueError(f"{path}, row {row}: expected {_describe(num_columns)}, found {found!r}")
        rows.append(numbers)
    return np.array(rows)


def _describe(num_columns: int) -> str:
    return "4 numbers x,y,w,h" if num_columns == 4 else f"{num_columns} number{'s' * (num_columns > 1)}"
