"""Videos with masks as the VOT toolkit stores them, with the frames that it starts trackers on."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from lib.data.sequence import Sequence
from lib.eval.vot_mask import encode_mask

_RATE = 30  # frames per second, for experiments in real time


def write_vot_sequence(sequence: Sequence, folder: Path, spacing: int) -> None:
    """Write `folder/{sequence, color/%08d.jpg, groundtruth.txt, anchor.value}`; the folder appears when complete.

    Args:
        sequence: with masks; a frame without target gets an empty one.
        folder: must not be there yet.
        spacing: see `choose_anchors`.

    Raises:
        ValueError: it has no masks, or nowhere a visible target.
        OSError: a file cannot be written.
    """
    if sequence.masks is None:
        raise ValueError(f"the video {sequence.name} has no masks, which VOT's short-term challenge scores")
    anchors = choose_anchors(sequence.visible, spacing)
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    (partial / "color").mkdir(parents=True)
    height, width = sequence.frames[0].shape[:2]
    for index in range(len(sequence)):
        picture = cv2.cvtColor(sequence.frames[index], cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", picture)
        (partial / "color" / f"{index + 1:08d}.jpg").write_bytes(data.tobytes())
    _write_lines(partial / "groundtruth.txt", [encode_mask(sequence.masks[index]) for index in range(len(sequence))])
    _write_lines(partial / "anchor.value", [str(anchor) for anchor in anchors])
    facts = {
        "channel.default": "color",
        "channels.color": "color/%08d.jpg",
        "format": "default",
        "fps": _RATE,
        "height": height,
        "name": sequence.name,
        "width": width,
    }
    _write_lines(partial / "sequence", [f"{key}={value}" for key, value in facts.items()])
    partial.rename(folder)


def choose_anchors(visible: np.ndarray, spacing: int) -> np.ndarray:
    """Choose the frames to start trackers on, as VOT2020 does: every `spacing` frames, and the last one.

    From an anchor the tracker runs to the farther end of the video. One whose target cannot be seen moves to the
    nearest frame where it can.

    Args:
        visible: (N,) bool, where a tracker can be started.
        spacing: frames between anchors; VOT2020: 50.

    Returns:
        (N,) int: 1 where a run forward starts, -1 where one backward does, else 0.

    Raises:
        ValueError: no frame is visible.

    Source: The Eighth Visual Object Tracking VOT2020 Challenge Results, 2020.
    """
    candidates = np.flatnonzero(visible)
    if not len(candidates):
        raise ValueError("a video whose target is nowhere visible has no frame to start a tracker on")
    last = len(visible) - 1
    anchors = np.zeros(len(visible), dtype=int)
    for wanted in {*range(0, last, spacing), last}:
        frame = candidates[np.abs(candidates - wanted).argmin()]
        anchors[frame] = 1 if frame <= last - frame else -1
    return anchors


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
