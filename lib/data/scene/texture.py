"""Textures drawn from a generator: grey fields of several families, and palettes that colour them."""

import cv2
import numpy as np

_RANDOM = np.random.Generator


def noise_field(rng: _RANDOM, height: int, width: int, persistence: float) -> np.ndarray:
    """Draw fractal noise: octaves of random grids, each twice as fine and `persistence` times as strong.

    Returns:
        (height, width) uint8 that spans 0 to 255.
    """
    rows, columns = rng.integers(2, 7, size=2).tolist()
    field = rng.random((rows, columns), dtype=np.float32)
    amplitude = 1.0
    while rows * 2 < height or columns * 2 < width:
        rows, columns = min(rows * 2, height), min(columns * 2, width)
        amplitude *= persistence
        field = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_LINEAR)
        cv2.scaleAdd(rng.random((rows, columns), dtype=np.float32), amplitude, field, field)
    coarse = cv2.normalize(field, np.empty(0), 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def pattern_field(rng: _RANDOM, height: int, width: int) -> np.ndarray:
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
    bend = noise_field(rng, height, width, 0.5).astype(np.float32) * rng.uniform(0, 1.2)
    if family < 0.66:
        phase = across + bend
    elif family < 0.78:
        return (((across + bend).astype(np.int32) ^ (down + bend).astype(np.int32)) & 128).astype(np.uint8) + 64
    elif family < 0.88:
        phase = np.sqrt(across * across + down * down) + bend
    else:
        phase = 127 + (across + down) * 0.1 + bend * 0.3
        return phase.clip(0, 255).astype(np.uint8)
    # A triangle wave: the palette is walked up and down, without a jump.
    return np.abs(phase.astype(np.int32) % 510 - 255).astype(np.uint8)


def palette(rng: _RANDOM, colours: int = 5) -> np.ndarray:
    """Draw a smooth run of mostly muted colours, (256, 1, 3) uint8 RGB, for `colourise`."""
    hue = rng.uniform(0, 360) + rng.normal(0, rng.choice((12.0, 40.0, 110.0)), colours)
    saturation = rng.beta(1.3, 2.2) + rng.normal(0, 0.12, colours)
    value = rng.permutation(np.linspace(rng.uniform(0.05, 0.4), rng.uniform(0.55, 1.0), colours))
    stops = np.stack((hue % 360, saturation.clip(0, 1), value), axis=-1).astype(np.float32)[None]
    rgb = cv2.cvtColor(stops, cv2.COLOR_HSV2RGB) * 255
    return cv2.resize(rgb, (256, 1), interpolation=cv2.INTER_LINEAR).astype(np.uint8).reshape(256, 1, 3)


def tinted(colours: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Multiply a palette's channels by (3,) gains."""
    return (colours * gains).clip(0, 255).astype(np.uint8)


def colourise(field: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Look an (H, W) uint8 field up in a palette, giving (H, W, 3) uint8 RGB."""
    return cv2.applyColorMap(field, colours)


def _phases(rng: _RANDOM, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two perpendicular linear ramps around the picture's middle, 256 per random period."""
    period = max(height, width) * rng.uniform(0.1, 0.6)
    angle = rng.uniform(0, np.pi)
    step_x, step_y = 256 / period * np.cos(angle), 256 / period * np.sin(angle)
    x = (np.arange(width, dtype=np.float32) - width / 2)[None, :]
    y = (np.arange(height, dtype=np.float32) - height / 2)[:, None]
    return np.float32(step_x) * x + np.float32(step_y) * y, np.float32(-step_y) * x + np.float32(step_x) * y
