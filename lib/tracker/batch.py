"""Many targets followed at once: one pass of the network for all of them, as far as memory allows."""

from collections.abc import Callable
from collections.abc import Sequence as Indexed

import numpy as np
import torch

from lib.tracker import TrackerSpec
from lib.tracker.base import Prediction, Tracker
from lib.tracker.mmg import Located, MMGTracker, Target

_FEW = 8  # targets of the small batch that is measured
_ROOM = 0.9  # share of the free memory that a suggested batch may take


class LockstepTracker:
    """Follows up to `size` targets, each in a video of its own or in a common one.

    The network always gets a batch of `size`: where there are fewer targets, the last one fills the empty places. So
    what it answers of a target does not depend on how many others are still under way, and a compiled network has one
    size to be compiled for.

    Args:
        tracker: whose network and settings are used; on a GPU a batch is run on empty crops at once, to see that it
            fits.
        size: of the batch, at least 1.

    Raises:
        ValueError: the tracker has no network, the size is below 1, or the batch does not fit in a GPU's memory.
    """

    def __init__(self, tracker: Tracker, size: int) -> None:
        if size < 1:
            raise ValueError(f"a batch of {size}: there must be at least one target in it")
        if not isinstance(tracker, MMGTracker):
            raise ValueError("only a tracker with a network can take many videos as one batch: leave out --batch; "
                             "--workers N runs any tracker in N processes")  # fmt: skip
        self.size = size
        self._tracker = tracker
        if tracker.device.type == "cuda":
            check_memory(self._rehearse, size, CudaMemory(tracker.device))

    def start(self, image: np.ndarray, box_xywh: np.ndarray) -> Target:
        """Begin with a target on its first frame; raise ValueError for a box outside."""
        return self._tracker.start(image, box_xywh)

    def locate(self, targets: Indexed[Target], search_crops: Indexed[np.ndarray]) -> list[Located]:
        """Run the network once on the search crops that 1 to `size` targets have prepared, one for each."""
        empty = self.size - len(targets)
        located = self._tracker.locate([*targets, *[targets[-1]] * empty], [*search_crops, *[search_crops[-1]] * empty])
        return located[: len(targets)]

    def initialize(self, image: np.ndarray, boxes_xywh: Indexed[np.ndarray]) -> None:
        """Begin with targets of one video, in place of any before; raise ValueError for a box outside."""
        self._targets = [self.start(image, box_xywh) for box_xywh in boxes_xywh]

    def track(self, image: np.ndarray) -> list[Prediction]:
        """Locate all of them in the next frame."""
        located = self.locate(self._targets, [target.prepare(image) for target in self._targets])
        return [target.accept(image, found) for target, found in zip(self._targets, located, strict=True)]

    def _rehearse(self, size: int) -> None:
        """Run a batch of a size on black pictures."""
        image = np.zeros((64, 64, 3), np.uint8)
        target = self._tracker.start(image, np.array([16.0, 16.0, 32.0, 32.0]))
        self._tracker.locate([target] * size, [target.prepare(image)] * size)


class CudaMemory:
    """The memory of a GPU, as PyTorch manages it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Return what the device has left, and what PyTorch keeps of it without use."""
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + kept

    def taken_by(self, work: Callable[[], object]) -> int:
        """Do the work, and return the peak of what was allocated meanwhile."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before


def check_memory(run: Callable[[int], object], size: int, memory: CudaMemory) -> None:
    """Find out whether a batch fits on a GPU, by running it.

    Args:
        run: runs a batch of the given size.
        size: of the batch asked for.
        memory: the GPU's.

    Raises:
        ValueError: it does not fit: by how much, and which size would.
    """
    if _fits(run, size):
        return
    few = max(min(_FEW, size - 1), 1)
    run(1)  # the tracker still keeps the failed batch's templates, and now those of one
    each = max(memory.taken_by(lambda: run(few)) // few, 1)
    free = memory.free()
    fitting = min(max(int(_ROOM * free) // each, 1), size - 1)
    while fitting > 1 and not _fits(run, fitting):  # libraries take memory that does not grow with the batch
        fitting = int(_ROOM * fitting)
    short = f", {_gigabytes(each * size - free)} too little" if each * size > free else ""
    raise ValueError(f"a batch of {size} does not fit in memory: it needs about {_gigabytes(each * size)}, and "
                     f"{_gigabytes(free)} are free{short}; {fitting} would fit")  # fmt: skip


def _fits(run: Callable[[int], object], size: int) -> bool:
    try:
        run(size)
    except torch.cuda.OutOfMemoryError:
        return False
    return True


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


class OneByOne:
    """Each target has a tracker of its own. As `Tracker`, with a box for each target, always in the same order."""

    def __init__(self, trackers: Indexed[Tracker]) -> None:
        self._trackers = trackers

    def initialize(self, image: np.ndarray, boxes_xywh: Indexed[np.ndarray]) -> None:
        """Start every tracker on its box; raise ValueError for a box without area inside the first frame."""
        for tracker, box_xywh in zip(self._trackers, boxes_xywh, strict=True):
            tracker.initialize(image, box_xywh)

    def track(self, image: np.ndarray) -> list[Prediction]:
        """Locate all of them in the next frame."""
        return [tracker.track(image) for tracker in self._trackers]


SeveralTargets = OneByOne | LockstepTracker


def build_for_several(spec: TrackerSpec, number: int) -> SeveralTargets:
    """Build what follows a number of targets in one video; errors as in `TrackerSpec.build` and `LockstepTracker`."""
    first = spec.build()
    if number > 1 and isinstance(first, MMGTracker):
        return LockstepTracker(first, number)
    return OneByOne([first, *(spec.build() for _ in range(number - 1))])
