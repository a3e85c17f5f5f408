"""Many targets followed at once: one pass of the network for all of them."""

from collections.abc import Sequence as Indexed

import numpy as np

from lib.tracker.base import Tracker
from lib.tracker.batch_memory import MemoryMeter, check_memory, memory_meter
from lib.tracker.mmg import Located, MMGTracker, Target


class LockstepTracker:
    """Follows up to `size` targets, each in a video of its own or in a common one.

    The network always gets a batch of `size`: where there are fewer targets, the last one fills the empty places. So
    what it answers of a target does not depend on how many others are still under way, and a compiled network has one
    size to be compiled for.

    Args:
        tracker: whose network and settings are used; a batch is run on empty crops at once, to see that it fits.
        size: of the batch, at least 1.
        memory: how memory is measured; by default on the tracker's device, as far as that can be done.

    Raises:
        ValueError: the tracker has no network, the size is below 1, or the batch does not fit in memory.
    """

    def __init__(self, tracker: Tracker, size: int, memory: MemoryMeter | None = None) -> None:
        if size < 1:
            raise ValueError(f"a batch of {size}: there must be at least one target in it")
        if not isinstance(tracker, MMGTracker):
            raise ValueError("only a tracker with a network can take many videos as one batch: leave out --batch; "
                             "--workers N runs any tracker in N processes")  # fmt: skip
        self.size = size
        self._tracker = tracker
        check_memory(self._rehearse, size, memory or memory_meter(tracker.device))

    def start(self, image: np.ndarray, box_xywh: np.ndarray) -> Target:
        """Begin with a target on its first frame; raise ValueError for a box outside."""
        return self._tracker.start(image, box_xywh)

    def locate(self, targets: Indexed[Target], search_crops: Indexed[np.ndarray]) -> list[Located]:
        """Run the network once on the search crops that 1 to `size` targets have prepared, one for each."""
        empty = self.size - len(targets)
        located = self._tracker.locate([*targets, *[targets[-1]] * empty], [*search_crops, *[search_crops[-1]] * empty])
        return located[: len(targets)]

    def _rehearse(self, size: int) -> None:
        """Run a batch of a size on black pictures."""
        image = np.zeros((64, 64, 3), np.uint8)
        target = self._tracker.start(image, np.array([16.0, 16.0, 32.0, 32.0]))
        self._tracker.locate([target] * size, [target.prepare(image)] * size)
