"""Trackers to compare with: a box that never moves, and OpenCV's own, with a small network or without."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.tracker.base import Prediction, checked_box

_NETWORKS = {"Vit": ("net",), "Nano": ("backbone", "neckhead")}  # parameters that name the files

# OpenCV's trackers fail on narrower boxes, each in its own way (MIL never returns from below 5 px), and MIL on boxes
# that fill the frame. So the frame must have room for such a box.
_SMALLEST_SIDE = 8
_ROOM = 8


class StaticBox:
    """Answers the first box for ever: what a benchmark gives away for free."""

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        """Remember the box."""
        self._box_xywh = checked_box(image, box_xywh)

    def track(self, image: np.ndarray) -> Prediction:
        """Return the first box."""
        return Prediction(self._box_xywh.copy())


class OpenCVTracker:
    """One of OpenCV's own trackers at default settings.

    Its score is the network's where it has one; of the others 0 where it says it lost the target, else nan.

    These trackers want a box of whole pixels inside the frame, wide enough, and frames of one size. So they are given
    such a box next to the true one, later answers are moved and scaled by the same relation, and frames of another
    size are resized to the first one's.
    """

    def __init__(self, algorithm: str, weights: tuple[Path, ...] = ()) -> None:
        """Check that the tracker can be made.

        Args:
            algorithm: MIL, CSRT, KCF, Vit or Nano.
            weights: ONNX files: of Vit one, of Nano backbone and head.

        Raises:
            ValueError: the installed build of OpenCV has no such tracker, or cannot read the files.
        """
        # MIL is in every build of OpenCV 4.5.1 and later, CSRT and KCF in builds with contributed modules, Vit and Nano
        # in those with the modules video and dnn.
        self._class = f"Tracker{algorithm}"
        if self._class not in vars(cv2):
            cure = "the contributed modules, in place of the plain one: make classical"
            if algorithm in _NETWORKS:
                cure = "the modules video and dnn of OpenCV 4.9 and later: pip install -U opencv-python"
            raise ValueError(f"the installed OpenCV {cv2.__version__} has no {algorithm} tracker; it comes with {cure}")
        self.algorithm = algorithm
        self._weights = weights
        self._tracker = self._create()

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        """Start the tracker on the first frame.

        Raises:
            ValueError: the box has no area inside the frame, the frame is too small, or OpenCV refuses the box.
        """
        self._box_xywh = checked_box(image, box_xywh)
        self._first_size = image.shape[:2]
        if min(self._first_size) < _SMALLEST_SIDE + _ROOM + 1:
            raise ValueError(
                f"the frame of {image.shape[1]} x {image.shape[0]} pixels is too small for OpenCV's {self.algorithm}, "
                f"which needs {_SMALLEST_SIDE + _ROOM + 1} pixels either way"
            )
        fed_xywh = _box_for_opencv(self._box_xywh, *self._first_size)
        # The true box in units of the fed one: offset of its corner, and its sides.
        fed_sides = fed_xywh[[2, 3, 2, 3]]
        self._relation = (self._box_xywh - np.array([*fed_xywh[:2], 0, 0])) / fed_sides
        _seed_opencv()
        self._tracker = self._create()
        left, top, width, height = (int(value) for value in fed_xywh)
        try:
            self._tracker.init(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (left, top, width, height))
        except cv2.error as error:
            raise ValueError(
                f"OpenCV's {self.algorithm} cannot start on the box {self._box_xywh.tolist()} of a frame of "
                f"{image.shape[1]} x {image.shape[0]} pixels: {' '.join(str(error).split())}"
            ) from error

    def track(self, image: np.ndarray) -> Prediction:
        """Return the tracker's box, or the last one while the target is lost."""
        first_height, first_width = self._first_size
        scale = np.array([image.shape[1] / first_width, image.shape[0] / first_height])
        if image.shape[:2] != self._first_size:
            image = cv2.resize(image, (first_width, first_height), interpolation=cv2.INTER_AREA)
        found, tracked_xywh = self._tracker.update(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        score = float("nan") if found else 0.0
        if self.algorithm in _NETWORKS:
            score = float(self._tracker.getTrackingScore())
        if not found:
            return Prediction(self._box_xywh * np.tile(scale, 2), score, lost=True)
        left, top, width, height = tracked_xywh
        sides = np.array([width, height, width, height], dtype=np.float64)
        self._box_xywh = np.array([left, top, 0, 0]) + self._relation * sides
        return Prediction(self._box_xywh * np.tile(scale, 2), score)

    def _create(self) -> Any:
        """Make OpenCV's own object, which serves one video."""
        if self.algorithm not in _NETWORKS:
            return vars(cv2)[self._class].create()
        parameters = vars(cv2)[f"{self._class}_Params"]()
        for parameter, path in zip(_NETWORKS[self.algorithm], self._weights, strict=True):
            setattr(parameters, parameter, str(path))
        try:
            return vars(cv2)[self._class].create(parameters)
        except cv2.error as error:
            files = ", ".join(map(str, self._weights))
            raise ValueError(f"OpenCV {cv2.__version__} cannot read {files} as the networks of its {self.algorithm} "
                             f"tracker: {' '.join(str(error).split())}") from error  # fmt: skip


def _box_for_opencv(box_xywh: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return whole pixels near the box: inside the frame, not too narrow, with room beside it."""
    # MIL draws samples up to the last but one column and row, some of them away from the target.
    end = np.array([width - 1, height - 1])
    near = np.clip(np.rint(box_xywh[:2]), 0, end)
    far = np.clip(np.rint(box_xywh[:2] + box_xywh[2:]), 0, end)
    sides = np.clip(far - near, _SMALLEST_SIDE, end - _ROOM)
    near = np.clip(np.rint((near + far - sides) / 2), 0, end - sides)
    return np.concatenate((near, sides))


def _seed_opencv() -> None:
    """Make MIL a function of the video: it draws from C's `rand`, so its boxes would depend on earlier videos."""
    cv2.setRNGSeed(0)
    if sys.platform != "win32":  # There, each compiled library has a generator of its own, out of reach.
        ctypes.CDLL(None).srand(1)
