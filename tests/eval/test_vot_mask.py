"""Masks in the toolkit's text: exact values, round trips, and agreement with the toolkit where it is installed."""

import importlib.util

import numpy as np
import pytest

from lib.eval.vot.mask_format import decode_mask, encode_mask, place_mask


def drawn_mask(seed: int, height: int = 23, width: int = 31) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), dtype=bool)
    top, left = rng.integers(0, height - 2), rng.integers(0, width - 2)
    part = mask[top : top + rng.integers(2, height), left : left + rng.integers(2, width)]
    part |= rng.random(part.shape) < rng.choice([0.1, 0.5, 0.9])
    return mask


def test_runs_count_from_the_corner_of_the_tight_box() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:5] = True
    mask[1, 3] = False
    # Row 1 is on, off, on; row 2 all on, so its run continues that of row 1: 0 off, 1 on, 1 off, 4 on.
    assert encode_mask(mask) == "m2,1,3,2,0,1,1,4"
    # Runs begin and may end off the target.
    mask = np.array([[False, True], [True, False]])
    assert encode_mask(mask) == "m0,0,2,2,1,2,1"


def test_an_empty_mask_has_a_box_without_area() -> None:
    text = encode_mask(np.zeros((4, 6), dtype=bool))
    assert text == "m0,0,0,0,0"
    assert not decode_mask(text, 4, 6).any()


def test_reading_gives_back_what_was_written() -> None:
    for mask in map(drawn_mask, range(20)):
        assert np.array_equal(decode_mask(encode_mask(mask) + "\n", *mask.shape), mask)


def test_a_mask_that_reaches_beyond_the_picture_is_cut() -> None:
    assert decode_mask("m-1,-1,2,2,0,4", 2, 3).tolist() == [[True, False, False], [False, False, False]]
    assert decode_mask("m2,1,2,2,0,4", 2, 3).tolist() == [[False, False, False], [False, False, True]]
    assert not decode_mask("m7,9,2,2,0,4", 2, 3).any()


@pytest.mark.parametrize("text", ["1,2,3,4", "m1,2", "m1,2,a,4", "m0,0,2,2,3,2", "m0,0,2,٢,3", "m0,0,99999,99999"])
def test_text_that_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no mask|runs have 5 pixels|more than"):
        decode_mask(text, 4, 4)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("trax") is None, reason="needs the VOT toolkit: pip install -e '.[vot]'")
@pytest.mark.parametrize("seed", range(5))
def test_the_toolkit_reads_and_writes_the_same(seed: int) -> None:
    from vot.region.io import parse_region  # pyright: ignore[reportMissingImports]
    from vot.region.shapes import Mask  # pyright: ignore[reportMissingImports]

    mask = drawn_mask(seed)
    mask[8:10, 12:14] = True  # it takes a mask of one column for an empty one
    assert str(Mask(mask.astype(np.uint8), optimize=True)) == encode_mask(mask)
    read = parse_region(encode_mask(mask))
    assert np.array_equal(place_mask(read.mask > 0, *read.offset, *mask.shape), mask)
