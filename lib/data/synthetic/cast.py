"""Who plays in a scene: the target, other objects, and who hides whom."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lib.data.synthetic.actor import Actor, Deformation
from lib.data.synthetic.looks import Looks, Recipe
from lib.data.synthetic.motion import Attached, Companion, Excursion, Motion, Oscillation, Path, Straight, Wander
from lib.data.synthetic.style import SHAKE, SceneStyle

_RANDOM = np.random.Generator
_LOOKALIKE_SHARE = 0.67


class Cast(NamedTuple):
    """The objects of a scene, in the order in which they are painted.

    Attributes:
        behind: objects that the target hides.
        target: the one to track.
        front: objects that may hide the target.
    """

    behind: tuple[Actor, ...]
    target: Actor
    front: tuple[Actor, ...]


def draw_cast(rng: _RANDOM, style: SceneStyle, num_frames: int, looks: Looks) -> Cast:
    """Draw the objects of a scene of a given length; in the first frame all of the target is seen."""
    side = math.exp(rng.uniform(math.log(style.target_side[0]), math.log(style.target_side[1])))
    step = side * rng.uniform(*style.speed)
    recipe = _draw_recipe(rng, looks, style, side)
    spin = rng.uniform(-0.12, 0.12) if rng.random() < style.spin_probability else 0.0
    motion = Motion(_wander(rng, style, 0.72 * side, step), _changes(rng, style), rng.normal(0, 0.25), spin)
    deformation = _deformation(rng, style)
    path = _moved_inside(Actor(recipe, motion, deformation), style)
    if rng.random() < style.leaving_probability:
        path = _excursion(rng, style, path, side, num_frames)
    target = Actor(recipe, replace(motion, path=path), deformation)

    # Nothing is drawn at random where there are no carriers, so that such scenes stay what they were.
    carriers = ()
    if style.carrier_probability > 0 and rng.random() < style.carrier_probability:
        carriers = (_carrier(rng, looks, recipe, target.motion),)
    behind, front = [], []
    if rng.random() < style.distractor_probability:
        for _ in range(int(rng.integers(1, style.max_distractors + 1))):
            actor = _distractor(rng, looks, style, recipe, path, step)
            (front if rng.random() < 0.4 else behind).append(actor)
    if rng.random() < style.occlusion_probability:
        for _ in range(1 if rng.random() < 0.6 else 2):
            front.append(_occluder(rng, looks, style, path, side, num_frames))
    # Who could hide the target in the first frame stays behind it for ever.
    behind += [actor for actor in front if actor.touches(target, 0)]
    return Cast((*behind, *carriers), target, tuple(actor for actor in front if actor not in behind))


def _draw_recipe(rng: _RANDOM, looks: Looks, style: SceneStyle, side: float) -> Recipe:
    stretch = math.exp(rng.uniform(-style.stretch, style.stretch))
    return looks.recipe(rng, side * stretch, side / stretch)


def _wander(rng: _RANDOM, style: SceneStyle, margin: float, step: float) -> Wander:
    """Draw a way over the whole frame less a margin, with a typical step per frame."""
    height, width = style.frame_size
    offsets = []
    for half in (width / 2, height / 2):
        reach = max(half - margin, 1.0)
        period = 2 * math.pi * reach / step
        offsets.append(Oscillation(rng, (reach,), (0.8 * period, 1.3 * period)))
    return Wander(width / 2, height / 2, *offsets)


def _changes(rng: _RANDOM, style: SceneStyle) -> Oscillation:
    """Draw changes of log scale, half log aspect ratio and angle."""
    most = (style.scale_change, style.aspect_change / 2, style.rotation)
    return Oscillation(rng, [value * rng.random() for value in most], (40, 140))


def _deformation(rng: _RANDOM, style: SceneStyle) -> Deformation | None:
    # Half of the objects are rigid.
    strength = style.deformation * rng.uniform(-1, 1) if style.deformation > 0 else 0.0
    return Deformation(rng, strength) if strength > 0 else None


def _moved_inside(target: Actor, style: SceneStyle) -> Path:
    """Shift the target's way, if need be, so that all of it lies in the frame at time 0."""
    pose = target.motion.at(0)
    reach_x, reach_y = target.reach(0)
    height, width = style.frame_size
    shift_x = min(max(pose.x, reach_x + SHAKE), width - reach_x - SHAKE) - pose.x
    shift_y = min(max(pose.y, reach_y + SHAKE), height - reach_y - SHAKE) - pose.y
    return Companion(target.motion.path, shift_x, shift_y)


