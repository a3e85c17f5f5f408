"""Drawings are arrays: what is drawn where is read off their pixels."""

from pathlib import Path

import numpy as np
import pytest

from lib.data.images.frames import read_image
from lib.draw import (
    PALETTE,
    TRUTH,
    FilmFrame,
    RebuiltImage,
    draw_boxes,
    draw_label,
    film_strip,
    fit_into,
    legend_bar,
    reconstruction_sheet,
    save_picture,
)

NO_BOX = np.full(4, np.nan)


def flat(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def holds(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def test_a_box_is_a_line_along_its_border() -> None:
    image = flat(100, 100, (90, 90, 90))
    draw_boxes(image, [np.array((20.2, 29.8, 40.0, 50.0))], [PALETTE[0]])
    for y, x in ((30, 40), (80, 40), (50, 20), (50, 60)):
        assert tuple(image[y, x]) == PALETTE[0]
    assert (image[40:70, 30:50] == 90).all() and (image[:26] == 90).all()


def test_no_rim_hides_the_line_of_another_box() -> None:
    image = flat(100, 100, (90, 90, 90))
    draw_boxes(image, [np.array((20, 20, 40, 40)), np.array((22, 22, 36, 36))], [TRUTH, PALETTE[0]])
    assert tuple(image[20, 40]) == TRUTH and tuple(image[22, 40]) == PALETTE[0]


@pytest.mark.parametrize("corner", [(-50, -50), (500, 500), (10, 0), (0, 45)])
def test_a_label_stays_inside_the_picture(corner: tuple[int, int]) -> None:
    image = flat(60, 120, (90, 90, 90))
    draw_label(image, corner, "mmg 0.87", PALETTE[1])
    painted = (image == PALETTE[1]).all(axis=-1)
    rows, columns = painted.any(axis=1).nonzero()[0], painted.any(axis=0).nonzero()[0]
    # The whole patch, not a rest of it: wider than high, with room for the text.
    assert columns[-1] - columns[0] > 40 and 10 < rows[-1] - rows[0] < 30


def test_fit_into_says_where_the_picture_went() -> None:
    image = flat(50, 100, (0, 0, 0))
    image[10:20, 40:60] = 255
    canvas, scale, (left, top) = fit_into(image, 200, 200)
    assert (scale, left, top) == (2.0, 0, 50)
    assert canvas.shape == (200, 200, 3)
    rows, columns = (canvas[..., 0] > 127).any(axis=1).nonzero()[0], (canvas[..., 0] > 127).any(axis=0).nonzero()[0]
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (70, 89, 80, 119)


def test_a_film_strip_lays_frames_out_in_rows_and_marks_boxes_in_their_colours() -> None:
    box_xywh = np.array((20.0, 20.0, 40.0, 30.0))
    frames = [FilmFrame(flat(90, 120, (90, 90, 90)), str(i), (box_xywh, box_xywh + 10)) for i in range(3)]
    frames[2] = FilmFrame(flat(90, 60, (90, 90, 90)), "2 absent", (NO_BOX, box_xywh))
    strip = film_strip(frames, [("truth", TRUTH), ("mmg", PALETTE[0])], columns=2)
    # Tiles of 360 x 270 with gaps of 6, two by two, below a legend of 34.
    assert strip.shape == (34 + 2 * 276, 6 + 2 * 366, 3)
    assert holds(strip[:34], PALETTE[0])
    for top, left, with_truth in ((34, 6, True), (34, 372, True), (310, 6, False)):
        tile = strip[top : top + 270, left : left + 360]
        assert holds(tile, PALETTE[0])
        assert holds(tile[60:, 40:], TRUTH) == with_truth  # past the white patch of the caption
    assert (strip[310:, 372:] == strip[-1, -1]).all()


def test_a_reconstruction_sheet_shows_each_stage_and_leaves_out_what_is_off() -> None:
    red, green, blue, grey = (flat(16, 16, colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)))
    both = reconstruction_sheet([RebuiltImage("search", red, grey, green, blue)])
    coarse_only = reconstruction_sheet([RebuiltImage("search", red, grey, green, None)])
    assert both.shape[1] - coarse_only.shape[1] == 166
    assert holds(both, (0, 0, 200)) and not holds(coarse_only, (0, 0, 200))
    # One stage off in one row only leaves a gap there.
    mixed = reconstruction_sheet(
        [RebuiltImage("online", red, grey, green, None), RebuiltImage("search", red, grey, green, blue)]
    )
    half = (mixed.shape[0] - 26) // 2 + 26
    assert not holds(mixed[:half], (0, 0, 200)) and holds(mixed[half:], (0, 0, 200))


def test_pictures_are_written_as_they_are(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = save_picture(tmp_path / "new" / "picture.png", image)
    np.testing.assert_array_equal(read_image(path), image)
    with pytest.raises(ValueError, match=r"picture\.gif"):
        save_picture(tmp_path / "picture.gif", image)


def test_a_legend_takes_as_many_rows_as_its_names_need() -> None:
    entries = [(f"a tracker with number {number}", colour) for number, colour in enumerate(PALETTE)]
    wide, narrow = legend_bar(entries, 2400), legend_bar(entries, 300)
    assert wide.shape == (34, 2400, 3)
    assert narrow.shape == (34 + 22 * (len(entries) - 1), 300, 3), "one name fills a row"
    for number, (_, colour) in enumerate(entries):
        assert holds(wide, colour)
        assert holds(narrow[22 * number + 10 : 22 * number + 24], colour)
