"""The picture of one drawn object, its outline in the alpha channel: shapes, textures and palettes."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

MARGIN = 3  # clear pixels around the outline; smoothing spreads it by up to two
_SHIFT = 4
_RANDOM = np.random.Generator
_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=-1)
_SIGNS, _SIDES = np.sign(_CIRCLE), np.abs(_CIRCLE)
# (32, 8): waves of two to five periods around the circle, weaker the faster.
_WAVES = np.stack([wave(_ANGLES * n) / np.sqrt(n / 2) for n in (2, 3, 4, 5) for wave in (np.cos, np.sin)], axis=-1)
_STOPS = 5
# Neighbouring stops differ in brightness, or a palette would have no contrast.
_ZIGZAG = np.array((0.5, 0.1, 0.65, 0.0, 0.35))


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
        """Draw it, (H, W, 4) uint8: red, green and blue multiplied by alpha, then alpha.

        The outline touches all sides of the rectangle or stays inside it; a margin of clear pixels surrounds it.
        """
        width, height = round(self.width) + 2 * MARGIN, round(self.height) + 2 * MARGIN
        texture_rng = np.random.default_rng(self.texture_seed)
        palette_rng = np.random.default_rng(self.palette_seed)
        half, middle = (self.width / 2, self.height / 2), (width / 2 - 0.5, height / 2 - 0.5)

        field = pattern_field(texture_rng, height, width)
        paints = [colourise(field, colours * self.tint) for colours in palettes(palette_rng, 2, 256)]
        picture = paints[0].copy()
        alpha = np.zeros((height, width), np.uint8)
        for index, outline in enumerate(draw_shape(np.random.default_rng(self.shape_seed))):
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


def draw_shape(rng: _RANDOM) -> list[np.ndarray]:
    """Draw an object's parts, each (P, 2) with x right and y down in [-1, 1]; later parts lie on top."""
    return _SHAPES[int(rng.integers(len(_SHAPES)))](rng)


def _animal(rng: _RANDOM) -> list[np.ndarray]:
    """A body with legs, neck and head, seen from the side."""
    legs = [np.array([(x, 0), (x + 0.16, 0), (x + rng.uniform(0, 0.2), 1), (x + rng.uniform(-0.15, 0), 1)])
            for x in (-0.75, -0.45, 0.2, 0.5)]  # fmt: skip
    body = _CIRCLE * (0.8, rng.uniform(0.35, 0.5)) + (-0.1, 0)
    neck = np.array([(0.35, -0.3), (0.75, 0.1), (0.95, -0.6), (0.65, -0.8)])
    head = _CIRCLE * (0.24, rng.uniform(0.2, 0.3)) + (0.76, -0.7)
    return [*legs, body, neck, head]


def _blob(rng: _RANDOM) -> list[np.ndarray]:
    radii = 1 + _WAVES @ rng.normal(0, 0.16, 8)
    return [_fill(_CIRCLE * np.maximum(radii, 0.3)[:, None])]


def _figure(rng: _RANDOM) -> list[np.ndarray]:
    """A standing figure: legs, trunk, arms, head."""
    hips, shoulders = rng.uniform(0.35, 0.7), rng.uniform(0.5, 0.95)
    waist, spread = rng.uniform(-0.05, 0.25), rng.uniform(0.0, 0.3)
    legs = np.array([(-hips, waist), (hips, waist), (hips + spread, 1), (spread + 0.05, 1), (0, waist + 0.25),
                     (-spread - 0.05, 1), (-hips - spread, 1)])  # fmt: skip
    arms = np.array([(-shoulders, -0.55), (shoulders, -0.55), (1, 0.15), (shoulders * 0.75, 0.15),
                     (-shoulders * 0.75, 0.15), (-1, 0.15)])  # fmt: skip
    trunk = np.array([(-shoulders, -0.5), (0, -0.68), (shoulders, -0.5), (hips, waist + 0.08), (-hips, waist + 0.08)])
    head = _CIRCLE * (rng.uniform(0.3, 0.45), rng.uniform(0.18, 0.25)) + (0, -0.76)
    return [legs, arms, trunk, head]


