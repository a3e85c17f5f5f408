"""AUC of a tracker on videos that are kept decoded, all of them followed at once: seconds instead of a minute."""

from collections.abc import Sequence as Indexed
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from lib.data.sequence import SequenceDataset
from lib.eval.score.metrics import score_sequence
from lib.tracker.batch import LockstepTracker
from lib.tracker.mmg import MMGTracker


class Video(NamedTuple):
    """A decoded video and its labels."""

    name: str
    frames: list[np.ndarray]
    boxes_xywh: np.ndarray
    absent: np.ndarray


def load_videos(dataset: SequenceDataset) -> list[Video]:
    """Decode, or draw, all frames of a data set."""

    def load(index: int) -> Video:
        sequence = dataset[index]
        frames = [sequence.frames[number] for number in range(len(sequence))]
        return Video(sequence.name, frames, sequence.boxes_xywh, sequence.absent)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(load, range(len(dataset))))


def auc_of(tracker: MMGTracker, videos: Indexed[Video]) -> float:
    """Return the area under the success curve by one-pass evaluation, mean over videos; in [0, 1]."""
    together = LockstepTracker(tracker, len(videos))
    targets = [together.start(video.frames[0], video.boxes_xywh[0]) for video in videos]
    boxes = [[video.boxes_xywh[0]] for video in videos]
    for index in range(1, max(len(video.frames) for video in videos)):
        going = [number for number, video in enumerate(videos) if index < len(video.frames)]
        crops = [targets[number].prepare(videos[number].frames[index]) for number in going]
        located = together.locate([targets[number] for number in going], crops)
        for number, found in zip(going, located, strict=True):
            boxes[number].append(targets[number].accept(videos[number].frames[index], found).box_xywh)
    scores = [
        score_sequence(video.name, np.stack(found), video.boxes_xywh, video.absent)
        for video, found in zip(videos, boxes, strict=True)
    ]
    return float(np.mean([each.auc for each in scores]))
