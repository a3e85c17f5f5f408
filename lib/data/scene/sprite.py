"""The picture of one drawn object, with its outline in the alpha channel."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from lib.data.scene.shape import draw_shape
from lib.data.scene.texture import colourise, palette, pattern_field, tinted

_MARGIN = 2
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


def draw_sprite(recipe: SpriteRecipe) -> np.ndarray:
    """Draw an object as (H, W, 4) uint8: red, green and blue multiplied by alpha, then alpha.

    The outline touches all sides of the recipe's rectangle or stays inside it; a margin of clear pixels surrounds it.
    """
    width, height = round(recipe.width) + 2 * _MARGIN, round(recipe.height) + 2 * _MARGIN
    texture_rng = np.random.default_rng(recipe.texture_seed)
    palette_rng = np.random.default_rng(recipe.palette_seed)
    half, middle = (recipe.width / 2, recipe.height / 2), (width / 2 - 0.5, height / 2 - 0.5)

    field = pattern_field(texture_rng, height, width)
    alpha = np.zeros((height, width), np.uint8)
    painted = colourise(field, tinted(palette(palette_rng), np.asarray(recipe.tint)))
    colours = painted.copy()
    for index, outline in enumerate(draw_shape(np.random.default_rng(recipe.shape_seed))):
        points = np.rint((outline * half + middle) * 2**_SHIFT).astype(np.int32)
        if index > 0 and palette_rng.random() < 0.6:
            painted = colourise(field, tinted(palette(palette_rng), np.asarray(recipe.tint)))
        part = np.zeros_like(alpha)
        cv2.fillPoly(part, [points], 255, cv2.LINE_AA, _SHIFT)
        cv2.copyTo(painted, part, colours)
        cv2.max(alpha, part, alpha)
    light = _lighting(palette_rng, alpha)
    lit = cv2.multiply(colours, cv2.merge((light, light, light)), scale=1 / 160)
    opacity = cv2.merge((alpha, alpha, alpha))
    return cv2.merge((cv2.multiply(lit, opacity, scale=1 / 255), alpha))


def _lighting(rng: np.random.Generator, alpha: np.ndarray) -> np.ndarray:
    """Shade an outline as if it were round and lit from one side: (H, W) uint8, 160 leaves a colour as it is."""
    height, width = alpha.shape
    reach = max(3, round(min(height, width) * rng.uniform(0.15, 0.5)) | 1)
    bulge = cv2.blur(alpha, (reach, reach)).astype(np.float32) * np.float32(rng.uniform(0, 90) / 255)
    slope_x, slope_y = rng.uniform(-45, 45, 2)
    ramp_x = np.linspace(-slope_x, slope_x, width, dtype=np.float32)[None, :]
    ramp_y = np.linspace(-slope_y, slope_y, height, dtype=np.float32)[:, None]
    return (bulge + ramp_x + ramp_y + np.float32(rng.uniform(95, 130))).clip(20, 255).astype(np.uint8)
