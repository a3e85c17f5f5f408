"""Track one video from one box: an annotated mp4, and the boxes as text."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.datasets.folder import open_frames
from lib.data.frames import VideoFile
from lib.data.sequence import Frames
from lib.draw import GREY, PALETTE, draw_boxes, draw_label, shade_mask
from lib.tracker.base import Prediction, Tracker
from lib.tracker.mp4 import Mp4Writer
from lib.tracker.refine import MaskBackend
from lib.tracker.window import require_display, show

_LONGEST_SIDE = 3840  # px of the annotated video; codecs refuse very large frames, and players large ones
_DEFAULT_RATE = 30.0  # frames per second, where the video states none


class LiveRun(NamedTuple):
    """What became of one video.

    Attributes:
        video: the annotated mp4.
        boxes: text file with a row x,y,w,h per frame; the first is the given box.
        num_frames: frames tracked, the first included; fewer than the video's when the viewer stopped it.
        num_non_finite: frames on which the tracker's own output was not finite.
        fps: frames per second of the tracker alone.
    """

    video: Path
    boxes: Path
    num_frames: int
    num_non_finite: int
    fps: float


def open_video(path: Path) -> tuple[Frames, float]:
    """Open a video file, or a folder with pictures, or with `img/` of them, in natural order.

    Returns:
        The frames, and their number per second.

    Raises:
        FileNotFoundError: there is no such file or folder, or no picture in it.
        ValueError: the video cannot be decoded or has no frames.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no video or folder {path}")
    if path.is_dir():
        return open_frames(path), _DEFAULT_RATE
    frames = VideoFile(path)
    rate = cv2.VideoCapture(str(path.absolute())).get(cv2.CAP_PROP_FPS)
    return frames, rate if 1 <= rate <= 1000 else _DEFAULT_RATE


def parse_box(text: str) -> np.ndarray:
    """Read `x,y,w,h` into (4,) float64, or raise ValueError."""
    try:
        values = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != 4:
        raise ValueError(f"the box {text!r} is not four numbers x,y,w,h; write it like --box 120,80,64,48")
    return np.array(values, dtype=np.float64)


def track_video(
    tracker: Tracker,
    frames: Frames,
    box_xywh: np.ndarray,
    out: Path,
    *,
    name: str,
    label: str,
    rate: float = _DEFAULT_RATE,
    in_window: bool = False,
    masks: MaskBackend | None = None,
) -> LiveRun:
    """Track a video from the box on its first frame, and write `<name>.mp4` and `<name>.txt` into a folder.

    Both files appear when they are complete. A picture too large for players is scaled down in the mp4; boxes are not.

    Args:
        tracker: any.
        frames: the video.
        box_xywh: (4,) in pixels of the first frame.
        out: made when missing.
        name: of both files, without suffix.
        label: written at the box, before the score.
        rate: frames per second of the mp4.
        in_window: show it, too, until Esc or q is pressed.
        masks: makes a mask of each box, which is then drawn; its time is not the tracker's.

    Raises:
        ValueError: the box cannot start a track, `out` is a file, or a window is asked for and there is no display.
        OSError: a file cannot be read or written.
    """
    if in_window:
        require_display()
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: the output goes to a folder")
    out.mkdir(parents=True, exist_ok=True)
    video, boxes = out / f"{name}.mp4", out / f"{name}.txt"
    rows: list[str] = []
    seconds, num_non_finite = 0.0, 0
    height, width = frames[0].shape[:2]
    reduction = max(1.0, max(height, width) / _LONGEST_SIDE)
    height, width = max(round(height / reduction), 1), max(round(width / reduction), 1)
    aside = boxes.with_name(f".{boxes.name}.{os.getpid()}")
    try:
        with Mp4Writer(video, height, width, rate) as writer:
            for index in tqdm(range(len(frames)), desc=name, unit="frame"):
                image = frames[index]
                started = time.perf_counter()
                if index == 0:
                    tracker.initialize(image, box_xywh)
                    prediction = Prediction(box_xywh)
                else:
                    prediction = tracker.track(image)
                seconds += time.perf_counter() - started
                num_non_finite += not prediction.finite
                rows.append(",".join(f"{value:.4f}" for value in prediction.box_xywh) + "\n")
                mask = None
                if masks is not None:
                    if index == 0:
                        masks.initialize(image, box_xywh)
                    mask = masks.segment(image, prediction.box_xywh)
                picture = annotate(image, prediction, label, index, mask)
                writer.write(picture)
                if in_window and show(picture, name):
                    break
            _write(aside, "".join(rows), boxes)
        aside.replace(boxes)
    finally:
        aside.unlink(missing_ok=True)
    return LiveRun(video, boxes, len(rows), num_non_finite, len(rows) / max(seconds, 1e-9))


def _write(aside: Path, text: str, path: Path) -> None:
    """Write a text to the disk; an OSError names the file that it will be."""
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; could not write", str(path)) from error


def annotate(
    image: np.ndarray, prediction: Prediction, label: str, index: int, mask: np.ndarray | None = None
) -> np.ndarray:
    """Return a copy of the frame with its number, box, score and mask; the box is grey where the tracker is lost."""
    picture = image.copy()
    lost = prediction.score == 0 or not prediction.finite
    colour = GREY if lost else PALETTE[0]
    if mask is not None:
        shade_mask(picture, mask, PALETTE[1])
    score = "" if np.isnan(prediction.score) else f" {prediction.score:.2f}"
    draw_boxes(picture, [prediction.box_xywh], [colour])
    draw_label(picture, (prediction.box_xywh[0], prediction.box_xywh[1]), label + score, colour)
    draw_label(picture, (0, 0), str(index))
    return picture