def _flyer(rng: _RANDOM) -> list[np.ndarray]:
    """A slim body with swept wings and a tail, seen from above."""
    sweep, root = rng.uniform(-0.2, 0.6), rng.uniform(0.2, 0.5)
    wings = np.array([(0, -root), (1, sweep), (1, sweep + 0.2), (0, root * 0.6), (-1, sweep + 0.2), (-1, sweep)])
    tail = np.array([(0, 0.6), (0.4, 0.9), (0.4, 1), (-0.4, 1), (-0.4, 0.9)])
    return [wings, tail, _CIRCLE * (rng.uniform(0.12, 0.25), 1)]


def _heap(rng: _RANDOM) -> list[np.ndarray]:
    """Two or three ellipses and boxes that overlap in the middle."""
    parts = []
    for _ in range(int(rng.integers(2, 4))):
        outline = _SIGNS * _SIDES ** (2 / rng.uniform(1.8, 6))
        parts.append(outline * rng.uniform(0.4, 0.7, 2) + rng.uniform(-0.3, 0.3, 2))
    return parts


def _polygon(rng: _RANDOM) -> list[np.ndarray]:
    count = int(rng.integers(3, 8))
    angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * (2 * np.pi / count)
    return [_fill(np.stack((np.cos(angles), np.sin(angles)), axis=-1))]


def _round(rng: _RANDOM) -> list[np.ndarray]:
    """A superellipse: from a lens over an ellipse to a rounded rectangle."""
    return [_SIGNS * _SIDES ** (2 / rng.uniform(1.4, 6))]


def _star(rng: _RANDOM) -> list[np.ndarray]:
    points = int(rng.integers(4, 9))
    angles = np.arange(2 * points) * (np.pi / points) + rng.random()
    outline = np.stack((np.cos(angles), np.sin(angles)), axis=-1)
    outline[1::2] *= rng.uniform(0.4, 0.75)
    return [_fill(outline)]


def _vehicle(rng: _RANDOM) -> list[np.ndarray]:
    """A vehicle from the side: body, cabin with a window, two wheels."""
    roof, front, back = rng.uniform(-1, -0.6), rng.uniform(0.1, 0.8), rng.uniform(-0.9, -0.3)
    body = np.array([(-1, -0.1), (-0.9, -0.25), (0.9, -0.2), (1, 0.1), (1, 0.65), (-1, 0.65)])
    cabin = np.array([(back, -0.2), (back + 0.2, roof), (front - 0.25, roof), (front, -0.2)])
    window = np.array([(back + 0.18, -0.25), (back + 0.28, roof + 0.15), (front - 0.3, roof + 0.15),
                       (front - 0.15, -0.25)])  # fmt: skip
    wheel = _CIRCLE * (0.22, 0.36)
    return [body, cabin, window, wheel + np.array((-0.58, 0.64)), wheel + np.array((0.55, 0.64))]


