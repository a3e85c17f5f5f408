"""The look of a scene made of photographs: objects cut out of some, pasted over another.

Source of the idea: Li et al., "Crop-Transform-Paste: Self-Supervised Learning for Visual Tracking",
2021, arXiv 2106.10900.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from lib.data.synthetic.album import Album, Photograph
from lib.data.synthetic.looks import Plane
from lib.data.synthetic.sprite import MARGIN, draw_shape

_SHIFT = 4
# Of the objects, where there are masks: what is cut along a random outline does not teach where a thing ends.
_OUTLINED = 0.85
# Side of an object in the scene / in its photograph. Objects are as much sharper than the background as in real video,
# whose targets are in focus.
_MAGNIFICATION = (0.35, 0.95)
_LARGEST_CUT = 0.7  # of the photograph's short side
_SMALLEST_CUT = 12  # px
_ENLARGED = (1.0, 1.3)  # how much wider than the frame the background is, at least
_SMOOTHEST = 6  # px over which a background without detail is averaged to either side
_GAINS = (0.6, 1.6)  # of an object whose colours are drawn towards those of the background


@dataclass(frozen=True)
class CutoutRecipe:
    """What an object is cut from, and by which outline.

    Attributes:
        album: the photographs.
        photograph: index of the one it is cut from.
        backdrop: index of the one it is pasted over.
        shape_seed: of the outline, where no mask states it.
        place_seed: of the place in the photograph.
        blend_seed: of the softness of its border, its sharpness, and how far its colours go towards the background's.
        width, height: sides of the outline's rectangle in pixels.
        mirrored: left and right swapped.
        tint: gains of red, green and blue.
    """

    album: Album
    photograph: int
    backdrop: int
    shape_seed: int
    place_seed: int
    blend_seed: int
    width: float
    height: float
    mirrored: bool = False
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def lookalike(self, rng: np.random.Generator) -> "CutoutRecipe":
        """Draw an object of the same outline and photograph: of other colours, mirrored, or cut elsewhere."""
        gains = rng.uniform(0.75, 1.25, 3)
        place = int(rng.integers(2**62))
        kind = rng.random()
        return replace(
            self,
            place_seed=place if kind < 0.35 else self.place_seed,
            mirrored=self.mirrored != (0.35 <= kind < 0.6),
            tint=(gains[0], gains[1], gains[2]) if kind < 0.35 or kind > 0.5 else self.tint,
        )

    def sized(self, width: float, height: float) -> "CutoutRecipe":
        """Return the same object at another size."""
        return replace(self, width=width, height=height)

    def picture(self) -> np.ndarray:
        """Cut the object out of its photograph and match it to the background; see `looks.Recipe`."""
        photograph = self.album[self.photograph]
        width, height = round(self.width), round(self.height)
        place_rng = np.random.default_rng(self.place_seed)
        if len(photograph.objects_xywh):
            patch = _cut_object(photograph, place_rng, width, height)
            alpha = _with_margin(cv2.extractChannel(patch, 3), cv2.BORDER_CONSTANT)
        else:
            patch = _cut_place(photograph, place_rng, width, height)
            alpha = self._outline()
        blend_rng = np.random.default_rng(self.blend_seed)
        border, blur, harmony = blend_rng.random(3).tolist()
        patch = cv2.multiply(patch, self._gains(patch, 0.5 * harmony))
        patch = _with_margin(patch, cv2.BORDER_REPLICATE)
        if blur > 0.5:
            cv2.GaussianBlur(patch, (5, 5), 0.3 + 0.7 * (2 * blur - 1), patch)
        cv2.GaussianBlur(alpha, (5, 5), 0.55 + 0.6 * border, alpha)
        if self.mirrored:
            patch, alpha = cv2.flip(patch, 1), cv2.flip(alpha, 1)
        picture = cv2.multiply(patch, cv2.merge((alpha, alpha, alpha, alpha)), scale=1 / 255)
        cv2.insertChannel(alpha, picture, 3)
        return picture

    def _outline(self) -> np.ndarray:
        """Draw the outline into its rectangle and margin, (H, W) uint8."""
        width, height = round(self.width) + 2 * MARGIN, round(self.height) + 2 * MARGIN
        # A filled polygon covers most of a pixel more, and smoothing spreads it by two.
        half, middle = (self.width / 2 - 0.75, self.height / 2 - 0.75), (width / 2 - 0.5, height / 2 - 0.5)
        alpha = np.zeros((height, width), np.uint8)
        for outline in draw_shape(np.random.default_rng(self.shape_seed)):
            points = np.rint((outline * half + middle) * 2**_SHIFT).astype(np.int32)
            cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, _SHIFT)
        return alpha

    def _gains(self, patch: np.ndarray, harmony: float) -> np.ndarray:
        """Return (4,) gains: those of red, green and blue take the patch a share of the way to the background."""
        own, wanted = cv2.mean(patch), self.album[self.backdrop].colour
        low, high = _GAINS
        gains = [
            tint * min(max(((there + 8) / (here + 8)) ** harmony, low), high)
            for here, there, tint in zip(own, wanted, self.tint, strict=False)
        ]
        return np.array((*gains, 1.0))


class PhotoLooks:
    """Objects cut from photographs, and one more photograph behind them; see `looks.Looks`."""

    def __init__(self, album: Album, rng: np.random.Generator) -> None:
        """Choose the background's photograph among at least two; none is opened."""
        self._album = album
        self._backdrop = int(rng.integers(len(album)))

    def recipe(self, rng: np.random.Generator, width: float, height: float) -> CutoutRecipe:
        shape, place, blend = rng.integers(2**62, size=3).tolist()
        # Any but the background's.
        photograph = (self._backdrop + 1 + int(rng.integers(len(self._album) - 1))) % len(self._album)
        outlined = self._album.outlined
        if outlined and rng.random() < _OUTLINED:
            photograph = outlined[int(rng.integers(len(outlined)))]
        return CutoutRecipe(
            self._album, photograph, self._backdrop, shape, place, blend, width, height, bool(rng.random() < 0.5)
        )

    def plane(self, rng: np.random.Generator, frame_size: tuple[int, int], detail: float) -> Plane:
        picture = self._album[self._backdrop].picture
        rows, columns = picture.shape[:2]
        if rng.random() < 0.5:
            picture = cv2.flip(picture, 1)
        side = 1 + 2 * round(_SMOOTHEST * (1 - detail))
        if side > 1:
            picture = cv2.blur(picture, (side, side))
        cover = max(frame_size[0] / rows, frame_size[1] / columns)
        return Plane(picture, cover * rng.uniform(*_ENLARGED))


