"""The background of a scene and the camera that moves over it."""

import math

import cv2
import numpy as np

from lib.data.crop import Part
from lib.data.scene.looks import Looks
from lib.data.scene.motion import Oscillation
from lib.data.scene.style import SHAKE, SceneStyle


class Backdrop:
    """A textured plane, wider than the frame, seen by a camera that pans, zooms and rolls."""

    def __init__(self, rng: np.random.Generator, style: SceneStyle, looks: Looks) -> None:
        height, width = style.frame_size
        self._frame_size = style.frame_size
        self._plane = looks.plane(rng, style.frame_size, style.background_detail)
        motion = style.camera_motion
        # Pan in x and y (the picture is mirrored beyond its borders), log zoom, roll.
        reach = (width * 0.5, height * 0.35, 0.14, 0.12)
        amplitudes = [motion * most * share**1.5 for most, share in zip(reach, rng.random(4).tolist(), strict=True)]
        self._camera = Oscillation(rng, amplitudes, (90, 220))
        self._shake = Oscillation(rng, [SHAKE * min(motion, 1) * rng.random() ** 2] * 2, (6, 14), waves=2)

    def shake(self, time: float) -> tuple[float, float]:
        """Return the tremble of the hand, which moves everything in the frame, in pixels."""
        x, y = self._shake.at(time)
        return x, y

    def render(self, time: float, part: Part, drift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """Return a part of the empty scene, (h, w, 4) uint8; the fourth channel means nothing (four are warped faster).

        Args:
            time: in frames.
            part: which pixels of the frame.
            drift: how far the scene has moved right and down in the frame beside the camera's own motion, in pixels.
        """
        height, width = self._frame_size
        pan_x, pan_y, log_zoom, roll = self._camera.at(time)
        shake_x, shake_y = self.shake(time)
        picture, pixel = self._plane
        scale = math.exp(log_zoom) / pixel
        step_x, step_y = scale * math.cos(roll), scale * math.sin(roll)
        rows, columns = picture.shape[:2]
        # From pixels of the part to pixels of the picture, about the middle of both.
        x, y = (width - 1) / 2 + shake_x + drift[0] - part.left, (height - 1) / 2 + shake_y + drift[1] - part.top
        matrix = np.array(
            (
                (step_x, -step_y, (columns - 1) / 2 + pan_x / pixel - step_x * x + step_y * y),
                (step_y, step_x, (rows - 1) / 2 + pan_y / pixel - step_y * x - step_x * y),
            )
        )
        return cv2.warpAffine(
            picture,
            matrix,
            (part.right - part.left, part.bottom - part.top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
