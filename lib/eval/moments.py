"""The stretches of a video on which trackers do worst, for pictures that explain a score."""

from collections.abc import Sequence as Indexed
from typing import NamedTuple

import numpy as np

# A frame is lost where it would not count as a success at the threshold of OP50.
_LOST_BELOW = 0.5
# The picture of a moment shows the first frame that is about as bad as its worst one: why, not how long.
_BOTTOM_MARGIN = 0.05


class Moment(NamedTuple):
    """Consecutive frames without enough overlap; invalid frames between them belong to it.

    Attributes:
        tracker: index of the tracker.
        start, stop: frames [start, stop).
        frame: the one to show, at which the overlap has reached its bottom.
        loss: overlap missed below one half, summed over the frames: how much of the score the moment costs.
    """

    tracker: int
    start: int
    stop: int
    frame: int
    loss: float


def find_moments(overlaps: Indexed[np.ndarray]) -> list[Moment]:
    """Find every moment of every tracker, the most costly first.

    Args:
        overlaps: for each tracker (N,) the overlap of each frame, nan in invalid frames.
    """
    moments = [moment for tracker, overlap in enumerate(overlaps) for moment in _moments_of(tracker, overlap)]
    return sorted(moments, key=lambda moment: (-moment.loss, moment.frame, moment.tracker))


def choose_moments(moments: Indexed[Moment], num_frames: int, number: int) -> list[Moment]:
    """Take the worst moments whose pictures lie apart, so that they do not all show the same failure.

    Args:
        moments: the worst first.
        num_frames: of the video; pictures of different moments are at least 1 / (3 number) of it apart.
        number: at most so many.
    """
    apart = num_frames / (3 * max(number, 1))
    chosen: list[Moment] = []
    for moment in moments:
        if len(chosen) == number:
            break
        if all(abs(moment.frame - other.frame) >= apart for other in chosen):
            chosen.append(moment)
    return chosen


def fill_evenly(frames: Indexed[int], num_frames: int, number: int) -> list[int]:
    """Return `number` frames, or all there are: the given ones in their order, then frames in the widest gaps.

    Args:
        frames: distinct, each in [0, num_frames).
        num_frames: of the video.
        number: how many are wanted.
    """
    chosen = list(frames[:number])
    while len(chosen) < min(number, num_frames):
        distance = np.abs(np.subtract.outer(np.arange(num_frames), chosen or [-1])).min(axis=1)
        chosen.append(int(distance.argmax()) if chosen else 0)
    return chosen


def _moments_of(tracker: int, overlap: np.ndarray) -> list[Moment]:
    valid = np.flatnonzero(~np.isnan(overlap))
    lost = np.concatenate(([False], overlap[valid] < _LOST_BELOW, [False]))
    edges = np.flatnonzero(lost[1:] != lost[:-1])
    moments = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        frames = valid[first:last]
        values = overlap[frames]
        bottom = frames[np.argmax(values <= values.min() + _BOTTOM_MARGIN)]
        loss = float((_LOST_BELOW - values).sum())
        moments.append(Moment(tracker, int(frames[0]), int(frames[-1]) + 1, int(bottom), loss))
    return moments
