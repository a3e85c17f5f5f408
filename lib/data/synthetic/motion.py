"""Smooth motion as closed functions of time, so that any frame can be asked for alone."""

import math
from collections import abc
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class Pose(NamedTuple):
    """Where a sprite stands in the frame: its centre, its size relative to its picture, and its angle.

    Attributes:
        x, y: centre in pixels of the frame.
        scale_x, scale_y: stretch of the sprite along its own axes.
        angle: radians, clockwise on the screen.
    """

    x: float
    y: float
    scale_x: float
    scale_y: float
    angle: float


class Path(Protocol):
    """The way of a point through the frame."""

    def at(self, time: float) -> tuple[float, float]:
        """Return x and y in pixels of the frame at a time in frames."""
        ...


class Oscillation:
    """Several quantities that each follow a sum of sine waves."""

    def __init__(
        self, rng: np.random.Generator, amplitudes: abc.Sequence[float], periods: tuple[float, float], waves: int = 3
    ) -> None:
        """Draw the waves.

        Args:
            rng: source of periods, phases and each wave's share.
            amplitudes: largest value of each quantity.
            periods: range of the longest period of each quantity in frames; wave k is about k times as fast and k
                times as weak.
            waves: number of waves per quantity.
        """
        # Plain floats: for so few numbers the interpreter is faster than NumPy, and `at` is called often.
        draws = iter(rng.random(len(amplitudes) * (1 + 3 * waves)).tolist())
        self._waves: list[list[tuple[float, float, float]]] = []
        for amplitude in amplitudes:
            frequency = 2 * math.pi / (periods[0] + (periods[1] - periods[0]) * next(draws))
            shares = [(0.3 + 0.7 * next(draws)) / order for order in range(1, waves + 1)]
            gain = amplitude / sum(shares)
            self._waves.append(
                [
                    (share * gain, frequency * order * (0.8 + 0.4 * next(draws)), 2 * math.pi * next(draws))
                    for order, share in enumerate(shares, start=1)
                ]
            )

    def at(self, time: float) -> list[float]:
        """Return the D values at a time in frames."""
        values = []
        for waves in self._waves:
            value = 0.0
            for weight, frequency, phase in waves:
                value += weight * math.sin(frequency * time + phase)
            values.append(value)
        return values


@dataclass(frozen=True)
class Wander:
    """A point that wanders over a rectangle.

    Attributes:
        centre_x, centre_y: middle of the rectangle.
        offset_x, offset_y: way relative to the middle, one quantity each.
    """

    centre_x: float
    centre_y: float
    offset_x: Oscillation
    offset_y: Oscillation

    def at(self, time: float) -> tuple[float, float]:
        return self.centre_x + self.offset_x.at(time)[0], self.centre_y + self.offset_y.at(time)[0]


@dataclass(frozen=True)
class Excursion:
    """A path that leaves for another point for a while and comes back.

    Attributes:
        path: the path otherwise followed.
        x, y: the point outside.
        start, stop: first and last time away from the path.
        ramp: frames that the way out, and the way back, takes.
    """

    path: Path
    x: float
    y: float
    start: float
    stop: float
    ramp: float

    def at(self, time: float) -> tuple[float, float]:
        x, y = self.path.at(time)
        share = smoothstep(min(time - self.start, self.stop - time) / self.ramp)
        return x + (self.x - x) * share, y + (self.y - y) * share


@dataclass(frozen=True)
class Straight:
    """A point that passes a place at a given time with constant velocity."""

    x: float
    y: float
    velocity_x: float
    velocity_y: float
    time: float

    def at(self, time: float) -> tuple[float, float]:
        since = time - self.time
        return self.x + self.velocity_x * since, self.y + self.velocity_y * since


@dataclass(frozen=True)
class Companion:
    """A point that keeps by another one, at a distance that may change.

    Attributes:
        leader: the path it keeps by.
        distance_x, distance_y: middle of the distance.
        drift: change of the distance in x and y, if any.
    """

    leader: Path
    distance_x: float
    distance_y: float
    drift: Oscillation | None = None

    def at(self, time: float) -> tuple[float, float]:
        x, y = self.leader.at(time)
        drift_x, drift_y = (0.0, 0.0) if self.drift is None else self.drift.at(time)
        return x + self.distance_x + drift_x, y + self.distance_y + drift_y


@dataclass(frozen=True)
class Motion:
    """A path with changes of size, aspect ratio and angle along it.

    Attributes:
        path: way of the centre.
        changes: log scale, half log aspect ratio, angle.
        angle: angle about which `changes` swings, in radians.
        spin: steady turn in radians per frame.
    """

    path: Path
    changes: Oscillation
    angle: float = 0.0
    spin: float = 0.0

    def at(self, time: float) -> Pose:
        """Return the pose at a time in frames."""
        x, y = self.path.at(time)
        log_scale, half_log_aspect, swing = self.changes.at(time)
        scale_x, scale_y = math.exp(log_scale + half_log_aspect), math.exp(log_scale - half_log_aspect)
        return Pose(x, y, scale_x, scale_y, self.angle + swing + self.spin * time)


@dataclass(frozen=True)
class Attached:
    """A point of a moving object, which turns and grows with it.

    Attributes:
        leader: the object's motion.
        offset_x, offset_y: place of the point along the object's own axes, in pixels at scale 1.
    """

    leader: Motion
    offset_x: float
    offset_y: float

    def at(self, time: float) -> tuple[float, float]:
        pose = self.leader.at(time)
        across, along = self.offset_x * pose.scale_x, self.offset_y * pose.scale_y
        cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
        return pose.x + cosine * across - sine * along, pose.y + sine * across + cosine * along


def smoothstep(share: float) -> float:
    """Rise smoothly from 0 at 0 to 1 at 1, flat outside."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
