"""Boxes of two networks on the same crops: what is compared, and that the second does not steer the first."""

import numpy as np
import pytest
import torch

from lib.data.images.frames import ArrayFrames
from lib.data.sequence import Sequence
from lib.models.mmg import TrackOutput
from lib.profiling.agreement import compare_boxes
from lib.tracker.mmg import MMGTracker, TargetCrops
from lib.tracker.template_update import TemplateUpdate


class FixedBoxes:
    """A network that answers one box whatever it sees, and keeps the crops."""

    score = None

    def __init__(self, *crop_box_xyxy: float) -> None:
        self.box = torch.tensor([crop_box_xyxy])
        self.crops: list[torch.Tensor] = []

    def track(self, template, search, online_template=None):
        self.crops.append(search)
        return TrackOutput(self.box, None)


def tracker(model: FixedBoxes) -> MMGTracker:
    return MMGTracker(model, TargetCrops(16, 2.0, 32, 4.0), TemplateUpdate("none", 1, 0.5), online_template=False)


@pytest.fixture
def sequence() -> Sequence:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 200, 300, 3), dtype=np.uint8)
    seen = np.ones(5, bool)
    return Sequence("noise", ArrayFrames(pictures), np.tile([100.0, 80.0, 40.0, 40.0], (5, 1)), seen, ~seen)


@pytest.mark.parametrize(("asked", "compared"), [(2, 2), (20, 4)])
def test_differences_are_pixels_of_the_frame(sequence, asked, compared):
    """A search region of 4 x 40 = 160 px: the near corner is off by 1.6 px in x, the far one by 3.2 px in y."""
    first, second = FixedBoxes(0.375, 0.375, 0.625, 0.625), FixedBoxes(0.385, 0.375, 0.625, 0.605)
    found = compare_boxes(tracker(first), tracker(second), sequence, asked, 4.0, 32)
    np.testing.assert_allclose(found, [3.2] * compared, atol=1e-4)
    for seen, other in zip(first.crops, second.crops, strict=True):
        torch.testing.assert_close(seen, other, rtol=0, atol=0)


def test_the_first_tracker_s_boxes_are_followed(sequence):
    first, second = FixedBoxes(0.4, 0.375, 0.65, 0.625), FixedBoxes(0.375, 0.375, 0.625, 0.625)
    compare_boxes(tracker(first), tracker(second), sequence, 3, 4.0, 32)
    # A box 4 px further right at each frame, so that no two crops are alike.
    assert len({crop.numpy().tobytes() for crop in second.crops}) == 3
