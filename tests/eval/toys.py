"""What tests of an evaluation share: data sets of toy videos."""

from typing import Any

import numpy as np

from lib.data.images.frames import ArrayFrames
from lib.data.sequence import Frames, Sequence, SequenceDataset


class Videos(SequenceDataset):
    """A data set of given sequences."""

    def __init__(self, sequences: tuple[Sequence, ...]) -> None:
        self.sequences = sequences
        self.names = [sequence.name for sequence in sequences]

    def __getitem__(self, index: int) -> Sequence:
        return self.sequences[index]


def video(
    name: str, boxes_xywh: Any, frames: Frames | None = None, absent: np.ndarray | None = None, **more: Any
) -> Sequence:
    """Make a video of boxes, by default with as many black frames."""
    boxes_xywh = np.array(boxes_xywh, float)
    absent = np.zeros(len(boxes_xywh), bool) if absent is None else absent
    black = ArrayFrames(np.zeros((len(boxes_xywh), 2, 2, 3), np.uint8))
    return Sequence(name, frames or black, boxes_xywh, ~absent, absent, **more)
