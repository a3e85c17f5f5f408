"""The true masks, answered as a tracker would: what a workspace must score with EAO and A near 1."""

from pathlib import Path

import numpy as np

from lib.data.images.frames import read_image
from lib.eval.vot_mask import decode_mask, place_mask


class VotOracle:
    """Reads each answer from the video's ground truth; for checking a workspace, not for results."""

    def start(self, frame: Path, mask: np.ndarray) -> None:
        """Read the ground truth of the frame's video.

        Raises:
            FileNotFoundError: there is none beside the frame's folder.
            ValueError: it does not begin with the mask given.
        """
        self._lines = (frame.parents[1] / "groundtruth.txt").read_text(encoding="utf-8").splitlines()
        truth = self.follow(frame)
        if not np.array_equal(truth, place_mask(mask, 0, 0, *truth.shape)):
            raise ValueError(f"the mask to start on in {frame} is not the one in its ground truth")

    def follow(self, frame: Path) -> np.ndarray:
        """Return the true mask, (H, W) bool."""
        height, width = read_image(frame).shape[:2]
        return decode_mask(self._lines[int(frame.stem) - 1], height, width)
