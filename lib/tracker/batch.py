"""Many targets followed at once: one pass of the network for all of them, as far as memory allows."""

import ctypes
from collections.abc import Callable
from collections.abc import Sequence as Indexed
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from lib.tracker import TrackerSpec
from lib.tracker.base import Prediction, Tracker
from lib.tracker.mmg import Located, MMGTracker, Target

_FEW = 4  # targets of the small batch that is measured
_ROOM = 0.9  # share of the free memory that a suggested batch may take


class MemoryMeter(Protocol):
    """How much memory there is, and how much something takes; in bytes."""

    @property
    def refuses(self) -> bool:
        """True where too large a request raises torch.cuda.OutOfMemoryError; else the system may end the process."""
        ...

    def free(self) -> int:
        """Return what can still be had."""
        ...

    def taken_by(self, work: Callable[[], object]) -> int:
        """Do the work, and return what it took at its peak beyond what was taken before."""
        ...


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


class CudaMemory:
    """The memory of a GPU, as PyTorch manages it."""

    refuses = True

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


class LinuxMemory:
    """The main memory, as Linux counts it for this process."""

    refuses = False

    def free(self) -> int:
        """Return what programs can have without swapping."""
        return _read_kilobytes(Path("/proc/meminfo"), "MemAvailable")

    def taken_by(self, work: Callable[[], object]) -> int:
        """Do the work, and return the peak of the resident memory meanwhile."""
        with suppress(AttributeError):  # a C library without it keeps nothing that is not used
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
        status = Path("/proc/self/status")
        before = _read_kilobytes(status, "VmRSS")
        work()
        return max(_read_kilobytes(status, "VmHWM") - before, 0)


def memory_meter(device: torch.device) -> MemoryMeter | None:
    """Return how to measure a device's memory, or None for the main memory of a system that does not show it."""
    if device.type == "cuda":
        return CudaMemory(device)
    return LinuxMemory() if Path("/proc/self/clear_refs").exists() else None


def check_memory(run: Callable[[int], object], size: int, meter: MemoryMeter | None) -> None:
    """Find out whether a batch fits, by running it; where too large a one would end the process, by a small one.

    Args:
        run: runs a batch of the given size.
        size: of the batch asked for.
        meter: None where nothing can be measured, and nothing is checked.

    Raises:
        ValueError: it does not fit: by how much, and which size would.
    """
    if meter is None or (not meter.refuses and size <= _FEW):
        return
    if meter.refuses:
        try:
            run(size)
            return
        except torch.cuda.OutOfMemoryError:
            pass  # what the failed batch holds is free again only after this block
    else:
        run(1)  # makes what is made once, and is no part of what a target takes
    few = max(min(_FEW, size - 1), 1)
    each = max(meter.taken_by(lambda: run(few)) // few, 1)
    free = meter.free()
    fitting = max(int(_ROOM * free) // each, 1)
    if meter.refuses or each * size > free:
        short = f", {_gigabytes(each * size - free)} too little" if each * size > free else ""
        raise ValueError(f"a batch of {size} does not fit in memory: it needs about {_gigabytes(each * size)}, and "
                         f"{_gigabytes(free)} are free{short}; {min(fitting, size - 1)} would fit")  # fmt: skip


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


def _read_kilobytes(path: Path, key: str) -> int:
    """Return the bytes that a line `key: N kB` states."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, rest = line.partition(":")
        if name == key:
            return 1024 * int(rest.split()[0])
    raise OSError(f"{path} has no line {key}")


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
