"""The crop of Alpha-Refine: a rectangle shaped like the box, stretched to a square, and a mask's way back."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from lib.data.crop import sample_rectangle


@dataclass(frozen=True)
class StretchedWindow:
    """A rectangle of the frame, resized to `size` x `size` pixels; width and height are scaled each by its own factor.

    Coordinates are continuous (pixel i covers [i, i + 1)), nothing is rounded. Parts outside the frame are black.

    Attributes:
        left, top: corner of the window in pixels of the frame; may be negative.
        width, height: sides of the window in pixels of the frame.
        size: side of the crop in pixels.

    Source of the shape: Yan et al., "Alpha-Refine: Boosting Tracking Performance by Precise Bounding Box Estimation",
    2021. The published code rounds it to whole pixels; here it is exact.
    """

    left: float
    top: float
    width: float
    height: float
    size: int

    @classmethod
    def around(cls, box_xywh: np.ndarray, factor: float, size: int) -> "StretchedWindow":
        """Centre a window on a box, `factor` times as wide and as high.

        Raises:
            ValueError: the box is not finite or has a side that is not positive.
        """
        left, top, width, height = (float(value) for value in box_xywh)
        if not (all(map(math.isfinite, (left, top, width, height))) and width > 0 and height > 0):
            raise ValueError(f"cannot cut a crop around the box {left}, {top}, {width}, {height}: it needs finite "
                             "numbers and positive sides")  # fmt: skip
        grown_width, grown_height = factor * width, factor * height
        return cls(left - (grown_width - width) / 2, top - (grown_height - height) / 2, grown_width, grown_height, size)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Sample the window from an (H, W[, 3]) image by bilinear interpolation into (size, size[, 3])."""
        return sample_rectangle(image, self.left, self.top, self.width, self.height, self.size)

    def cut_mask(self, mask: np.ndarray) -> np.ndarray:
        """Sample an (H, W) bool mask into (size, size) bool: True where at least half of the pixel is."""
        return self.cut(mask.astype(np.uint8) * 255) >= 128

    def to_crop(self, box_xywh: np.ndarray) -> np.ndarray:
        """Express a frame box (4,) as `crop_box_xyxy`: two corners in fractions of the crop, not clipped."""
        left, top, width, height = (float(value) for value in box_xywh)
        near_x, near_y = (left - self.left) / self.width, (top - self.top) / self.height
        return np.array((near_x, near_y, near_x + width / self.width, near_y + height / self.height))

    def paste(self, crop: np.ndarray, height: int, width: int) -> np.ndarray:
        """Bring a (size, size) float32 map back to a frame: (height, width), zero outside the window."""
        frame = np.zeros((height, width), np.float32)
        first_x, last_x = max(0, math.floor(self.left)), min(width, math.ceil(self.left + self.width))
        first_y, last_y = max(0, math.floor(self.top)), min(height, math.ceil(self.top + self.height))
        if first_x >= last_x or first_y >= last_y:
            return frame
        scale_x, scale_y = self.size / self.width, self.size / self.height
        matrix = np.array([
            [scale_x, 0, (first_x + 0.5 - self.left) * scale_x - 0.5],
            [0, scale_y, (first_y + 0.5 - self.top) * scale_y - 0.5],
        ])  # fmt: skip
        frame[first_y:last_y, first_x:last_x] = cv2.warpAffine(
            crop,
            matrix,
            (last_x - first_x, last_y - first_y),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        return frame
