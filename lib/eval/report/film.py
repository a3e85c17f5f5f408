"""Predicted against true boxes, or masks, on the frames of one sequence: as a film strip, and as a video."""

import shlex
from collections import abc
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from lib.config.text import suggest
from lib.data.sequence import Sequence, SequenceDataset
from lib.draw import PALETTE, TRUTH, Colour, FilmFrame, film_strip, film_tile, legend_bar, shade_mask
from lib.eval.mask_files import SequenceMasks, mask_names
from lib.eval.record import read_record
from lib.eval.results import ResultFiles, read_boxes
from lib.eval.score.analysis import Result
from lib.eval.score.mask_scores import mask_iou
from lib.eval.score.metrics import frame_overlap

_NO_BOX = np.full(4, np.nan)
# Smaller frames are enlarged, so that captions and legend can be read; larger ones would make a heavy video.
_MIN_VIDEO_WIDTH, _MAX_VIDEO_WIDTH = 640, 1280
_MASK, _BOX = PALETTE[1], PALETTE[0]
# A frame is lost where it would not count as a success at the threshold of OP50.
_LOST_BELOW = 0.5
# The picture of a moment shows the first frame that is about as bad as its worst one: why, not how long.
_BOTTOM_MARGIN = 0.05


@dataclass(frozen=True)
class Film:
    """One sequence and what trackers answered on it: for each (N, 4) boxes of the N frames."""

    sequence: Sequence
    names: tuple[str, ...]
    predictions_xywh: tuple[np.ndarray, ...]

    @property
    def legend(self) -> list[tuple[str, Colour]]:
        return [("truth", TRUTH), *zip(self.names, PALETTE, strict=False)]

    def frame(self, index: int) -> FilmFrame:
        """Return a frame with the true box and every tracker's, captioned with its number, from 0."""
        absent = index < len(self.sequence.absent) and self.sequence.absent[index]
        boxes_xywh = (true_box(self.sequence, index), *(boxes_xywh[index] for boxes_xywh in self.predictions_xywh))
        return FilmFrame(self.sequence.frames[index], f"{index} absent" if absent else str(index), boxes_xywh)


def open_film(dataset: SequenceDataset, name: str, results: abc.Sequence[Result]) -> Film:
    """Read what trackers, at most as many as there are colours, answered on a sequence.

    Raises FileNotFoundError when some have no result for it; all are named, and the command for each.
    """
    if name not in dataset.names:
        first = ", ".join(dataset.names[index] for index in range(min(5, len(dataset))))
        raise ValueError(f"no sequence {name!r}{suggest(name, dataset.names)}; there are {first} ...")
    if len(results) > len(PALETTE):
        raise ValueError(f"{len(results)} results cannot be told apart on a frame; give at most {len(PALETTE)}")
    lacking = [result for result in results if not ResultFiles(result.folder, name).boxes.is_file()]
    if lacking:
        raise FileNotFoundError("; ".join(_describe_lack(result, name) for result in lacking))
    sequence = dataset[dataset.names.index(name)]
    boxes_xywh = tuple(read_result(result, sequence) for result in results)
    return Film(sequence, tuple(result.name for result in results), boxes_xywh)


def parse_frames(text: str) -> list[int]:
    """Read frame numbers such as `0,40,80`, or raise ValueError."""
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise ValueError(f"the frames {text!r} are not numbers; write them like 0,40,80")
    return [int(word) for word in words]


def spread_frames(film: Film, number: int) -> list[int]:
    """Return frames evenly spread over the video, the first and the last among them."""
    num_frames = len(film.sequence)
    return np.linspace(0, num_frames - 1, min(max(number, 0), num_frames)).round().astype(int).tolist()


