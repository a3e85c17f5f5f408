"""Several targets in one video: with a network in one pass for all, else with a tracker for each."""

from collections.abc import Sequence as Indexed
from typing import Protocol

import numpy as np

from lib.tracker import TrackerSpec
from lib.tracker.base import Prediction, Tracker
from lib.tracker.lockstep import LockstepTracker
from lib.tracker.mmg import MMGTracker


class SeveralTargets(Protocol):
    """As `Tracker`, with a box for each target, always in the same order."""

    def initialize(self, image: np.ndarray, boxes_xywh: Indexed[np.ndarray]) -> None:
        """Learn the targets from the first frame; raise ValueError for a box without area inside it."""
        ...

    def track(self, image: np.ndarray) -> list[Prediction]:
        """Locate all of them in the next frame."""
        ...


class OneByOne:
    """Each target has a tracker of its own."""

    def __init__(self, trackers: Indexed[Tracker]) -> None:
        self._trackers = trackers

    def initialize(self, image: np.ndarray, boxes_xywh: Indexed[np.ndarray]) -> None:
        """Start every tracker on its box."""
        for tracker, box_xywh in zip(self._trackers, boxes_xywh, strict=True):
            tracker.initialize(image, box_xywh)

    def track(self, image: np.ndarray) -> list[Prediction]:
        """Ask every tracker."""
        return [tracker.track(image) for tracker in self._trackers]


class Together:
    """All targets are one batch of the network."""

    def __init__(self, tracker: LockstepTracker) -> None:
        self._tracker = tracker

    def initialize(self, image: np.ndarray, boxes_xywh: Indexed[np.ndarray]) -> None:
        """Cut the templates."""
        self._targets = [self._tracker.start(image, box_xywh) for box_xywh in boxes_xywh]

    def track(self, image: np.ndarray) -> list[Prediction]:
        """Run the network once."""
        located = self._tracker.locate(self._targets, [target.prepare(image) for target in self._targets])
        return [target.accept(image, found) for target, found in zip(self._targets, located, strict=True)]


def build_for_several(spec: TrackerSpec, number: int) -> SeveralTargets:
    """Build what follows a number of targets in one video; errors as in `TrackerSpec.build` and `LockstepTracker`."""
    first = spec.build()
    if number > 1 and isinstance(first, MMGTracker):
        return Together(LockstepTracker(first, number))
    return OneByOne([first, *(spec.build() for _ in range(number - 1))])
