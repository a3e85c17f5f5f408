"""A tracker whose network and recipe are a file of tracking/export.py, run by onnxruntime without PyTorch."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.config.text import check_name, record_from_json
from lib.files import text_path
from lib.models.mmg import TrackOutput
from lib.tracker.build import choose_device
from lib.tracker.mmg import MMGTracker, TargetCrops
from lib.tracker.template_update import TemplateUpdate, UpdateMode

_CUDA = "CUDAExecutionProvider"
_PIXELS, _NUMBERS = "tensor(uint8)", "tensor(float)"
KEY = "mmg"  # of the entry in the file's metadata
FORMAT = 1
# Of the config's `track` section, what decides boxes besides network and crops.
SETTINGS = ("update", "update_interval", "update_intervals", "score_threshold", "clip_margin", "size_smoothing",
            "whole_pixels", "averaged_pixels")  # fmt: skip
INPUTS = ("template", "search", "online_template")
OUTPUTS = ("crop_boxes_xyxy", "scores")


class OnnxNetwork:
    """What `MMG.track` answers, up to rounding, in float32.

    As many CPU threads compute as PyTorch has at this moment.

    Args:
        path: the file.
        device: a CPU, or a GPU for which onnxruntime was built.

    Attributes:
        recipe: how to track with it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: onnxruntime is missing or has no CUDA, or the file is not of tracking/export.py or of another
            version of it, or needs another onnxruntime.
    """

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"there is no ONNX file {path}: write one by `python tracking/export.py --config "
                                    f"NAME --out {path}`")  # fmt: skip
        if path.suffix in (".pth", ".safetensors"):
            raise ValueError(f"{path} holds weights of PyTorch: give it as --checkpoint")
        self._session = _open(path, device or torch.device("cpu"))
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise ValueError(f"{path} is an ONNX file of another model: its metadata have no entry {KEY!r} as "
                             "tracking/export.py writes it")  # fmt: skip
        self.recipe = TrackingRecipe.from_json(text, str(path))
        self._check_signature(path)

    @property
    def online_template(self) -> bool:
        """True for a network of three images."""
        return len(self._session.get_inputs()) == len(INPUTS)

    @property
    def score(self) -> object | None:
        """The output with scores, or None when the network gives none."""
        return next((output for output in self._session.get_outputs() if output.name == OUTPUTS[1]), None)

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        """Locate the targets in (B, 3, S, S) uint8 search crops, and score them where the network does."""
        crops = zip(INPUTS, (template, search, online_template), strict=True)
        shown = {name: np.ascontiguousarray(crop.numpy()) for name, crop in crops if crop is not None}
        boxes, *scores = (torch.from_numpy(values) for values in self._session.run(None, shown))
        return TrackOutput(boxes, scores[0] if scores else None)

    def _check_signature(self, path: Path) -> None:
        """Raise ValueError unless the file takes and gives what its recipe implies."""
        template, search = ([3, size, size] for size in (self.recipe.template_size, self.recipe.search_size))
        inputs = [(name, _PIXELS, shape) for name, shape in zip(INPUTS, (template, search, template), strict=True)]
        outputs = [(OUTPUTS[0], _NUMBERS, [4]), (OUTPUTS[1], _NUMBERS, [])]
        for expected, present, least in (
            (inputs, self._session.get_inputs(), 2),
            (outputs, self._session.get_outputs(), 1),
        ):
            found = [(item.name, item.type, item.shape[1:]) for item in present]
            if found != expected[: max(len(found), least)]:
                raise ValueError(f"{path} is an ONNX file of another model: it has {_listed(found)}, where "
                                 f"tracking/export.py writes {_listed(expected)}")  # fmt: skip


def build_onnx_tracker(path: Path, device: str, benchmark: str) -> MMGTracker:
    """Build the tracker that a file of tracking/export.py describes; arguments as `build_mmg_tracker`'s."""
    network = OnnxNetwork(path, choose_onnx_device(device))
    recipe = network.recipe
    interval = recipe.update_intervals.get(benchmark, recipe.update_interval)
    update = TemplateUpdate(recipe.update, interval, recipe.score_threshold)
    return MMGTracker(network, TargetCrops.of(vars(recipe)), update, online_template=network.online_template)


