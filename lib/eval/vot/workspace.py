"""Workspaces of the VOT toolkit: which experiments, on which videos, stored as it reads them."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lib.config.text import read_yaml_mapping
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.sequence import Sequence
from lib.eval.results import write_whole
from lib.eval.vot.mask_format import encode_mask

VOT2020 = "vot2020/shortterm"  # as the toolkit calls it
_STACK = "stack.yaml"
_LOCAL_STACK = """\
# The baseline experiment of {genuine}, on drawn videos of {high} frames with an anchor every {spacing}.
# Runs of {shortest} to {high} frames: the EAO is the mean over {low} to {high} frames, not over 115 to 755.
title: VOT2020 short-term rules on drawn videos
experiments:
  baseline:
    type: multistart
    analyses:
      - type: multistart_eao_score
        name: eaoscore
        low: {low}
        high: {high}
      - type: multistart_eao_curve
        name: eaocurve
        high: {high}
      - type: multistart_average_ar
        name: ar
"""
_RATE = 30  # frames per second, for experiments in real time


@dataclass(frozen=True)
class LocalData:
    """Drawn videos, few and short enough for a check in minutes, with `spacing` frames between anchors.

    They are those of the test split whose target is never hidden altogether, from the first on.
    """

    sequences: int = 5
    frames: int = 60
    spacing: int = 20

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that make no benchmark."""
        if self.sequences < 1 or self.frames < 20 or self.spacing < 1:
            raise ValueError(f"{self.sequences} videos of {self.frames} frames, an anchor every {self.spacing}: there "
                             "must be a video, 20 frames and a spacing of 1 at least")  # fmt: skip


def is_workspace(folder: Path) -> bool:
    """Return whether a folder holds a workspace to which trackers can be added: not one that is half written."""
    config = folder / "config.yaml"
    if not config.is_file():
        return False
    read_workspace_stack(folder)
    return config.read_text(encoding="utf-8") != _config(_STACK) or (folder / "sequences" / "list.txt").is_file()


def read_workspace_stack(folder: Path) -> str:
    """Return the stack that the `config.yaml` of a folder names, or raise ValueError when it is not a workspace's."""
    file = folder / "config.yaml"
    with suppress(ValueError):
        config = read_yaml_mapping(file)
        if {"stack", "registry"} <= config.keys():
            return str(config["stack"])
    raise ValueError(f"{file} is no config of a workspace of the VOT toolkit, with stack and registry: choose another "
                     "folder")  # fmt: skip


def write_local_workspace(folder: Path, data: LocalData) -> None:
    """Write config, stack and videos; what is there already is kept, so the same call resumes.

    Raises ValueError when the folder is a workspace of another kind, or the toolkit cannot use its path.
    """
    _check_path(folder)
    high = data.frames
    stack = _LOCAL_STACK.format(
        genuine=VOT2020, spacing=data.spacing, shortest=high - (high - 1) // 2, low=high // 3, high=high
    )
    _write_once(folder / "config.yaml", _config(_STACK))
    _write_once(folder / _STACK, stack)
    drawn = SyntheticDataset("test", 100 * data.sequences, data.frames)
    followed = (sequence for sequence in map(drawn.__getitem__, range(len(drawn))) if not sequence.absent.any())
    chosen = list(islice(followed, data.sequences))
    names = "".join(f"{sequence.name}\n" for sequence in chosen)
    _check_same(folder / "sequences" / "list.txt", names)
    missing = [sequence for sequence in chosen if not (folder / "sequences" / sequence.name).exists()]
    for sequence in tqdm(missing, f"drawing to {folder}", unit="video", disable=not missing):
        write_vot_sequence(sequence, folder / "sequences" / sequence.name, data.spacing)
    _write_once(folder / "sequences" / "list.txt", names)  # last: a list that is there is complete


def write_genuine_workspace(folder: Path, sequences: Path | None = None) -> None:
    """Write the config of VOT2020's short-term challenge; errors as in `write_local_workspace`.

    The challenge's videos lie in the folder `sequences`, by default of that name in the workspace, which the toolkit
    fills when it has no `list.txt`.
    """
    _check_path(folder)
    if sequences is not None:
        _check_path(sequences)
    _write_once(folder / "config.yaml", _config(VOT2020, sequences))


def _config(stack: str, sequences: Path | None = None) -> str:
    lines = ["registry:", "- ./trackers.ini", f"stack: {stack}"]
    if sequences is not None:
        lines.append(f"sequences: '{str(sequences.resolve()).replace(chr(39), 2 * chr(39))}'")
    return "\n".join(lines) + "\n"


def _check_path(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not a folder: choose another name")
    path = str(folder.resolve())
    if not path.isascii() or "%" in path:
        raise ValueError(f"the VOT toolkit cannot use the path {path}: choose one of ASCII letters, without %")


def _write_once(path: Path, text: str) -> None:
    """Write a file that is not there; one that is must hold just this."""
    _check_same(path, text)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def _check_same(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(f"{path} belongs to another workspace: choose another folder, or remove it")


def write_vot_sequence(sequence: Sequence, folder: Path, spacing: int) -> None:
    """Write `folder/{sequence, color/%08d.jpg, groundtruth.txt, anchor.value}`; the folder appears when complete.

    A frame without target gets an empty mask. Raises ValueError for a sequence without masks, or any visible target.
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
    facts = ["channel.default=color", "channels.color=color/%08d.jpg", "format=default", f"fps={_RATE}"]
    facts += [f"height={height}", f"name={sequence.name}", f"width={width}"]
    _write_lines(partial / "sequence", facts)
    partial.rename(folder)


def choose_anchors(visible: np.ndarray, spacing: int) -> np.ndarray:
    """Choose the frames to start trackers on, as VOT2020 does: every `spacing` frames, and the last one.

    From an anchor the tracker runs to the farther end of the video. One whose target cannot be seen moves to the
    nearest frame where it can.

    Args:
        visible: (N,) bool, where a tracker can be started; ValueError when nowhere.
        spacing: frames between anchors; VOT2020: 50.

    Returns:
        (N,) int: 1 where a run forward starts, -1 where one backward does, else 0.

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
