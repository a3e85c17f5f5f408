"""Outlines of drawn objects: closed polygons in the unit square, one or several per object."""

import numpy as np

_RANDOM = np.random.Generator
_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=-1)
_SIGNS, _SIDES = np.sign(_CIRCLE), np.abs(_CIRCLE)
# (32, 8): waves of two to five periods around the circle, weaker the faster.
_WAVES = np.stack([wave(_ANGLES * n) / np.sqrt(n / 2) for n in (2, 3, 4, 5) for wave in (np.cos, np.sin)], axis=-1)


def draw_shape(rng: _RANDOM) -> list[np.ndarray]:
    """Draw an object's parts, each (P, 2) with x right and y down in [-1, 1]; later parts lie on top."""
    return _SHAPES[int(rng.integers(len(_SHAPES)))](rng)


def _round(rng: _RANDOM) -> list[np.ndarray]:
    """A superellipse: from a lens over an ellipse to a rounded rectangle."""
    return [_SIGNS * _SIDES ** (2 / rng.uniform(1.4, 6))]


def _polygon(rng: _RANDOM) -> list[np.ndarray]:
    count = int(rng.integers(3, 8))
    angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * (2 * np.pi / count)
    return [_fill(np.stack((np.cos(angles), np.sin(angles)), axis=-1))]


def _star(rng: _RANDOM) -> list[np.ndarray]:
    points = int(rng.integers(4, 9))
    angles = np.arange(2 * points) * (np.pi / points) + rng.random()
    outline = np.stack((np.cos(angles), np.sin(angles)), axis=-1)
    outline[1::2] *= rng.uniform(0.4, 0.75)
    return [_fill(outline)]


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


def _vehicle(rng: _RANDOM) -> list[np.ndarray]:
    """A vehicle from the side: body, cabin with a window, two wheels."""
    roof, front, back = rng.uniform(-1, -0.6), rng.uniform(0.1, 0.8), rng.uniform(-0.9, -0.3)
    body = np.array([(-1, -0.1), (-0.9, -0.25), (0.9, -0.2), (1, 0.1), (1, 0.65), (-1, 0.65)])
    cabin = np.array([(back, -0.2), (back + 0.2, roof), (front - 0.25, roof), (front, -0.2)])
    window = np.array([(back + 0.18, -0.25), (back + 0.28, roof + 0.15), (front - 0.3, roof + 0.15),
                       (front - 0.15, -0.25)])  # fmt: skip
    wheel = _CIRCLE * (0.22, 0.36)
    return [body, cabin, window, wheel + np.array((-0.58, 0.64)), wheel + np.array((0.55, 0.64))]


def _animal(rng: _RANDOM) -> list[np.ndarray]:
    """A body with legs, neck and head, seen from the side."""
    legs = [np.array([(x, 0), (x + 0.16, 0), (x + rng.uniform(0, 0.2), 1), (x + rng.uniform(-0.15, 0), 1)])
            for x in (-0.75, -0.45, 0.2, 0.5)]  # fmt: skip
    body = _CIRCLE * (0.8, rng.uniform(0.35, 0.5)) + (-0.1, 0)
    neck = np.array([(0.35, -0.3), (0.75, 0.1), (0.95, -0.6), (0.65, -0.8)])
    head = _CIRCLE * (0.24, rng.uniform(0.2, 0.3)) + (0.76, -0.7)
    return [*legs, body, neck, head]


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


def _fill(points: np.ndarray) -> np.ndarray:
    """Stretch an outline to touch all four sides of the unit square."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / (high - low) * 2 - 1


_SHAPES = (_round, _polygon, _star, _blob, _blob, _figure, _vehicle, _animal, _flyer, _heap)
