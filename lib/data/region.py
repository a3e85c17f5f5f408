"""The part of a frame that crops around its target can need, and the resolution that they need."""

import math
from dataclasses import dataclass

import numpy as np

from lib.config.schema import Crop, Data
from lib.data.crop import CropWindow

# Standard deviations of the scale jitter. One window in 700 is larger than the first allows; only if it lies far off,
# too, it is not held. One crop in six is taken closer than the second allows, and enlarged, by a tenth on average.
_REACH_SIGMAS, _SHARP_SIGMAS = 3.0, 1.0
_STEPS = 8  # factors are multiples of an eighth, so that a region of whole pixels shrinks to whole pixels
_LARGEST_FACTOR = 8.0


@dataclass(frozen=True)
class Extent:
    """How much of a frame crops of one kind can need. s = sqrt(w * h) is the side of the target.

    Attributes:
        half_side: how far from the target's centre, in units of s.
        target_side: how large the target must be in the stored picture, in pixels.
    """

    half_side: float
    target_side: float

    @classmethod
    def of(cls, factor: float, size: int, center_jitter: float, scale_jitter: float) -> "Extent":
        """Return what crops of a factor, size in pixels and jitter need, but for the rarest."""
        # Both sides are scaled independently, so the logarithm of s varies by 1 / sqrt(2) of each.
        spread = scale_jitter / math.sqrt(2)
        return cls(
            half_side=(factor + center_jitter) / 2 * math.exp(_REACH_SIGMAS * spread),
            target_side=size / factor * math.exp(_SHARP_SIGMAS * spread),
        )

    def covers(self, other: "Extent") -> bool:
        """Return whether what was stored for this is enough for another."""
        return self.half_side >= other.half_side - 1e-6 and self.target_side >= other.target_side - 1e-6


@dataclass(frozen=True)
class Reach:
    """How much of a frame the templates and the search regions of an experiment can need."""

    template: Extent
    search: Extent

    @classmethod
    def of(cls, data: Data, crop: Crop) -> "Reach":
        """Return what the jitter and the crops of an experiment need, but for the rarest."""
        return cls(
            Extent.of(
                crop.template_factor, crop.template_size, data.template_center_jitter, data.template_scale_jitter
            ),
            Extent.of(crop.search_factor, crop.search_size, data.search_center_jitter, data.search_scale_jitter),
        )

    def covers(self, other: "Reach") -> bool:
        """Return whether what was stored for this is enough for another."""
        return self.template.covers(other.template) and self.search.covers(other.search)


@dataclass(frozen=True)
class Region:
    """A part of a frame, stored with each pixel standing for factor x factor pixels of the frame.

    Attributes:
        left, top: its corner in pixels of the frame.
        width, height: its sides in pixels of the frame; multiples of `factor`, so it may reach beyond the frame.
        factor: at least 1.
    """

    left: int
    top: int
    width: int
    height: int
    factor: float

    @classmethod
    def around(cls, box_xywh: np.ndarray, extent: Extent, frame_height: int, frame_width: int) -> "Region":
        """Return the region that crops around a box need."""
        left, top, box_width, box_height = box_xywh.tolist()
        side = math.sqrt(box_width * box_height)
        steps = int(_STEPS * min(max(side / extent.target_side, 1.0), _LARGEST_FACTOR))
        factor = steps / _STEPS
        # Interpolation reaches a pixel of the stored picture beyond the window.
        half = extent.half_side * side + 2 * factor
        spans = []
        for center, length in ((left + box_width / 2, frame_width), (top + box_height / 2, frame_height)):
            start = min(max(0, math.floor(center - half)), length - 1)
            stop = max(min(length, math.ceil(center + half)), start + 1)
            # Only what is shrunk must have a whole number of blocks; _STEPS pixels are stored for `steps` of the frame.
            spans.append((start, stop - start if factor == 1 else -(-(stop - start) // steps) * steps))
        (x, width), (y, height) = spans
        return cls(x, y, width, height, factor)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of the stored picture in pixels."""
        return round(self.height / self.factor), round(self.width / self.factor)

    def holds(self, window: CropWindow, frame_height: int, frame_width: int) -> bool:
        """Return whether all of a window of the frame that lies in the frame is in the region."""
        return (
            max(window.left, 0.0) >= self.left
            and max(window.top, 0.0) >= self.top
            and min(window.left + window.side, frame_width) <= self.left + self.width
            and min(window.top + window.side, frame_height) <= self.top + self.height
        )

    def place(self, window: CropWindow) -> CropWindow:
        """Return a window of the frame in pixels of the stored picture."""
        return window.relative_to(self.left, self.top).in_reduced(self.factor)
