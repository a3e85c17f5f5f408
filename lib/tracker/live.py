"""Track one video from a box on each target: an annotated mp4, and the boxes as text."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sized
from collections.abc import Sequence as Indexed
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.datasets.folder import open_frames
from lib.data.images.video import VideoFile
from lib.data.sequence import Frames
from lib.draw import GREY, PALETTE, draw_boxes, draw_label, shade_mask
from lib.files import whole_file
from lib.mp4 import write_mp4
from lib.tracker.base import Prediction, checked_box
from lib.tracker.batch import SeveralTargets
from lib.tracker.masks import MaskBackend

_LONGEST_SIDE = 3840  # px of the annotated video; codecs refuse very large frames, and players large ones
_DEFAULT_RATE = 30.0  # frames per second, where the video states none
_STOP_KEYS = (27, ord("q"))  # 27 is Esc


class LiveRun(NamedTuple):
    """What became of one video.

    Attributes:
        video: the annotated mp4.
        boxes: for each target a text file with a row x,y,w,h per frame; the first is the given box.
        num_frames: frames tracked, the first included; fewer than the video's when the viewer stopped it.
        num_non_finite: frames on which the tracker's own output was not finite, for one target at least.
        fps: frames per second of the tracker alone.
    """

    video: Path
    boxes: tuple[Path, ...]
    num_frames: int
    num_non_finite: int
    fps: float


class LiveFrames:
    """What a camera or a stream shows, once and in order; `[0]` is the frame that it began with.

    Args:
        source: number of a camera, or address of a stream.

    Raises:
        ValueError: it cannot be opened, or shows nothing.
    """

    def __init__(self, source: int | str) -> None:
        what = f"camera {source}" if isinstance(source, int) else f"stream {source}"
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it complains of each way that it tries
        self._capture = cv2.VideoCapture(source)
        shown, picture = self._capture.read() if self._capture.isOpened() else (False, None)
        if not shown or picture is None:
            raise ValueError(f"the {what} cannot be opened, or shows nothing")
        self._first = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        self.rate = _sensible(self._capture.get(cv2.CAP_PROP_FPS))

    def __getitem__(self, index: int) -> np.ndarray:
        assert index == 0, "what was shown is gone"
        return self._first

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self._first
        while True:
            shown, picture = self._capture.read()
            if not shown:
                return
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def open_any(name: str) -> tuple[Frames | LiveFrames, float]:
    """Open a camera by its number, a stream by its address (`rtsp://...`), or else as `open_video`."""
    if name.isdecimal() and not Path(name).exists():
        frames = LiveFrames(int(name))
    elif "://" in name:
        frames = LiveFrames(name)
    else:
        return open_video(Path(name))
    return frames, frames.rate


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
    return frames, _sensible(cv2.VideoCapture(str(path.absolute())).get(cv2.CAP_PROP_FPS))


def _sensible(rate: float) -> float:
    return rate if 1 <= rate <= 1000 else _DEFAULT_RATE


def join_boxes(words: Indexed[str]) -> list[str]:
    """Return a command line in which `--box 10 10 20 20` and `--box -5,3,9,9` are one word each."""
    joined: list[str] = []
    for word in words:
        boxed = joined and joined[-1].startswith("--box") and len(re.findall("[,=]", joined[-1])) < 4
        if boxed and re.fullmatch(r"[-+.,\d]+", word):
            joined[-1] += ("," if "=" in joined[-1] else "=") + word
        else:
            joined.append(word)
    return joined


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
    tracker: SeveralTargets,
    frames: Frames | LiveFrames,
    boxes_xywh: Indexed[np.ndarray],
    out: Path,
    *,
    name: str,
    label: str,
    rate: float = _DEFAULT_RATE,
    watch: Callable[[np.ndarray], bool] | None = None,
    masks: Indexed[MaskBackend] = (),
) -> LiveRun:
    """Track a video from the boxes on its first frame, and write `<name>.mp4` and `<name>.txt` into a folder.

    Of several targets, the boxes go to `<name>_1.txt`, `<name>_2.txt` and so on. Files appear when all are complete. A
    picture too large for players is scaled down in the mp4; boxes are not.

    Args:
        tracker: of as many targets as there are boxes.
        frames: the video; Ctrl-C ends a live one, whose files are then complete.
        boxes_xywh: (4,) each, in pixels of the first frame.
        out: made when missing.
        name: of the files, without suffix.
        label: written at a box, before the target's number, where there are several, and the score.
        rate: frames per second of the mp4.
        watch: is shown each annotated frame, and answers True to stop, such as `show`.
        masks: for each target what makes a mask of its box, which is then drawn; its time is not the tracker's.

    Raises:
        ValueError: a box cannot start a track, or `out` is a file.
        OSError: a file cannot be read or written.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: the output goes to a folder")
    for box_xywh in boxes_xywh:
        checked_box(frames[0], box_xywh)
    out.mkdir(parents=True, exist_ok=True)
    video = out / f"{name}.mp4"
    labels, boxes = [label], (out / f"{name}.txt",)
    if len(boxes_xywh) > 1:
        numbers = range(1, len(boxes_xywh) + 1)
        labels = [f"{label} {number}" for number in numbers]
        boxes = tuple(out / f"{name}_{number}.txt" for number in numbers)
    rows: list[list[str]] = [[] for _ in boxes]
    seconds, num_non_finite = 0.0, 0
    height, width = frames[0].shape[:2]
    reduction = max(1.0, max(height, width) / _LONGEST_SIDE)
    height, width = max(round(height / reduction), 1), max(round(width / reduction), 1)
    with ExitStack() as whole:
        asides = [whole.enter_context(whole_file(path)) for path in boxes]
        write = whole.enter_context(write_mp4(video, height, width, rate))
        total = len(frames) if isinstance(frames, Sized) else None
        for index, image in enumerate(tqdm(_until_interrupted(frames), name, total, unit="frame")):
            started = time.perf_counter()
            if index == 0:
                tracker.initialize(image, boxes_xywh)
                predictions = [Prediction(box_xywh) for box_xywh in boxes_xywh]
            else:
                predictions = tracker.track(image)
            seconds += time.perf_counter() - started
            num_non_finite += not all(prediction.finite for prediction in predictions)
            for of_target, prediction in zip(rows, predictions, strict=True):
                of_target.append(",".join(f"{value:.4f}" for value in prediction.box_xywh) + "\n")
            found = []
            for backend, prediction in zip(masks, predictions, strict=bool(masks)):
                if index == 0:
                    backend.initialize(image, prediction.box_xywh)
                found.append(backend.segment(image, prediction.box_xywh))
            picture = annotate(image, predictions, labels, index, found)
            write(picture)
            if watch is not None and watch(picture):
                break
        for aside, of_target in zip(asides, rows, strict=True):
            aside.write_text("".join(of_target), encoding="utf-8")
    return LiveRun(video, boxes, len(rows[0]), num_non_finite, len(rows[0]) / max(seconds, 1e-9))


