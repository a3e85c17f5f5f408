"""Masks as the VOT toolkit's files write them: a box and the lengths of runs."""

import re

import cv2
import numpy as np

from lib.data.images.jpeg import require_size


def encode_mask(mask: np.ndarray) -> str:
    """Write a mask as `m<x>,<y>,<width>,<height>,<run>,<run>...`.

    The runs count pixels of the box row by row, in turn outside and on the target; the first may be 0. The mask is
    (H, W) bool; an empty one has a box without area.
    """
    left, top, width, height = (int(value) for value in box_of_mask(mask))
    pixels = mask[top : top + height, left : left + width].ravel()
    changes = np.flatnonzero(np.diff(pixels, prepend=False)) if pixels.size else np.zeros(0, dtype=int)
    runs = np.diff(changes, prepend=0, append=pixels.size)
    return "m" + ",".join(str(value) for value in (left, top, width, height, *runs))


def decode_mask(text: str, height: int, width: int) -> np.ndarray:
    """Read what `encode_mask` wrote, (height, width) bool, without parts beyond the picture; ValueError for others."""
    words = text.strip()[1:].split(",")
    if not re.fullmatch(r"m-?[0-9]{1,9}(,-?[0-9]{1,9}){3,}", text.strip()):
        raise ValueError(f"{text.strip()[:40]!r} is no mask of the VOT toolkit: m<x>,<y>,<width>,<height>,<runs>")
    left, top, box_width, box_height, *runs = (int(word) for word in words)
    if area := box_width * box_height:
        require_size(box_height, box_width)
    if sum(runs) > area:
        raise ValueError(f"{text.strip()[:40]!r}: the runs have {sum(runs)} pixels, the box has {area}")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    box = np.pad(pixels, (0, area - len(pixels))).reshape(box_height, box_width)
    return place_mask(box, left, top, height, width)


def place_mask(mask: np.ndarray, left: int, top: int, height: int, width: int) -> np.ndarray:
    """Put a part of a mask, (h, w) bool, where it belongs in a picture, (height, width) bool.

    Its corner left, top is in pixels of the picture; it may be negative, and the mask may reach beyond the picture.
    """
    whole = np.zeros((height, width), dtype=bool)
    near = max(top, 0), max(left, 0)
    far = min(top + mask.shape[0], height), min(left + mask.shape[1], width)
    if near[0] < far[0] and near[1] < far[1]:
        whole[near[0] : far[0], near[1] : far[1]] = mask[near[0] - top : far[0] - top, near[1] - left : far[1] - left]
    return whole


def box_of_mask(mask: np.ndarray) -> np.ndarray:
    """Return the tight box around a mask, (4,) float64 left, top, width, height; zeros for an empty one."""
    return np.array(cv2.boundingRect(np.ascontiguousarray(mask, dtype=np.uint8)), dtype=np.float64)
