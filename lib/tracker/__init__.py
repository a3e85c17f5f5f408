"""One live sequence: the only stateful inference code. `TRACKERS` names what can be run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.config.load import load
from lib.config.suggest import suggest
from lib.models.trained import find_checkpoint, read_trained_model
from lib.tracker.base import Tracker
from lib.tracker.build import build_mmg_tracker
from lib.tracker.classical import OpenCVTracker, StaticBox


@dataclass(frozen=True)
class TrackerSpec:
    """What a tracker is built from; small and picklable, so that every worker process builds its own.

    Attributes:
        name: a key of `TRACKERS`.
        config: name or path of an experiment, for trackers that are trained.
        checkpoint: file of weights; None for the newest of `runs/<config>`.
        device: auto, cpu, cuda or cuda:N.
        benchmark: its name, for settings that differ by benchmark.
    """

    name: str
    config: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    benchmark: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown name, or weights for a tracker that has none."""
        if self.name not in TRACKERS:
            raise ValueError(
                f"unknown tracker {self.name!r}{suggest(self.name, TRACKERS)}; known: {', '.join(TRACKERS)}"
            )
        if not self.trained and (self.config is not None or self.checkpoint is not None):
            raise ValueError(f"the tracker {self.name} is not trained: leave out --config and --checkpoint")

    def build(self) -> Tracker:
        """Make the tracker.

        Raises:
            FileNotFoundError, ValueError: the config, the weights or a package it needs are missing or do not fit.
        """
        return TRACKERS[self.name](self)

    @property
    def trained(self) -> bool:
        """True for a tracker with weights."""
        return self.name == "mmg"

    @property
    def checkpoint_file(self) -> Path | None:
        """The file that `build` reads, or None for a tracker without weights; errors as in `find_checkpoint`."""
        return find_checkpoint(self.config, self.checkpoint) if self.trained else None

    @property
    def config_name(self) -> str:
        """What the results go under: the experiment's name, or "default" for a tracker without one."""
        if not self.trained:
            return "default"
        if self.config is not None:
            return load(self.config).name
        return read_trained_model(find_checkpoint(self.config, self.checkpoint)).experiment.name


TRACKERS: dict[str, Callable[[TrackerSpec], Tracker]] = {
    "mmg": lambda spec: build_mmg_tracker(spec.config, spec.checkpoint, spec.device, spec.benchmark),
    "static": lambda spec: StaticBox(),
    "mil": lambda spec: OpenCVTracker("MIL"),
    "csrt": lambda spec: OpenCVTracker("CSRT"),
    "kcf": lambda spec: OpenCVTracker("KCF"),
}
