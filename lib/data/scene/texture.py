"""Textures drawn from a generator: grey fields of several families, and palettes that colour them."""

import math

import cv2
import numpy as np

_STOPS = 5
# Neighbouring stops differ in brightness, or a palette would have no contrast.
_ZIGZAG = np.array((0.5, 0.1, 0.65, 0.0, 0.35))


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
