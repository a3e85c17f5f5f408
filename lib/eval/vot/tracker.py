"""What the VOT toolkit asks for: a tracker of boxes with a backend for masks, or the true masks themselves."""

from pathlib import Path

import cv2
import numpy as np
import torch

from lib.data.images.frames import read_image
from lib.eval.vot.mask_format import box_of_mask, decode_mask, place_mask
from lib.eval.vot.registry import weights_digest
from lib.eval.vot.server import VotTracker
from lib.tracker import TrackerSpec
from lib.tracker.base import Tracker
from lib.tracker.masks import MaskBackend, MaskSpec, box_to_mask


def build_vot_tracker(
    tracker: TrackerSpec | None, masks: MaskSpec | None, num_threads: int = 1, digest: str | None = None
) -> VotTracker:
    """Build what answers the toolkit, to compute with a number of CPU threads.

    Args:
        tracker: None for one that knows the ground truth.
        masks: what makes masks of boxes; None for the true masks, of a tracker that knows them.
        num_threads: of PyTorch and OpenCV.
        digest: `weights_digest` that the results in the workspace are of, ValueError for others; None for any.
    """
    if masks is None:
        assert tracker is None
        return VotOracle()
    if num_threads < 1:
        raise ValueError(f"{num_threads} CPU threads: there must be at least one")
    torch.set_num_threads(num_threads)
    cv2.setNumThreads(num_threads)
    backend = masks.build()
    built = TrueBoxes(backend) if tracker is None else MaskedTracker(tracker.build(), backend)
    files = (None if tracker is None else tracker.checkpoint_file, masks.checkpoint)
    weights = [path for path in files if path is not None]
    if digest is not None and weights_digest(weights) != digest:
        raise ValueError(f"the weights in {' and '.join(map(str, weights))} are not those that the workspace was "
                         "written for: add the tracker again, by another --name if it has results")  # fmt: skip
    return built


class MaskedTracker(VotTracker):
    """Follows the box of a mask, and turns each box that it finds into a mask."""

    def __init__(self, tracker: Tracker, masks: MaskBackend) -> None:
        self._tracker = tracker
        self._masks = masks

    def start(self, frame: Path, mask: np.ndarray) -> None:
        """Start on the tight box around the mask; raise ValueError for an empty one."""
        image = read_image(frame)
        mask = place_mask(mask, 0, 0, image.shape[0], image.shape[1])
        if not mask.any():
            raise ValueError(f"the mask to start on in {frame} is empty")
        # A tracker that draws random numbers gives the same answers whichever videos it saw before.
        cv2.setRNGSeed(0)
        torch.manual_seed(0)
        box_xywh = box_of_mask(mask)
        self._tracker.initialize(image, box_xywh)
        self._masks.initialize(image, box_xywh, mask)

    def follow(self, frame: Path) -> np.ndarray:
        """Return the mask in the next frame; raise ValueError where the tracker's box is not finite."""
        image = read_image(frame)
        prediction = self._tracker.track(image)
        if not prediction.finite:
            raise ValueError(f"the tracker's box is not finite in {frame}")
        mask = self._masks.segment(image, prediction.box_xywh)
        # An empty mask is a miss for certain; the box may still be right.
        return mask if mask.any() else box_to_mask(prediction.box_xywh, image.shape[0], image.shape[1])


class VotOracle(VotTracker):
    """Reads each answer from the video's ground truth; for checking a workspace, not for results."""

    def start(self, frame: Path, mask: np.ndarray) -> None:
        """Read the ground truth of the frame's video; ValueError where it does not begin with the mask given."""
        self._lines = (frame.parents[1] / "groundtruth.txt").read_text(encoding="utf-8").splitlines()
        truth = self.truth(frame)
        if not np.array_equal(truth, place_mask(mask, 0, 0, *truth.shape)):
            raise ValueError(f"the mask to start on in {frame} is not the one in its ground truth")

    def follow(self, frame: Path) -> np.ndarray:
        return self.truth(frame)

    def truth(self, frame: Path) -> np.ndarray:
        """Return the true mask, (H, W) bool."""
        height, width = read_image(frame).shape[:2]
        return decode_mask(self._lines[int(frame.stem) - 1], height, width)


class TrueBoxes(VotOracle):
    """Makes masks of the ground truth's boxes: what a backend is worth where the tracker makes no mistake."""

    def __init__(self, masks: MaskBackend) -> None:
        self._masks = masks

    def start(self, frame: Path, mask: np.ndarray) -> None:
        super().start(frame, mask)
        truth = self.truth(frame)
        self._masks.initialize(read_image(frame), box_of_mask(truth), truth)

    def follow(self, frame: Path) -> np.ndarray:
        """Return the backend's mask of the tight box around the true one; an empty one where that is empty."""
        truth = self.truth(frame)
        return self._masks.segment(read_image(frame), box_of_mask(truth)) if truth.any() else truth
