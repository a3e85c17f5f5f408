"""The picture of one drawn object, with its outline in the alpha channel."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from lib.data.scene.shape import draw_shape
from lib.data.scene.texture import colourise, palettes, pattern_field

MARGIN = 3  # clear pixels around the outline; smoothing spreads it by up to two
_SHIFT = 4


@dataclass(frozen=True)
class SpriteRecipe:
    """What a sprite is drawn from: two recipes that share a seed share that property.

    Attributes:
        shape_seed, texture_seed, palette_seed: seeds of the outline, the pattern and the colours.
        width, height: sides of the outline's rectangle in pixels.
        tint: gains of red, green and blue.
    """

    shape_seed: int
    texture_seed: int
    palette_seed: int
    width: float
    height: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def draw(cls, rng: np.random.Generator, width: float, height: float) -> "SpriteRecipe":
        """Draw an object of its own kind."""
        shape, texture, colours = rng.integers(2**62, size=3).tolist()
        return cls(shape, texture, colours, width, height)

    def lookalike(self, rng: np.random.Generator) -> "SpriteRecipe":
        """Draw an object of the same outline that differs a little in hue, and at times in the run of its texture."""
        gains = rng.uniform(0.72, 1.28, 3)
        own_texture = int(rng.integers(2**62)) if rng.random() < 0.4 else self.texture_seed
        return replace(self, texture_seed=own_texture, tint=(gains[0], gains[1], gains[2]))

    def sized(self, width: float, height: float) -> "SpriteRecipe":
        """Return the same object drawn at another size."""
        return replace(self, width=width, height=height)

    def picture(self) -> np.ndarray:
        """Draw it; see `draw_sprite`."""
        return draw_sprite(self)


def draw_sprite(recipe: SpriteRecipe) -> np.ndarray:
    """Draw an object as (H, W, 4) uint8: red, green and blue multiplied by alpha, then alpha.

    The outline touches all sides of the recipe's rectangle or stays inside it; a margin of clear pixels surrounds it.
    """
    width, height = round(recipe.width) + 2 * MARGIN, round(recipe.height) + 2 * MARGIN
    texture_rng = np.random.default_rng(recipe.texture_seed)
    palette_rng = np.random.default_rng(recipe.palette_seed)
    half, middle = (recipe.width / 2, recipe.height / 2), (width / 2 - 0.5, height / 2 - 0.5)

    field = pattern_field(texture_rng, height, width)
    paints = [colourise(field, colours * recipe.tint) for colours in palettes(palette_rng, 2, 256)]
    picture = paints[0].copy()
    alpha = np.zeros((height, width), np.uint8)
    for index, outline in enumerate(draw_shape(np.random.default_rng(recipe.shape_seed))):
        points = np.rint((outline * half + middle) * 2**_SHIFT).astype(np.int32)
        cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, _SHIFT)
        if index > 0:
            part = cv2.fillPoly(np.zeros_like(alpha), [points], 255, cv2.LINE_8, _SHIFT)
            cv2.copyTo(paints[index % 2], part, picture)
    light = _lighting(palette_rng, alpha)
    weight = cv2.multiply(light, alpha, scale=1 / 255)
    picture = cv2.multiply(picture, cv2.merge((weight, weight, weight, weight)), scale=1 / 160)
    cv2.insertChannel(alpha, picture, 3)
    return picture


def _lighting(rng: np.random.Generator, alpha: np.ndarray) -> np.ndarray:
    """Shade an outline as if it were round and lit from one side: (H, W) uint8, 160 leaves a colour as it is."""
    height, width = alpha.shape
    bulge, reach, base, slope_x, slope_y = rng.random(5).tolist()
    side = max(3, round(min(height, width) * (0.15 + 0.35 * reach)) | 1)
    light = cv2.blur(alpha, (side, side)).astype(np.float32)
    light *= bulge * 90 / 255
    light += (np.arange(width, dtype=np.float32) - width / 2) * (90 * (slope_x - 0.5) / width)
    light += ((np.arange(height, dtype=np.float32) - height / 2) * (90 * (slope_y - 0.5) / height))[:, None]
    light += 95 + 35 * base
    return np.rint(light.clip(20, 255, out=light)).astype(np.uint8)
