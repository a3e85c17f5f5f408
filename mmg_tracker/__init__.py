# ruff: noqa: E402 - whose `lib` it is has to be known before anything is imported from it
"""Track a target in your own program: `load_tracker(...)`, then `initialize` on a frame and `track` on each next one.

from mmg_tracker import load_tracker

tracker = load_tracker("mmg_small")
tracker.initialize(frame_rgb, (x, y, width, height))
prediction = tracker.track(next_frame_rgb)   # .box_xywh, .score, .lost
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_OWN = Path(__file__).resolve().parents[1] / "lib" / "__init__.py"
_FOUND = importlib.util.find_spec("lib")
if _FOUND is None or _FOUND.origin is None or not _OWN.samefile(_FOUND.origin):
    _WHOSE = (f"mmg_tracker needs its own `lib` ({_OWN.parent}), and Python finds "
              f"{_FOUND.origin or list(_FOUND.submodule_search_locations or ()) if _FOUND else 'none'}: take the other "
              "project off PYTHONPATH, or run from another folder")  # fmt: skip
    if Path(sys.argv[0]).name.startswith("mmg-"):  # an installed command, which shows its user no traceback
        sys.exit(f"error: {_WHOSE}")
    raise ImportError(_WHOSE)
if importlib.util.find_spec("cv2") is None:
    raise ImportError("mmg_tracker needs OpenCV, of which one build is to be chosen: pip install 'mmg-tracker[opencv]' "
                      "or [headless] for machines without a screen")  # fmt: skip

from lib import __version__
from lib.tracker import TrackerSpec
from lib.tracker.base import LOST_AFTER, Prediction
from lib.tracker.base import Tracker as AnyTracker

__all__ = ["LOST_AFTER", "Prediction", "Tracker", "__version__", "load_tracker"]

_WEIGHTS = (".pth", ".safetensors", ".tar", ".pt")  # how the names of files with weights end


class Tracker:
    """Follows one target through one video; `initialize` may be called again to start on another.

    A prediction has `box_xywh`, (4,) float64 in pixels; `score` in [0, 1], or nan where the weights hold no trained
    score module; and `lost`, True when the score has been under the weights' threshold for `LOST_AFTER` frames.
    """

    def __init__(self, tracker: AnyTracker) -> None:
        self._tracker = tracker
        self._started = False

    def initialize(self, frame_rgb: np.ndarray, box_xywh: Sequence[float] | np.ndarray) -> None:
        """Learn the target from its box (left, top, width, height) on a frame, (H, W, 3) uint8 RGB.

        Raises:
            ValueError: it is no such frame, or the box has no area inside it.
        """
        self._started = False
        self._tracker.initialize(_checked(frame_rgb), _checked_box(box_xywh))
        self._started = True

    def track(self, frame_rgb: np.ndarray) -> Prediction:
        """Locate the target in the next frame, (H, W, 3) uint8 RGB.

        Raises:
            ValueError: it is no such frame.
            RuntimeError: there is no target yet.
        """
        if not self._started:
            raise RuntimeError("call initialize(frame_rgb, (x, y, width, height)) first: there is no target to track")
        return self._tracker.track(_checked(frame_rgb))


def load_tracker(name: str | Path, device: "str | torch.device" = "auto", config: str | Path | None = None) -> Tracker:
    """Make a tracker from trained weights.

    Args:
        name: a config, whose newest run in runs/ is taken, else what comes with the project under that name, such as
            "mmg_small"; or a file of weights, .pth, .safetensors or .onnx.
        device: auto, cpu, cuda or cuda:N.
        config: track as this config says, instead of the weights' own; for files that hold none, what they are.

    Raises:
        FileNotFoundError: there is no such config or file.
        ValueError: the weights are damaged or of another config, a package is missing, or there is no such device.
    """
    path, asked, device = Path(name), None if config is None else str(config), str(device)
    if path.suffix == ".onnx":
        if asked is not None:
            raise ValueError(f"{path} says itself how it tracks: leave out config={asked!r}")
        return Tracker(TrackerSpec("mmg", device=device, onnx=path).build())
    if path.suffix in _WEIGHTS or (path.is_file() and path.suffix not in (".yaml", ".yml")):
        return Tracker(TrackerSpec("mmg", asked, path, device).build())
    spec = TrackerSpec("mmg", str(name), None, device)
    if asked is not None:
        spec = TrackerSpec("mmg", asked, spec.checkpoint_file, device)
    return Tracker(spec.build())


def _checked_box(box_xywh: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return a box as (4,) float64, or raise ValueError."""
    try:
        box = np.asarray(box_xywh, dtype=np.float64)
    except (TypeError, ValueError):
        box = np.empty(0)
    if box.shape != (4,):
        raise ValueError(f"the box is {box_xywh!r}: give four numbers, (x, y, width, height) in pixels")
    return box


def _checked(frame: object) -> np.ndarray:
    """Return a frame as the trackers want it, or raise ValueError that says what it is and how to mend it."""
    if frame is None:
        raise ValueError("the frame is None, which is what cv2.imread and VideoCapture.read give for what they cannot "
                         "read: check the path, or whether the video is over")  # fmt: skip
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"the frame is a {type(frame).__name__}: give a NumPy array, (H, W, 3) uint8 RGB")
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        raise ValueError(f"the frame of shape {frame.shape} is grey: cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB) makes it "
                         "(H, W, 3)")  # fmt: skip
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"the frame has shape {frame.shape}: (H, W, 3) is needed, uint8 RGB")
    if frame.dtype != np.uint8:
        raise ValueError(f"the frame holds {frame.dtype}: uint8 in 0 to 255 is needed; of floats in 0 to 1, "
                         "(frame * 255).round().astype(np.uint8)")  # fmt: skip
    return np.ascontiguousarray(frame)  # a view such as bgr[..., ::-1], too