def choose_onnx_device(name: str) -> torch.device:
    """Return a device by name; `auto` is CUDA where both PyTorch and onnxruntime have it, else the CPU.

    Raises:
        ValueError: there is no such device here, or onnxruntime was built without it.
    """
    device = choose_device(name)
    if device.type != "cuda" or _CUDA in _runtime().get_available_providers():
        return device
    if name == "auto":
        return torch.device("cpu")
    raise ValueError(f"device {name} was asked for, and onnxruntime {_runtime().__version__} has no CUDA here (it has "
                     f"{', '.join(_runtime().get_available_providers())}): install onnxruntime-gpu in its place, or "
                     "use --device cpu")  # fmt: skip


def onnxruntime_version() -> str:
    """Return the version of onnxruntime; ValueError when it is missing."""
    return _runtime().__version__


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"running an ONNX file needs onnxruntime ({error}): pip install -e '.[onnx]'") from error
    return onnxruntime


def _open(path: Path, device: torch.device) -> Any:
    """Return the file's session, or raise ValueError."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; warnings are about its own optimisations
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers.insert(0, (_CUDA, {"device_id": device.index or 0}))
    states = runtime.capi.onnxruntime_pybind11_state
    try:
        session = runtime.InferenceSession(text_path(path), options, providers=providers)
    # Which of them a damaged file and a newer opset raise differs from release to release.
    except (states.InvalidProtobuf, states.InvalidArgument, states.NoModel, states.Fail, states.InvalidGraph,
            states.NotImplemented, states.RuntimeException) as error:  # fmt: skip
        raise ValueError(f"onnxruntime {runtime.__version__} cannot run {path}: it is truncated, no ONNX file, or of a "
                         "newer opset. Copy it again, export the tracker again here, or upgrade onnxruntime. "
                         f"{_gist(error)}") from error  # fmt: skip
    if device.type == "cuda" and session.get_providers()[0] != _CUDA:
        raise ValueError(f"onnxruntime {runtime.__version__} cannot start CUDA on {device}; its libraries of CUDA or "
                         "cuDNN are missing or of another version: install them, or use --device cpu")  # fmt: skip
    return session


def _gist(error: Exception) -> str:
    """Return what onnxruntime says, without its own name for the error and its place in C++."""
    text = " ".join(str(error).split()).split("failed:", 1)[-1]
    return re.sub(r"^/\S+ .*?\) (?=[A-Z])", "", text)[:500]


def _listed(items: list[tuple[str, str, list[Any]]]) -> str:
    return ", ".join(f"{name} {kind} (B{''.join(f', {side}' for side in sides)})" for name, kind, sides in items)


@dataclass(frozen=True, kw_only=True)
class TrackingRecipe:
    """All that a tracker needs besides the network, as one JSON object.

    Attributes:
        config: name of the experiment.
        checkpoint_sha256: of the file that the weights are from.
        template_size, search_size: sides of the crops in pixels.
        template_factor, search_factor: crop side / sqrt(target area).
        pixel_mean, pixel_std: of R, G and B in 0 to 255; the network itself normalises by them.
        clip_margin: pixels of a box that stay inside the frame.
        size_smoothing: share of a predicted change of size that is followed; files of old do not have it.
        whole_pixels, averaged_pixels: crops are cut as `WholePixelWindow` or `AveragedWindow` does; files of old do not
            have them.
        update, update_interval, score_threshold: see `TemplateUpdate`.
        update_intervals: intervals of particular benchmarks, by name.
        format: of this description.
    """

    config: str
    checkpoint_sha256: str
    template_size: int
    template_factor: float
    search_size: int
    search_factor: float
    pixel_mean: list[float]
    pixel_std: list[float]
    clip_margin: float
    update: UpdateMode
    update_interval: int
    update_intervals: dict[str, int]
    score_threshold: float
    size_smoothing: float = 1.0
    whole_pixels: bool = False
    averaged_pixels: bool = False
    format: int = FORMAT

    @property
    def settings(self) -> dict[str, Any]:
        """What decides boxes besides network and crops, by the names of the config's `track` section."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name in SETTINGS}

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str) -> "TrackingRecipe":
        """Invert `to_json`; ValueError where the text, from the file `source`, is of another format, or no recipe."""
        try:
            recipe = record_from_json(cls, text)
        except ValueError as error:
            raise ValueError(f"{source}: its metadata entry {KEY!r} is not what tracking/export.py writes ({error}): "
                             "export it again from its checkpoint") from error  # fmt: skip
        if recipe.format != FORMAT:
            raise ValueError(f"{source} has format {recipe.format!r}, and this code reads {FORMAT}: export it again "
                             "from its checkpoint")  # fmt: skip
        check_name(recipe.config, source)
        return recipe
