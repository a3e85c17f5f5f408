"""One live sequence: the only stateful inference code. `TRACKERS` names what can be run."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from lib.config.load import load
from lib.config.text import suggest
from lib.models.trained import default_weights, file_sha256, find_checkpoint, read_trained_model
from lib.tracker.base import Tracker
from lib.tracker.build import build_mmg_tracker, check_update, choose_device
from lib.tracker.classical import OpenCVTracker, StaticBox
from lib.tracker.onnx_tracker import OnnxNetwork, build_onnx_tracker, choose_onnx_device, onnxruntime_version

_WEIGHTS = {"vit": "NETWORK.onnx", "nano": "BACKBONE.onnx HEAD.onnx"}  # what --weights takes


@dataclass(frozen=True)
class TrackerSpec:
    """What a tracker is built from; small and picklable, so that every worker process builds its own.

    Attributes:
        name: a key of `TRACKERS`.
        config: name or path of an experiment, for trackers that are trained.
        checkpoint: file of weights; None for the newest of `runs/<config>`.
        device: auto, cpu, cuda or cuda:N.
        benchmark: its name, for settings that differ by benchmark.
        onnx: file of tracking/export.py, instead of config and checkpoint.
        weights: files of a tracker of OpenCV's that has a network.
    """

    name: str
    config: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    benchmark: str = ""
    onnx: Path | None = None
    weights: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown name, and weights that the tracker does not have, or lacks.

        Raises:
            ValueError: what does not fit together.
            FileNotFoundError: `weights` are not there.
        """
        self.check_name(self.name)
        weights = (self.config, self.checkpoint, self.onnx)
        if not self.trained and weights != (None, None, None):
            raise ValueError(
                f"the tracker {self.name} is not trained here: leave out --config, --checkpoint and --onnx"
            )
        files = _WEIGHTS.get(self.name, "")
        if len(self.weights) != len(files.split()):
            needs = f"needs --weights {files}, see pretrained_models/README.md" if files else "takes no --weights"
            raise ValueError(f"the tracker {self.name} {needs}")
        for path in self.weights:
            if not path.is_file():
                raise FileNotFoundError(f"there are no weights {path}: pretrained_models/README.md says where they are")
        if self.onnx is not None and weights[:2] != (None, None):
            raise ValueError(f"--onnx {self.onnx} holds the weights and says how they track: leave out --config and "
                             "--checkpoint")  # fmt: skip

    @staticmethod
    def check_name(name: str) -> None:
        """Raise ValueError for the name of no tracker."""
        if name == "ostrack":
            raise ValueError(
                "OSTrack is tracked as mmg, by its published file: mmg ... --config ostrack_256_ce --checkpoint FILE"
            )
        if name not in TRACKERS:
            raise ValueError(f"unknown tracker {name!r}{suggest(name, TRACKERS)}; known: {', '.join(TRACKERS)}")

    def with_weights(self) -> "TrackerSpec":
        """Return the spec with `default_weights` where it needs weights and names none, and tell the user which."""
        if not self.trained or (self.config, self.checkpoint, self.onnx) != (None, None, None):
            return self
        config, checkpoint, why = default_weights()
        print(why, file=sys.stderr)
        return replace(self, config=config, checkpoint=checkpoint)

    def build(self) -> Tracker:
        """Make the tracker."""
        return TRACKERS[self.name](self)

    def check(self) -> None:
        """Raise what `build` would for want of a package, weights or device, without building a large network."""
        self.choose_device()
        if not self.trained:
            self.build()
        elif self.onnx is None:
            path = find_checkpoint(self.config, self.checkpoint)
            check_update(read_trained_model(path, self.config), path)

    @property
    def trained(self) -> bool:
        """True for a tracker that is trained here."""
        return self.name == "mmg"

    @property
    def checkpoint_file(self) -> Path | None:
        """The file that `build` reads, or None for a tracker without weights; errors as in `find_checkpoint`."""
        if self.onnx is not None:
            return self.onnx
        return find_checkpoint(self.config, self.checkpoint) if self.trained else None

    @property
    def weights_sha256(self) -> str | None:
        """The SHA-256 of the file that `build` reads, or of those of several; None for a tracker without."""
        checkpoint = self.checkpoint_file
        digests = [file_sha256(path) for path in (self.weights if checkpoint is None else (checkpoint,))]
        return sha256("".join(digests).encode()).hexdigest() if len(digests) > 1 else next(iter(digests), None)

    @property
    def config_name(self) -> str:
        """What the results go under.

        The experiment's name, with "_onnx" for a file of that kind; of weights for OpenCV their first file's name; else
        "default".
        """
        if not self.trained:
            return self.weights[0].stem if self.weights else "default"
        if self.onnx is not None:
            return f"{OnnxNetwork(self.onnx).recipe.config}_onnx"
        if self.config is not None:
            return load(self.config).name
        return read_trained_model(find_checkpoint(self.config, self.checkpoint)).experiment.name

    @property
    def settings(self) -> dict[str, Any] | None:
        """How the tracker tracks: the config's `track` section, or what an ONNX file says of it; None without any."""
        if self.onnx is not None:
            return OnnxNetwork(self.onnx).recipe.settings
        checkpoint = self.checkpoint_file
        return None if checkpoint is None else asdict(read_trained_model(checkpoint, self.config).experiment.track)

    @property
    def runtime(self) -> dict[str, str]:
        """Versions of packages that run the network in PyTorch's place."""
        return {} if self.onnx is None else {"onnxruntime": onnxruntime_version()}

    def choose_device(self) -> torch.device:
        """Return where `build` would let the tracker compute; ValueError when there is no such device here."""
        return choose_device(self.device) if self.onnx is None else choose_onnx_device(self.device)


def _build_mmg(spec: TrackerSpec) -> Tracker:
    if spec.onnx is not None:
        return build_onnx_tracker(spec.onnx, spec.device, spec.benchmark)
    return build_mmg_tracker(spec.config, spec.checkpoint, spec.device, spec.benchmark)


TRACKERS: dict[str, Callable[[TrackerSpec], Tracker]] = {
    "mmg": _build_mmg,
    "static": lambda spec: StaticBox(),
    "mil": lambda spec: OpenCVTracker("MIL"),
    "csrt": lambda spec: OpenCVTracker("CSRT"),
    "kcf": lambda spec: OpenCVTracker("KCF"),
    "vit": lambda spec: OpenCVTracker("Vit", spec.weights),
    "nano": lambda spec: OpenCVTracker("Nano", spec.weights),
}
