"""Masks on the frames of one sequence, beside the true ones, as a film strip."""

from collections.abc import Sequence as Indexed

import cv2
import numpy as np

from lib.config.text import suggest
from lib.draw import PALETTE, TRUTH, FilmFrame, film_strip, legend_bar, shade_mask
from lib.eval.analysis import Result
from lib.eval.film import Film
from lib.eval.mask_files import SequenceMasks, mask_names
from lib.eval.mask_scores import mask_iou

_MASK, _BOX = PALETTE[1], PALETTE[0]


def draw_mask_strip(
    film: Film, result: Result, name: str | None, indices: Indexed[int], columns: int = 4
) -> np.ndarray:
    """Draw a result's masks and boxes, and the outlines of the true masks where they are known, with each frame's J.

    Args:
        film: of one sequence and the one result.
        result: whose masks.
        name: of the masks; None where there is one kind only.
        indices: of the frames.
        columns: frames in a row.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: there are no such masks, or they are not complete.
    """
    sequence = film.sequence
    known = mask_names(result.folder)
    if name is None and len(known) == 1:
        name = known[0]
    if name not in known:
        held = f"; there are {', '.join(known)}" if known else ": make them by test.py --masks"
        raise ValueError(f"{result.folder} has no masks{f' {name!r}{suggest(name, known)}' if name else ''}{held}")
    files = SequenceMasks(result.folder, name, sequence.name)
    if not files.is_complete(len(sequence)):
        raise ValueError(f"the masks {files.folder} are not complete, or were made of other boxes: make them again")
    masks, frames = files.open(), []
    for index in indices:
        image, mask = sequence.frames[index].copy(), masks[index]
        shade_mask(image, mask, _MASK)
        caption = str(index)
        if sequence.masks is not None:
            truth = sequence.masks[index]
            outlines, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, outlines, -1, TRUTH, max(1, round(min(image.shape[:2]) / 300)))
            caption += f"  J {100 * mask_iou(mask, truth):.0f}"
        frames.append(FilmFrame(image, caption, (film.predictions_xywh[0][index],)))
    strip = film_strip(frames, [(f"box of {result.name}", _BOX)], columns)
    head = [(f"mask by {name}", _MASK), *([("true mask", TRUTH)] if sequence.masks is not None else [])]
    return np.concatenate((legend_bar(head, strip.shape[1]), strip))
