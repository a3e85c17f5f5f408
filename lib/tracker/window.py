"""Windows on the screen, opened only where there is one."""

import os
import sys

import cv2
import numpy as np

_STOP_KEYS = (27, ord("q"))  # 27 is Esc


def require_display() -> None:
    """Raise ValueError when no window can open; on Linux, trying to would end the process."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ValueError("there is no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set): give "
                         "the box as --box x,y,w,h, and leave out --select and --show")  # fmt: skip


def select_box(image: np.ndarray) -> np.ndarray:
    """Let the user draw a box on an (H, W, 3) uint8 RGB image; (4,) x,y,w,h.

    Raises:
        ValueError: there is no display, OpenCV cannot open windows, or no box was drawn.
    """
    require_display()
    title = "draw a box around the target, then press Enter"
    try:
        box_xywh = cv2.selectROI(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), showCrosshair=False)
        cv2.destroyWindow(title)
    except cv2.error as error:
        raise _no_windows(error) from error
    if box_xywh[2] <= 0 or box_xywh[3] <= 0:
        raise ValueError("no box was drawn")
    return np.array(box_xywh, dtype=np.float64)


def show(image: np.ndarray, title: str) -> bool:
    """Show an (H, W, 3) uint8 RGB image; True when the user asks to stop, by Esc or q.

    Raises:
        ValueError: OpenCV cannot open windows.
    """
    try:
        cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return cv2.waitKey(1) & 0xFF in _STOP_KEYS
    except cv2.error as error:
        raise _no_windows(error) from error


def _no_windows(error: cv2.error) -> ValueError:
    return ValueError("this build of OpenCV opens no windows (is it opencv-python-headless?): give the box as --box "
                      f"x,y,w,h, and leave out --select and --show. {' '.join(str(error).split())}")  # fmt: skip
