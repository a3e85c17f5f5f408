"""What every tracker of this tree does: take a box on the first frame, then give a box for each next one."""

from typing import NamedTuple, Protocol

import numpy as np

LOST_AFTER = 10  # frames in a row with a score under the threshold, after which a target counts as lost


class Prediction(NamedTuple):
    """Where a tracker believes the target to be.

    Attributes:
        box_xywh: (4,) float64 in pixels of the frame.
        score: confidence in [0, 1], or nan for trackers that give none.
        finite: False when the tracker's own output was not finite and the last box was kept.
        lost: True when the score has been under the tracker's threshold for `LOST_AFTER` frames, this one included,
            or when a tracker without scores says so itself.
    """

    box_xywh: np.ndarray
    score: float = float("nan")
    finite: bool = True
    lost: bool = False


class Tracker(Protocol):
    """One live target in one video. `initialize` may be called again to start on another video."""

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        """Learn the target from the first frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            box_xywh: (4,) in pixels of the frame.

        Raises:
            ValueError: the box has no area inside the frame.
        """
        ...

    def track(self, image: np.ndarray) -> Prediction:
        """Locate the target in the next frame, (H, W, 3) uint8 RGB; its size may differ from the first one's."""
        ...


def checked_box(image: np.ndarray, box_xywh: np.ndarray) -> np.ndarray:
    """Return the initial box as (4,) float64, or raise ValueError when it cannot start a track on this image."""
    box = np.asarray(box_xywh, dtype=np.float64).reshape(-1)
    height, width = image.shape[:2]
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"the initial box {box.tolist()} must be four finite numbers: x, y, width, height")
    if box[2] <= 0 or box[3] <= 0:
        raise ValueError(f"the initial box {box.tolist()} has no area: width and height must be positive")
    if box[0] >= width or box[1] >= height or box[0] + box[2] <= 0 or box[1] + box[3] <= 0:
        raise ValueError(f"the initial box {box.tolist()} lies outside the frame of {width} x {height} pixels")
    return box
