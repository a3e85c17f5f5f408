"""The background of a scene and the camera that moves over it."""

import math

import cv2
import numpy as np

from lib.data.scene.motion import Oscillation
from lib.data.scene.shape import draw_shape
from lib.data.scene.style import SceneStyle
from lib.data.scene.texture import colourise, noise_field, palette

_MARGIN = 1.35


class Backdrop:
    """A textured plane, wider than the frame, seen by a camera that pans, zooms and rolls."""

    def __init__(self, rng: np.random.Generator, style: SceneStyle) -> None:
        height, width = style.frame_size
        self._frame_size = style.frame_size
        self._picture = _draw_plane(rng, round(height * _MARGIN), round(width * _MARGIN), style.background_detail)
        motion = style.camera_motion
        # Pan in x and y (the picture is mirrored beyond its borders), log zoom, roll.
        reach = np.array((width * 0.5, height * 0.35, 0.14, 0.12)) * (motion * rng.random(4) ** 1.5)
        self._camera = Oscillation(rng, reach, rng.uniform(90, 220, 4))
        self._shake = Oscillation(rng, np.full(2, 2.0 * motion * rng.random() ** 2), rng.uniform(6, 14, 2), waves=2)

    def shake(self, time: float) -> tuple[float, float]:
        """Return the tremble of the hand, which moves everything in the frame, in pixels."""
        x, y = self._shake.at(time)
        return x, y

    def render(self, time: float) -> np.ndarray:
        """Return the empty scene, (H, W, 4) uint8 with a fourth channel of no meaning (OpenCV warps four faster)."""
        height, width = self._frame_size
        pan_x, pan_y, log_zoom, roll = self._camera.at(time)
        shake_x, shake_y = self.shake(time)
        step_x, step_y = math.exp(log_zoom) * math.cos(roll), math.exp(log_zoom) * math.sin(roll)
        rows, columns = self._picture.shape[:2]
        # From pixels of the frame to pixels of the picture, about the middle of both.
        x, y = (width - 1) / 2 + shake_x, (height - 1) / 2 + shake_y
        matrix = np.array(
            (
                (step_x, -step_y, (columns - 1) / 2 + pan_x - step_x * x + step_y * y),
                (step_y, step_x, (rows - 1) / 2 + pan_y - step_y * x - step_x * y),
            )
        )
        return cv2.warpAffine(
            self._picture,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )


def _draw_plane(rng: np.random.Generator, height: int, width: int, detail: float) -> np.ndarray:
    """Draw ground, an optional second region, and clutter, as (H, W, 4) uint8."""
    field = noise_field(rng, height, width, rng.uniform(0.4, 0.4 + 0.45 * detail))
    picture = colourise(field, palette(rng, int(rng.integers(3, 7))))
    if rng.random() < 0.55:
        # A second material: beyond a horizon, a road, a wall.
        angle, offset = rng.normal(0, 0.35) + (rng.random() < 0.3) * math.pi / 2, rng.uniform(-0.25, 0.25)
        along = np.array((math.cos(angle), math.sin(angle)))
        across = np.array((-along[1], along[0]))
        middle = np.array((width, height)) / 2 + across * offset * height
        far = 2.0 * (height + width)
        depth = far if rng.random() < 0.6 else rng.uniform(0.15, 0.5) * height
        corners = np.array((middle - along * far, middle + along * far, middle + along * far + across * depth,
                            middle - along * far + across * depth))  # fmt: skip
        region = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), corners.astype(np.int32), 255)
        other = cv2.flip(field, int(rng.integers(-1, 2)))
        cv2.copyTo(colourise(other, palette(rng, int(rng.integers(2, 6)))), region, picture)
    for _ in range(int(rng.integers(0, 1 + round(9 * detail)))):
        side = math.exp(rng.uniform(2.3, 4.4))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        source_x, source_y = rng.integers(0, width - 1), rng.integers(0, height - 1)
        tone = picture[source_y, source_x].astype(np.float64) * rng.uniform(0.5, 1.5) + rng.normal(0, 12, 3)
        for outline in draw_shape(rng):
            points = np.rint((outline * side / 2 + (x, y)) * 16).astype(np.int32)
            cv2.fillPoly(picture, [points], tone.clip(0, 255).tolist(), cv2.LINE_AA, 4)
            tone = tone * rng.uniform(0.8, 1.2)
    return cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA)
