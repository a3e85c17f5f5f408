"""How three frames of one video are drawn: initial template, online template, search."""

from typing import NamedTuple

import numpy as np

MIN_FRAMES = 20
MIN_VISIBLE_FRAMES = 7  # more than twice the three frames of a sample


class Triplet(NamedTuple):
    """Frame indices of one sample."""

    template: int
    online_template: int
    search: int


def is_eligible(visible: np.ndarray) -> bool:
    """Return whether a video with these (N,) visible frames is long enough to draw from."""
    return len(visible) >= MIN_FRAMES and int(np.count_nonzero(visible)) >= MIN_VISIBLE_FRAMES


def draw_triplet(visible: np.ndarray, rng: np.random.Generator, mode: str, max_gap: int) -> Triplet | None:
    """Draw three visible frames.

    Args:
        visible: (N,) bool.
        mode: `trident`: template and search are any two visible frames, the online template lies within `max_gap` of
            the search frame on the template's side. `ordered`: three distinct frames, the online template between the
            other two, reversed half of the time (CTTrack). `causal`: a base frame, the online template within
            `max_gap` before it and the search frame within `max_gap` after it (STARK); it puts the online template
            farther from the search frame than the template, and is here for comparison only.
        max_gap: frames.

    Returns:
        The indices, or None when the draw found no frames that fit; the caller draws again, a bounded number of times.
    """
    candidates = np.flatnonzero(visible)
    if len(candidates) < 3:
        return None
    if mode == "trident":
        template, search = rng.choice(candidates, 2, replace=False).tolist()
        near = _before(candidates, search, max_gap) if template < search else _after(candidates, search, max_gap)
        return Triplet(template, _any(near, rng), search) if len(near) else None
    if mode == "ordered":
        frames = np.sort(rng.choice(candidates, 3, replace=False))
        if rng.random() < 0.5:
            frames = frames[::-1]
        return Triplet(*(int(frame) for frame in frames))
    if mode == "causal":
        base = _any(candidates, rng)
        before, after = _before(candidates, base, max_gap), _after(candidates, base, max_gap)
        if not len(before) or not len(after):
            return None
        return Triplet(base, _any(before, rng), _any(after, rng))
    raise ValueError(f"unknown sampler {mode!r}: use trident, ordered or causal")


def _before(frames: np.ndarray, frame: int, max_gap: int) -> np.ndarray:
    """Return those of the ascending frames that lie at most `max_gap` before one."""
    return frames[frames.searchsorted(frame - max_gap) : frames.searchsorted(frame)]


def _after(frames: np.ndarray, frame: int, max_gap: int) -> np.ndarray:
    """Return those of the ascending frames that lie at most `max_gap` after one."""
    return frames[frames.searchsorted(frame, "right") : frames.searchsorted(frame + max_gap, "right")]


def _any(frames: np.ndarray, rng: np.random.Generator) -> int:
    # The draw of `rng.choice`, which takes five times as long.
    return int(frames[rng.integers(len(frames))])