def worst_frames(film: Film, number: int) -> list[int]:
    """Return the frames of the worst moments of all trackers, and others between them, in order of time."""
    sequence = film.sequence
    if len(sequence.boxes_xywh) < len(sequence):
        raise ValueError(f"{sequence.name} has {len(sequence.boxes_xywh)} true boxes of {len(sequence)}: "
                         "the worst moments are not known")  # fmt: skip
    overlaps = [frame_overlap(boxes_xywh, sequence.boxes_xywh, sequence.absent) for boxes_xywh in film.predictions_xywh]
    moments = choose_moments(find_moments(overlaps), len(sequence), number)
    return sorted(fill_evenly([moment.frame for moment in moments], len(sequence), number))


def draw_strip(film: Film, indices: abc.Sequence[int], columns: int = 4) -> np.ndarray:
    """Draw frames of the film under a legend, `columns` in a row; (H, W, 3) uint8 RGB."""
    num_frames = len(film.sequence)
    outside = [index for index in indices if not 0 <= index < num_frames]
    if outside:
        raise ValueError(f"{film.sequence.name} has no frame {outside[0]}: they run from 0 to {num_frames - 1}")
    if not indices or columns < 1:
        raise ValueError(f"a strip of {len(indices)} frames in {columns} columns; give at least one of each")
    return film_strip([film.frame(index) for index in indices], film.legend, columns)


def write_video(film: Film, path: Path, rate: float) -> Path:
    """Write all frames of the film under its legend into an mp4, making its folder; see `check_video`."""
    from lib.mp4 import write_mp4  # its package loads the networks, for which pictures need not wait

    path.parent.mkdir(parents=True, exist_ok=True)
    frame_height, frame_width = film.sequence.frames[0].shape[:2]
    width = min(max(frame_width, _MIN_VIDEO_WIDTH), _MAX_VIDEO_WIDTH)
    height = max(1, round(frame_height * width / frame_width))
    legend = legend_bar(film.legend, width)
    colours = [colour for _, colour in film.legend]
    with write_mp4(path, len(legend) + height, width, rate) as write:
        for index in tqdm(range(len(film.sequence)), desc=film.sequence.name, unit="frame", leave=False):
            write(np.concatenate((legend, film_tile(film.frame(index), colours, width, height))))
    return path


def check_video(path: Path, rate: float) -> None:
    """Raise ValueError unless a video can be written under such a name at such a rate."""
    if path.suffix.lower() != ".mp4" or not 0 < rate < 1000:
        raise ValueError(f"{path} at {rate:g} frames per second: a video is written as .mp4, at more than 0")


def read_result(result: Result, sequence: Sequence) -> np.ndarray:
    """Read a tracker's boxes, (N, 4) for the N frames of a sequence; raise ValueError where they are fewer."""
    path = ResultFiles(result.folder, sequence.name).boxes
    boxes_xywh = read_boxes(path)
    if len(boxes_xywh) < len(sequence):
        raise ValueError(f"{path} has {len(boxes_xywh)} rows, but {sequence.name} has {len(sequence)} frames")
    return boxes_xywh[: len(sequence)]


def _describe_lack(result: Result, name: str) -> str:
    """Say that a result lacks a sequence, and by which command it is made where the folder's record tells."""
    text = f"{result.name} has no result of {name} (no file {ResultFiles(result.folder, name).boxes})"
    record = read_record(result.folder)
    if record is None:
        return f"{text}, and no run.json tells how the others there were made"
    config = [] if record.checkpoint_sha256 is None else ["--config", record.config]
    words = ["python", "tracking/test.py", record.tracker, record.benchmark, *config, "--sequences", name]
    return f"{text}; made by: {shlex.join(words)}, with the same --root and --results-dir"


def true_box(sequence: Sequence, index: int) -> np.ndarray:
    """Return the (4,) true box of a frame, nan where it has none."""
    labelled = index < len(sequence.boxes_xywh) and not sequence.absent[index]
    return sequence.boxes_xywh[index] if labelled else _NO_BOX


