"""Results of other videos that share the names: refused, because their scores would mean nothing.

The picture that a run's record tells videos by need not be at hand when results are scored, and takes long to read. But
whatever a run writes has one row for each frame and begins with the box that the tracker was given.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.data.sequence import Sequence
from lib.eval.results import RECORD_NAME

_TOLERANCE = 1e-3  # pixels; results have four digits after the point
_NUM_LISTED = 10


def is_recorded(folder: Path) -> bool:
    """Tell whether the results in a folder were written by a run of this program, as its record says."""
    return (folder / RECORD_NAME).is_file()


def other_video(boxes_xywh: np.ndarray, sequence: Sequence) -> str | None:
    """Say in what the result of a recorded run shows that it is of another video, or return None.

    Args:
        boxes_xywh: (N, 4), all rows of the result.
        sequence: the video at hand; only its labels and its number of frames are used.
    """
    if len(boxes_xywh) != len(sequence):
        return f"{len(boxes_xywh)} rows for {len(sequence)} frames"
    ours, given = boxes_xywh[0], sequence.boxes_xywh[0]
    # Written so that a box which is not a number differs, too.
    if not np.abs(ours - given).max() < _TOLERANCE:
        return f"first box {_words(ours)}, here {_words(given)}"
    return None


def refuse_other_videos(folder: Path, differences: Mapping[str, str]) -> None:
    """Raise ValueError naming the sequences, when there are any.

    Args:
        folder: of the results.
        differences: by sequence, what `other_video` says.
    """
    if not differences:
        return
    listed = [f"{name} ({difference})" for name, difference in differences.items()]
    more = f" and {len(listed) - _NUM_LISTED} more" if len(listed) > _NUM_LISTED else ""
    raise ValueError(
        f"{folder} holds results of other videos than those at hand, under the same names: "
        f"{', '.join(listed[:_NUM_LISTED])}{more}; give the --root they were made on, or run tracking/test.py anew"
    )


def _words(box_xywh: np.ndarray) -> str:
    return ",".join(f"{value:g}" for value in box_xywh)