def _cut_place(photograph: Photograph, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Cut a rectangle at a place full of contrast, and scale it to (height, width, 4)."""
    rows, columns = photograph.picture.shape[:2]
    low, high = _MAGNIFICATION
    magnification = low * (high / low) ** rng.random()
    # No larger than the photograph allows, and the shape of the rectangle is kept.
    magnification = max(magnification, max(width, height) / (_LARGEST_CUT * min(rows, columns)))
    magnification = min(magnification, math.sqrt(width * height) / _SMALLEST_CUT)
    cut_width, cut_height = max(2, round(width / magnification)), max(2, round(height / magnification))
    cut_width, cut_height = min(cut_width, columns), min(cut_height, rows)
    x, y = photograph.busy_place(rng)
    left = min(max(round(x - cut_width / 2), 0), columns - cut_width)
    top = min(max(round(y - cut_height / 2), 0), rows - cut_height)
    return _scale(photograph.picture[top : top + cut_height, left : left + cut_width], width, height)


def _cut_object(photograph: Photograph, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Cut one of the mask's objects, and fit it into (height, width, 4) without changing its aspect ratio."""
    objects = photograph.objects_xywh
    left, top, columns, rows = objects[int(rng.integers(len(objects)))].tolist()
    cut = photograph.picture[top : top + rows, left : left + columns]
    scale = min(width / columns, height / rows)
    fitted = _scale(cut, max(1, round(columns * scale)), max(1, round(rows * scale)))
    spare_y, spare_x = height - fitted.shape[0], width - fitted.shape[1]
    return cv2.copyMakeBorder(
        fitted, spare_y // 2, spare_y - spare_y // 2, spare_x // 2, spare_x - spare_x // 2, cv2.BORDER_CONSTANT
    )


def _scale(cut: np.ndarray, width: int, height: int) -> np.ndarray:
    shrunk = cut.shape[1] > width or cut.shape[0] > height
    return cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR)


def _with_margin(picture: np.ndarray, border: int) -> np.ndarray:
    return cv2.copyMakeBorder(picture, MARGIN, MARGIN, MARGIN, MARGIN, border)