def draw_mask_strip(
    film: Film, result: Result, name: str | None, indices: abc.Sequence[int], columns: int = 4
) -> np.ndarray:
    """Draw a result's masks and boxes, and the outlines of the true masks where they are known, with each frame's J.

    Args:
        film: of one sequence and the one result.
        name: of the masks; None where there is one kind only.
        indices, columns: of the frames, and how many of these stand in a row.

    Returns (H, W, 3) uint8 RGB; raises ValueError when there are no such masks, or they are not complete.
    """
    sequence = film.sequence
    known = mask_names(result.folder)
    if name is None and len(known) == 1:
        name = known[0]
    if name not in known:
        held = f"; there are {', '.join(known)}" if known else ": make them by test.py --masks"
        raise ValueError(f"{result.folder} has no masks{f' {name!r}{suggest(name, known)}' if name else ''}{held}")
    files = SequenceMasks(result.folder, name, sequence.name)
    if not files.is_complete(len(sequence)):
        raise ValueError(f"the masks {files.folder} are not complete, or were made of other boxes: make them again")
    masks, frames = files.open(), []
    for index in indices:
        image, mask = sequence.frames[index].copy(), masks[index]
        shade_mask(image, mask, _MASK)
        caption = str(index)
        if sequence.masks is not None:
            truth = sequence.masks[index]
            outlines, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, outlines, -1, TRUTH, max(1, round(min(image.shape[:2]) / 300)))
            caption += f"  J {100 * mask_iou(mask, truth):.0f}"
        frames.append(FilmFrame(image, caption, (film.predictions_xywh[0][index],)))
    strip = film_strip(frames, [(f"box of {result.name}", _BOX)], columns)
    head = [(f"mask by {name}", _MASK), *([("true mask", TRUTH)] if sequence.masks is not None else [])]
    return np.concatenate((legend_bar(head, strip.shape[1]), strip))


class Moment(NamedTuple):
    """Consecutive frames without enough overlap; invalid frames between them belong to it.

    Attributes:
        tracker: index of the tracker.
        start, stop: frames [start, stop).
        frame: the one to show, at which the overlap has reached its bottom.
        loss: overlap missed below one half, summed over the frames: how much of the score the moment costs.
    """

    tracker: int
    start: int
    stop: int
    frame: int
    loss: float


def find_moments(overlaps: abc.Sequence[np.ndarray]) -> list[Moment]:
    """Find every moment of every tracker, whose (N,) overlaps are nan in invalid frames, the most costly first."""
    moments = []
    for tracker, overlap in enumerate(overlaps):
        valid = np.flatnonzero(~np.isnan(overlap))
        lost = np.concatenate(([False], overlap[valid] < _LOST_BELOW, [False]))
        edges = np.flatnonzero(lost[1:] != lost[:-1])
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            frames = valid[first:last]
            values = overlap[frames]
            bottom = frames[np.argmax(values <= values.min() + _BOTTOM_MARGIN)]
            loss = float((_LOST_BELOW - values).sum())
            moments.append(Moment(tracker, int(frames[0]), int(frames[-1]) + 1, int(bottom), loss))
    return sorted(moments, key=lambda moment: (-moment.loss, moment.frame, moment.tracker))


def choose_moments(moments: abc.Sequence[Moment], num_frames: int, number: int) -> list[Moment]:
    """Take at most `number` of the moments, of which the worst come first, whose pictures lie apart.

    They do not all show the same failure then: they are at least 1 / (3 number) of the video apart.
    """
    apart = num_frames / (3 * max(number, 1))
    chosen: list[Moment] = []
    for moment in moments:
        if len(chosen) == number:
            break
        if all(abs(moment.frame - other.frame) >= apart for other in chosen):
            chosen.append(moment)
    return chosen


def fill_evenly(frames: abc.Sequence[int], num_frames: int, number: int) -> list[int]:
    """Return `number` frames, or all there are: the given, distinct ones as they are, then some in the widest gaps."""
    chosen = list(frames[:number])
    while len(chosen) < min(number, num_frames):
        distance = np.abs(np.subtract.outer(np.arange(num_frames), chosen or [-1])).min(axis=1)
        chosen.append(int(distance.argmax()) if chosen else 0)
    return chosen
