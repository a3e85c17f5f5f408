"""Text files of numbers, a row per frame: boxes, flags, times. Written by many tools, so any separator will do."""

import codecs
import re
from pathlib import Path

import numpy as np

from lib.data.storage.tree import TreePath, read_file

_CHARACTERS = b"0123456789+-.eE,; \t\r\nNAIFTYnaifty"  # of numbers, nan and infinity among them, and between them
_SEPARATORS = re.compile(rb"\s*[,;]\s*|\s+")
_LAST_SEPARATOR = re.compile(rb"\s*[,;]$")
_COMMA, _TAB, _LINE, _DOT, _MINUS, _ZERO = (np.uint8(ord(sign)) for sign in ",\t\n.-0")
_POWERS = 10.0 ** np.arange(16)
_LAST_BYTES = np.array([(0x0F0F0F0F0F0F0F0F << 8 * (8 - count)) % 2**64 for count in range(9)], np.uint64)


def read_table(path: TreePath, num_columns: int) -> np.ndarray:
    """Read (N, num_columns) float64, N >= 1: the one rule for boxes, results, flags and times.

    Numbers are separated by commas, semicolons, tabs or spaces. nan and inf are numbers; a separator at the end of a
    row, empty lines at the end of the file and a byte order mark are ignored.

    Plain decimals are read by `_read_plain`, other numbers by numpy; only where that objects is each row looked at.

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
    if (plain := _read_plain(data + b"\n", num_columns)) is not None:
        return plain
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


def _read_plain(data: bytes, num_columns: int) -> np.ndarray | None:
    """Read rows of decimals such as -12.5, each ended by a comma, a tab or the line's end; None for anything else.

    A decimal of up to 15 digits is a whole number over a power of ten. Both are exact as float64, so that their
    quotient is rounded as any correct reader rounds it. All numbers are computed at once, in a fraction of numpy's time.
    """
    text = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(text - _ZERO > 9)  # of all that is no digit
    signs = text.take(places)
    order = np.flatnonzero((signs == _COMMA) | (signs == _LINE) | (signs == _TAB))  # the ends among the signs
    if len(order) % num_columns:
        return None
    line_ends = signs.take(order).reshape(-1, num_columns) == _LINE
    if not line_ends[:, -1].all() or line_ends[:, :-1].any():
        return None
    ends = places.take(order)
    lengths = np.diff(ends, prepend=-1) - 1
    inner = (
        np.diff(order, prepend=-1) - 1
    )  # signs within each number, of which the first may be a minus, the last a dot
    minus, dot = signs.take(order - inner) == _MINUS, signs.take(order - 1) == _DOT
    if (inner != minus.astype(np.int64) + dot).any() or (minus & (places.take(order - inner) != ends - lengths)).any():
        return None
    lengths -= minus
    scale = np.ones(1)
    if dot.any():
        scale = _POWERS.take(np.where(dot, ends - places.take(order - 1) - 1, 0), mode="clip")
        lengths -= dot
        ends = ends - np.cumsum(dot)
        text = np.frombuffer(data.translate(None, b"."), np.uint8)
    if lengths.min() < 1 or lengths.max() > len(_POWERS) - 1:
        return None
    padded = np.concatenate((np.zeros(16, np.uint8), text))
    numbers = _last_digits(padded, ends + 16, np.minimum(lengths, 8))
    if lengths.max() > 8:
        numbers += np.uint64(10**8) * _last_digits(padded, ends + 8, np.maximum(lengths - 8, 0))
    return np.where(minus, -1.0, 1.0).reshape(-1, num_columns) * (numbers / scale).reshape(-1, num_columns)


def _last_digits(text: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return as uint64 the numbers that end before each place in a text, of up to eight digits each.

    Eight letters are one word, in which neighbours are joined to pairs, these to fours, and these to the number.
    """
    words = np.ndarray(len(text) - 7, "<u8", text.data, strides=(1,)).take(ends - 8) & _LAST_BYTES.take(lengths)
    pairs = words * np.uint64(10) + (words >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    fours = pairs * np.uint64(100) + (pairs >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return fours * np.uint64(10**4) + (fours >> np.uint64(32)) & np.uint64(0xFFFFFFFF)


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
