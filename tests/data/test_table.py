"""One rule for rows of numbers, whoever wrote them and whoever reads them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lib.data.datasets import annotation
from lib.data.table import read_table
from lib.eval import results

READERS = [annotation.read_boxes, results.read_boxes, lambda path: read_table(path, 4)]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4\n5,6,7.5,8\n", "1\t2\t3\t4\n5\t6\t7.5\t8", "1 2 3 4\n5 6 7.5 8\n\n\n",
        "1,2,3,4\r\n5,6,7.5,8\r\n\r\n", "1, 2,\t3 4\n 5;6 ;7.5,  8 \n", "1,2,3,4,\n5,6,7.5,8,\n",
        "1,2,3,4\n5,6,7.5,8,\n", "1\t2\t3\t4\t\n5 6 7.5 8 \n", "1;2;3;4;\n5;6;7.5;8 ; \n",
        "\ufeff1,2,3,4,\n5e0,+6,7.50,0.8e1,\n",
    ],
)  # fmt: skip
def test_boxes_in_every_spelling(tmp_path: Path, text: str, read: Callable[[Path], np.ndarray]) -> None:
    path = tmp_path / "boxes.txt"
    path.write_bytes(text.encode("utf-8"))
    boxes_xywh = read(path)
    assert boxes_xywh.dtype == np.float64
    np.testing.assert_array_equal(boxes_xywh, [[1, 2, 3, 4], [5, 6, 7.5, 8]])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "line",
    ["1,2,3", "1,2,3,", "1,2,3,4,5", "1,2,3,4,,", ",1,2,3,4", "1,2,x,4", "", "1,,2,3,4", "1-2-3-4", "1,2,3-,4",
     "1,2,-,4", "1,2,.,4", "1,2,1.2.3,4", "1,2,--3,4", "1,2,.-3,4", "1,2,3 4,5",
     "1_0,2,3,4", "1,2,3,\u0664", "1,2,\uff13,4", "0x1,2,3,4"],  # the last line: numbers to programs alone
)  # fmt: skip
def test_a_malformed_row_names_file_row_and_text(tmp_path: Path, line: str, read: Callable[[Path], np.ndarray]) -> None:
    path = tmp_path / "boxes.txt"
    path.write_text(f"1,2,3,4\n{line}\n5,6,7,8\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"boxes\.txt, row 2: expected 4 numbers x,y,w,h") as caught:
        read(path)
    assert repr(line) in str(caught.value)


def test_a_file_of_single_numbers(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("0.5,\n1\nnan\n")
    np.testing.assert_array_equal(read_table(path, 1), [[0.5], [1], [np.nan]])


def test_empty_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"empty\.txt is empty; it needs a row of 4 numbers x,y,w,h for each frame"):
        read_table(tmp_path / "empty.txt", 4)
    with pytest.raises(FileNotFoundError, match=r"gone\.txt"):
        read_table(tmp_path / "gone.txt", 4)


def test_plain_decimals_are_the_nearest_floats(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "boxes.txt"
    formats = ("%d", "%.1f", "%.4f", "%.6f", "%.10f", "-%d", "-%.3f", "%.3f", "00%d", "%d.")
    for scale in (1.0, 60.0, 3e3, 1e7):
        words = [str(rng.choice(formats)) % value for value in rng.uniform(0, scale, 4000)]
        words += ["0", "-0", "-0.0", ".5", "-.25", "999999999999999", "0.00000000000001", "1234567.12345678"]
        path.write_text("".join(",".join(words[at : at + 4]) + "\n" for at in range(0, len(words), 4)))
        expected = np.array([float(word) for word in words]).reshape(-1, 4)
        assert read_table(path, 4).tobytes() == expected.tobytes()
