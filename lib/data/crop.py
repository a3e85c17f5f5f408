"""Crop windows: the exact one of labels, training and inference, Alpha-Refine's stretched one, a box as a mask."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

_TO_PLACES = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP  # a matrix that leads to where pixels come from; black outside
_SLACK = 0.01  # pixels: OpenCV computes places in single precision


class Rectangle(NamedTuple):
    """A rectangle of a picture: from `left`, `top` up to, but without, `right`, `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    def grown(self, margin: int) -> "Rectangle":
        """Return the rectangle with a margin on all sides."""
        return Rectangle(self.left - margin, self.top - margin, self.right + margin, self.bottom + margin)

    def inside(self, height: int, width: int) -> "Rectangle":
        """Return what of it lies in a picture of the given size."""
        return Rectangle(max(self.left, 0), max(self.top, 0), min(self.right, width), min(self.bottom, height))


@dataclass(frozen=True)
class CropWindow:
    """A square of the frame, resized to `size` pixels.

    Coordinates are continuous (pixel i covers [i, i + 1)), nothing is rounded, so `to_image` is the exact inverse
    of `to_crop`. Parts of the window outside the frame are black.

    Attributes:
        left, top: corner of the window in pixels of the frame; may be negative.
        side: side of the window in pixels of the frame.
        size: side of the crop in pixels.
    """

    left: float
    top: float
    side: float
    size: int

    @classmethod
    def around(cls, box_xywh: np.ndarray, factor: float, size: int) -> "CropWindow":
        """Centre a window of side `factor * sqrt(w * h)` on a box.

        Args:
            box_xywh: (4,) in pixels of the frame, with positive sides.
            factor: crop side / sqrt(target area).
            size: side of the crop in pixels.

        Raises:
            ValueError: the box is not finite or has a side that is not positive.
        """
        left, top, width, height = _checked(box_xywh)
        side = factor * math.sqrt(width * height)
        return cls(left + (width - side) / 2, top + (height - side) / 2, side, size)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Sample the window from an (H, W[, 3]) image by bilinear interpolation into (size, size[, 3])."""
        return sample_rectangle(image, self.left, self.top, self.side, self.side, self.size)

    def cut_rgb(self, image: np.ndarray) -> np.ndarray:
        """Cut from an (H, W, 3) image, or from one with a fourth channel of no meaning, into (size, size, 3)."""
        crop = self.cut(image)
        return crop if crop.shape[2] == 3 else cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)

    def cut_visible(self, image: np.ndarray) -> np.ndarray | None:
        """Cut as `cut_rgb` does; None where the image has nothing of the window."""
        return self.cut_rgb(image) if self.covers_frame_share(*image.shape[:2]) > 0 else None

    def needed(self) -> Rectangle:
        """Return the pixels that `cut` interpolates from: the two nearest to each of its own, in both directions."""
        # Centres of the first and last pixel of the crop, counted from the centre of the first of the picture.
        inset = self.side / self.size / 2 - 0.5
        left, top = self.left + inset - _SLACK, self.top + inset - _SLACK
        length = self.side - self.side / self.size + 2 * _SLACK
        return Rectangle(math.floor(left), math.floor(top), math.floor(left + length) + 2, math.floor(top + length) + 2)

    def reduction(self) -> int:
        """Return 1, 2, 4 or 8: by how much the frame may be reduced and still have a pixel for each of the crop."""
        return next((factor for factor in (8, 4, 2) if self.side >= factor * self.size), 1)

    def in_reduced(self, factor: float) -> "CropWindow":
        """Return the same window in a frame of which each pixel stands for factor x factor pixels."""
        return CropWindow(self.left / factor, self.top / factor, self.side / factor, self.size)

    def relative_to(self, left: float, top: float) -> "CropWindow":
        """Return the same window in a part of the frame that begins at a corner."""
        return CropWindow(self.left - left, self.top - top, self.side, self.size)

    def to_crop(self, box_xywh: np.ndarray) -> np.ndarray:
        """Express a frame box (4,) as `crop_box_xyxy`: two corners in fractions of the crop, not clipped."""
        left, top, width, height = box_xywh.tolist()
        corners = (left - self.left, top - self.top, left + width - self.left, top + height - self.top)
        return np.array(corners, dtype=np.float64) / self.side

    def to_image(self, crop_box_xyxy: np.ndarray) -> np.ndarray:
        """Invert `to_crop`: (4,) corners in fractions of the crop to left, top, width, height in the frame."""
        left, top, right, bottom = (float(value) * self.side for value in crop_box_xyxy)
        return np.array((left + self.left, top + self.top, right - left, bottom - top), dtype=np.float64)

    def covers_frame_share(self, height: int, width: int) -> float:
        """Return the share of the window, in [0, 1], that lies inside a frame of the given size."""
        inside_x = max(0.0, min(self.left + self.side, width) - max(self.left, 0.0))
        inside_y = max(0.0, min(self.top + self.side, height) - max(self.top, 0.0))
        return inside_x * inside_y / self.side**2


@dataclass(frozen=True)
class WholePixelWindow(CropWindow):
    """A window of whole pixels, as OSTrack cuts them: for weights that were trained on such crops.

    The side is rounded up, and the corner to the nearest pixel in `cut` but not in `to_image`: so a box is read up to
    half a pixel from where it was seen. Where the window reaches the right or lower border, the frame's last column or
    row is black, too.
    """

    @classmethod
    def around(cls, box_xywh: np.ndarray, factor: float, size: int) -> "WholePixelWindow":
        """Centre a window of side `factor * sqrt(w * h)`, rounded up, on a box; as `CropWindow.around`."""
        side = math.ceil(CropWindow.around(box_xywh, factor, size).side)
        left, top, width, height = box_xywh.tolist()
        return cls(left + 0.5 * width - side * 0.5, top + 0.5 * height - side * 0.5, side, size)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Copy whole pixels, black outside the frame, and resize them to (size, size[, 3]) bilinearly."""
        side, left, top = round(self.side), round(self.left), round(self.top)
        height, width = image.shape[:2]
        pixels = np.zeros((side, side, *image.shape[2:]), image.dtype)
        first_row, first_column = max(top, 0), max(left, 0)
        inside = image[
            first_row : max(min(top + side, height - 1), 0), first_column : max(min(left + side, width - 1), 0)
        ]
        pixels[first_row - top :, first_column - left :][: inside.shape[0], : inside.shape[1]] = inside
        return cv2.resize(pixels, (self.size, self.size))


@dataclass(frozen=True)
class AveragedWindow(CropWindow):
    """A window that averages the pixels of a large target, as training does that reads JPEG files, and skips none.

    Where the crop has less than half, a quarter or an eighth of the window's pixels in a row, the frame is reduced by
    that first, each pixel the mean of its own, and interpolated then.
    """

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Sample the window from an (H, W[, 3]) image into (size, size[, 3]); black outside."""
        step = self.reduction()
        window = self.in_reduced(step)
        part = window.needed().inside(image.shape[0] // step, image.shape[1] // step)
        height, width = part.bottom - part.top, part.right - part.left
        if step == 1 or min(height, width) < 1:
            return super().cut(image)
        pixels = image[part.top * step : part.bottom * step, part.left * step : part.right * step]
        reduced = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        return window.relative_to(part.left, part.top).cut(reduced)


def sample_rectangle(image: np.ndarray, left: float, top: float, width: float, height: float, size: int) -> np.ndarray:
    """Sample a rectangle of an (H, W[, 3]) image by bilinear interpolation into (size, size[, 3]); black outside.

    OpenCV 5 interpolates exactly, but for rounding. Before, it rounds places to 1/32 pixel: of noise, pixels are up to
    7 grey levels off and .8 on average (.5 and .23 on 5). To interpolate exactly by other means costs more than a crop.
    """
    scale_x, scale_y = width / size, height / size
    # Crop pixel centres (i + 0.5) land at left + (i + 0.5) * scale; OpenCV counts from pixel centres.
    matrix = np.array([[scale_x, 0, left + 0.5 * scale_x - 0.5], [0, scale_y, top + 0.5 * scale_y - 0.5]])
    return cv2.warpAffine(image, matrix, (size, size), flags=_TO_PLACES)


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
        left, top, width, height = _checked(box_xywh)
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
        size = last_x - first_x, last_y - first_y
        frame[first_y:last_y, first_x:last_x] = cv2.warpAffine(crop, matrix, size, flags=_TO_PLACES)
        return frame


def _checked(box_xywh: np.ndarray) -> list[float]:
    box = box_xywh.tolist()
    if not (all(map(math.isfinite, box)) and box[2] > 0 and box[3] > 0):
        raise ValueError(f"cannot centre a crop on the box {', '.join(map(str, box))}: it needs finite numbers and "
                         "positive sides")  # fmt: skip
    return box


def box_to_mask(box_xywh: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return (height, width) bool, True where a pixel's centre lies in the box.

    Raises:
        ValueError: the box is not finite.
    """
    box = np.asarray(box_xywh, dtype=np.float64).reshape(-1)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"the box {box.tolist()} must be four finite numbers: x, y, width, height")
    # Pixel i has its centre at i + 0.5.
    near = np.ceil(box[:2] - 0.5).clip(0, (width, height)).astype(int)
    far = np.ceil(box[:2] + box[2:] - 0.5).clip(0, (width, height)).astype(int)
    mask = np.zeros((height, width), dtype=bool)
    mask[near[1] : far[1], near[0] : far[0]] = True
    return mask