def _excursion(rng: _RANDOM, style: SceneStyle, path: Path, side: float, num_frames: int) -> Path:
    """Plan that the target leaves by the nearest border and comes back."""
    height, width = style.frame_size
    away = rng.uniform(4, 16)
    start = rng.uniform(6, max(7, num_frames - 50 - away))
    x, y = path.at(start)
    outside = 1.3 * side + 8
    exits = ((-outside, y), (width + outside, y), (x, -outside), (x, height + outside))
    exit_x, exit_y = min(exits, key=lambda place: math.hypot(place[0] - x, place[1] - y))
    ramp = max(6.0, math.hypot(exit_x - x, exit_y - y) / (0.2 * side + 1))
    return Excursion(path, exit_x, exit_y, start, start + 2 * ramp + away, ramp)


def _distractor(rng: _RANDOM, looks: Looks, style: SceneStyle, target: Recipe, path: Path, step: float) -> Actor:
    """Draw another object, often much like the target, near it or on a way of its own."""
    side = math.sqrt(target.width * target.height)
    if rng.random() < _LOOKALIKE_SHARE:
        size = math.exp(rng.uniform(-0.2, 0.2))
        recipe = target.lookalike(rng).sized(target.width * size, target.height * size)
    else:
        recipe = _draw_recipe(rng, looks, style, side * math.exp(rng.uniform(-0.5, 0.5)))
    if rng.random() < 0.5:
        angle, distance = rng.uniform(0, 2 * math.pi), side * rng.uniform(1.4, 3)
        drift = Oscillation(rng, [side * rng.uniform(0.2, 1.2)] * 2, (30, 90))
        way: Path = Companion(path, distance * math.cos(angle), distance * math.sin(angle), drift)
    else:
        way = _wander(rng, style, 0, step)
    return Actor(recipe, Motion(way, _changes(rng, style), rng.normal(0, 0.25)), _deformation(rng, style))


def _carrier(rng: _RANDOM, looks: Looks, target: Recipe, motion: Motion) -> Actor:
    """Draw the larger object that the target is part of, as a face is of a body or a number plate of a car."""
    size = math.exp(rng.uniform(0.35, 0.95))
    recipe = looks.recipe(rng, target.width * size, target.height * size)
    # The target's middle lies on the larger object, near its border as often as not.
    offset_x, offset_y = rng.uniform(-0.45, 0.45) * recipe.width, rng.uniform(-0.45, 0.45) * recipe.height
    return Actor(recipe, replace(motion, path=Attached(motion, offset_x, offset_y)))


def _occluder(rng: _RANDOM, looks: Looks, style: SceneStyle, path: Path, side: float, num_frames: int) -> Actor:
    """Draw an object that meets the target at a planned time, and hides a part or all of it."""
    time = rng.uniform(min(12, num_frames / 2), num_frames)
    size = side * math.exp(rng.uniform(-0.5, 0.45))
    x, y = path.at(time)
    speed, angle = (side + size) / rng.uniform(8, 24), rng.uniform(0, 2 * math.pi)
    velocity_x, velocity_y = speed * math.cos(angle), speed * math.sin(angle)
    # Of the two ways along the line, come from the side farther from where the target starts.
    start_x, start_y = path.at(0)
    if (x - start_x) * velocity_x + (y - start_y) * velocity_y > 0:
        velocity_x, velocity_y = -velocity_x, -velocity_y
    miss_x, miss_y = rng.normal(0, 0.25 * side, 2).tolist()
    way = Straight(x + miss_x, y + miss_y, velocity_x, velocity_y, time)
    recipe = _draw_recipe(rng, looks, style, size)
    return Actor(recipe, Motion(way, _changes(rng, style), rng.normal(0, 0.4)), _deformation(rng, style))