def _fill(points: np.ndarray) -> np.ndarray:
    """Stretch an outline to touch all four sides of the unit square."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / (high - low) * 2 - 1


def noise_field(rng: np.random.Generator, height: int, width: int, persistence: float, top: int = 255) -> np.ndarray:
    """Draw fractal noise: octaves of random grids, each twice as fine and `persistence` times as strong.

    Returns:
        (height, width) uint8 that spans 0 to `top`.
    """
    # The finest octave has half the picture's resolution; the coarsest may be stretched one way.
    rows, columns = height // 2, width // 2
    octaves = max(1, min(rows, columns).bit_length() - 2)
    stretch_y, stretch_x = rng.integers(0, 3, 2).tolist()
    start = (max(2, columns >> (octaves + stretch_x)), max(2, rows >> (octaves + stretch_y)))
    field = rng.random((start[1], start[0]), dtype=np.float32)
    amplitude = 1.0
    for octave in range(octaves - 1, -1, -1):
        amplitude *= persistence
        grid = rng.random((rows >> octave, columns >> octave), dtype=np.float32)
        field = cv2.scaleAdd(grid, amplitude, cv2.resize(field, (columns >> octave, rows >> octave)))
    coarse = cv2.normalize(field, np.empty(0), 0, top, cv2.NORM_MINMAX, cv2.CV_8U)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def pattern_field(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw one of the texture families in (height, width) uint8: noise, stripes, checks, rings, patches, gradient."""
    family = rng.random()
    if family < 0.3:
        return noise_field(rng, height, width, rng.uniform(0.45, 0.95))
    if family < 0.42:
        rows, columns = rng.integers(2, 7, size=2).tolist()
        patches = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
        return cv2.resize(patches, (width, height), interpolation=cv2.INTER_NEAREST)

    # The other families wrap a phase around the palette; a little noise bends their lines.
    across, down = _phases(rng, height, width)
    if family < 0.78:
        phase = across
        if family >= 0.66:
            return ((phase.astype(np.int32) ^ down.astype(np.int32)) & 128).astype(np.uint8) + 64
    elif family < 0.88:
        phase = cv2.magnitude(across, down)
    else:
        return cv2.convertScaleAbs(across, alpha=0.15, beta=127)
    # A triangle wave: the palette is walked up and down, without a jump.
    return np.abs(phase.astype(np.int32) % 510 - 255).astype(np.uint8)


def palettes(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Draw smooth runs of mostly muted colours, (count, length, 3) float32 RGB up to 255, for `colourise`."""
    hues, saturations = rng.normal(size=(2, count, _STOPS))
    pure, base, spread, dark, bright = rng.random((5, count, 1))
    stops = np.empty((count, _STOPS, 3), np.float32)
    stops[..., 0] = (360 * base + hues * (12 + 120 * spread**3)) % 360
    stops[..., 1] = np.minimum(np.abs(0.85 * pure**1.7 + 0.12 * saturations), 1)
    stops[..., 2] = 0.04 + 0.3 * dark + (0.3 + 0.36 * bright) * (_ZIGZAG + 0.35 * rng.random((count, _STOPS)))
    colours = cv2.cvtColor(stops, cv2.COLOR_HSV2RGB).transpose(1, 0, 2) * 255
    return cv2.resize(colours, (count, length), interpolation=cv2.INTER_LINEAR).transpose(1, 0, 2)


def colourise(field: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Look an (H, W) uint8 field up in (256, 3) RGB colours, giving (H, W, 4) uint8 whose fourth channel is 255."""
    table = np.full((256, 4), 255, np.uint8)
    table[:, :3] = np.minimum(colours, 255)
    # Four bytes are looked up as one number, which is several times as fast as three channels.
    pixels = cv2.LUT(field, table.view(np.int32)[:, 0])
    return pixels[..., None].view(np.uint8)


def _phases(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two perpendicular ramps around the picture's middle, bent a little, 256 per random period."""
    random_period, turn, bend_strength = rng.random(3).tolist()
    step = 256 / (max(height, width) * (0.1 + 0.5 * random_period))
    step_x, step_y = np.float32(step * math.cos(math.pi * turn)), np.float32(step * math.sin(math.pi * turn))
    x = np.arange(-width / 2, width / 2, dtype=np.float32)[None, :]
    y = np.arange(-height / 2, height / 2, dtype=np.float32)[:, None]
    grid = rng.random((4, 4), dtype=np.float32)
    bend = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(300 * bend_strength)
    return (step_x * x + bend) + step_y * y, (step_x * y + bend) - step_y * x


_SHAPES = (_round, _polygon, _star, _blob, _blob, _figure, _vehicle, _animal, _flyer, _heap)