def _until_interrupted(frames: Frames | LiveFrames) -> Iterator[np.ndarray]:
    if not isinstance(frames, LiveFrames):
        for index in range(len(frames)):
            yield frames[index]
        return
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        for image in frames:
            yield image
            if interrupts:
                return
    finally:
        signal.signal(signal.SIGINT, before)


def annotate(
    image: np.ndarray,
    predictions: Indexed[Prediction],
    labels: Indexed[str],
    index: int,
    masks: Indexed[np.ndarray] = (),
) -> np.ndarray:
    """Return a copy of the frame with its number, and each target's box, label, score and mask.

    Every target has a colour; the box is grey where the tracker is lost. The mask of a single one is of another colour.
    """
    picture = image.copy()
    palette = [PALETTE[number % len(PALETTE)] for number in range(len(predictions))]
    for mask, colour in zip(masks, palette if len(masks) > 1 else [PALETTE[1]], strict=False):
        shade_mask(picture, mask, colour)
    lost = [prediction.lost or not prediction.finite for prediction in predictions]
    colours = [GREY if lost_now else colour for lost_now, colour in zip(lost, palette, strict=True)]
    draw_boxes(picture, [prediction.box_xywh for prediction in predictions], colours)
    for prediction, label, colour in zip(predictions, labels, colours, strict=True):
        score = "" if np.isnan(prediction.score) else f" {prediction.score:.2f}"
        draw_label(picture, (prediction.box_xywh[0], prediction.box_xywh[1]), label + score, colour)
    draw_label(picture, (0, 0), str(index))
    return picture


def has_display() -> bool:
    """Tell whether a window can open; on Linux, trying to without a display would end the process."""
    return bool(not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def require_display() -> None:
    """Raise ValueError when no window can open."""
    if not has_display():
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


def show(image: np.ndarray, title: str = "tracking; q stops") -> bool:
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
