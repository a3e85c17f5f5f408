"""Predicted against true boxes on the frames of one sequence: as a film strip, and as a video."""

import shlex
from collections.abc import Iterable
from collections.abc import Sequence as Indexed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.config.text import suggest
from lib.data.sequence import Sequence, SequenceDataset
from lib.draw import PALETTE, TRUTH, Colour, FilmFrame, film_strip, film_tile, legend_bar
from lib.eval.analysis import Result
from lib.eval.metrics import frame_overlap
from lib.eval.moments import choose_moments, fill_evenly, find_moments
from lib.eval.record import read_record
from lib.eval.results import ResultFiles, read_boxes

_NO_BOX = np.full(4, np.nan)
# Smaller frames are enlarged, so that captions and legend can be read; larger ones would make a heavy video.
_MIN_VIDEO_WIDTH, _MAX_VIDEO_WIDTH = 640, 1280


@dataclass(frozen=True)
class Film:
    """One sequence and what trackers answered on it.

    Attributes:
        sequence: the video and its true boxes.
        names: of the trackers.
        predictions_xywh: for each tracker (N, 4) boxes of the N frames.
    """

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


def open_film(dataset: SequenceDataset, name: str, results: Indexed[Result]) -> Film:
    """Read what trackers answered on a sequence.

    Args:
        dataset: the benchmark's sequences.
        name: of one of them.
        results: the trackers, at most as many as there are colours.

    Raises:
        FileNotFoundError: trackers have no result for this sequence; all are named, and the command for each.
        ValueError: no such sequence, too many results, or a result that is too short.
    """
    if name not in dataset.names:
        first = ", ".join(dataset.names[index] for index in range(min(5, len(dataset))))
        raise ValueError(f"no sequence {name!r}{suggest(name, dataset.names)}; it has {first} ...")
    if len(results) > len(PALETTE):
        raise ValueError(f"{len(results)} results cannot be told apart on a frame; give at most {len(PALETTE)}")
    lacking = [result for result in results if not ResultFiles(result.folder, name).boxes.is_file()]
    if lacking:
        raise FileNotFoundError("; ".join(_describe_lack(result, name) for result in lacking))
    sequence = dataset[dataset.names.index(name)]
    predictions_xywh = tuple(read_result(result, sequence) for result in results)
    return Film(sequence, tuple(result.name for result in results), predictions_xywh)


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
    """Return the frames of the worst moments of all trackers, and others between them, in order of time.

    Raises:
        ValueError: the sequence has the first true box only.
    """
    sequence = film.sequence
    if len(sequence.boxes_xywh) < len(sequence):
        raise ValueError(f"{sequence.name} has {len(sequence.boxes_xywh)} true boxes of {len(sequence)}: "
                         "the worst moments are not known")  # fmt: skip
    overlaps = [frame_overlap(boxes_xywh, sequence.boxes_xywh, sequence.absent) for boxes_xywh in film.predictions_xywh]
    moments = choose_moments(find_moments(overlaps), len(sequence), number)
    return sorted(fill_evenly([moment.frame for moment in moments], len(sequence), number))


def draw_strip(film: Film, indices: Indexed[int], columns: int = 4) -> np.ndarray:
    """Draw frames of the film under a legend, `columns` in a row; (H, W, 3) uint8 RGB.

    Raises:
        ValueError: no frames, or one that the video does not have.
    """
    num_frames = len(film.sequence)
    outside = [index for index in indices if not 0 <= index < num_frames]
    if outside:
        raise ValueError(f"{film.sequence.name} has no frame {outside[0]}: they run from 0 to {num_frames - 1}")
    if not indices or columns < 1:
        raise ValueError(f"a strip of {len(indices)} frames in {columns} columns; give at least one of each")
    return film_strip([film.frame(index) for index in indices], film.legend, columns)


def write_video(film: Film, path: Path, rate: float) -> Path:
    """Write all frames of the film under its legend into an mp4, making its folder; return the path.

    Raises:
        ValueError: another suffix than .mp4, or a rate that is not positive.
        OSError: the file cannot be written.
    """
    from lib.mp4 import Mp4Writer  # its package loads the networks, for which pictures need not wait

    check_video(path, rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame_height, frame_width = film.sequence.frames[0].shape[:2]
    width = min(max(frame_width, _MIN_VIDEO_WIDTH), _MAX_VIDEO_WIDTH)
    height = max(1, round(frame_height * width / frame_width))
    legend = legend_bar(film.legend, width)
    colours = [colour for _, colour in film.legend]
    indices: Iterable[int] = tqdm(range(len(film.sequence)), desc=film.sequence.name, unit="frame", leave=False)
    with Mp4Writer(path, len(legend) + height, width, rate) as writer:
        for index in indices:
            writer.write(np.concatenate((legend, film_tile(film.frame(index), colours, width, height))))
    return path


def check_video(path: Path, rate: float) -> None:
    """Raise ValueError unless a video can be written under such a name at such a rate."""
    if path.suffix.lower() != ".mp4" or not 0 < rate < 1000:
        raise ValueError(f"{path} at {rate:g} frames per second: a video is written as .mp4, at more than 0")


def read_result(result: Result, sequence: Sequence) -> np.ndarray:
    """Read a tracker's boxes, (N, 4) for the N frames of a sequence.

    Raises:
        FileNotFoundError: it has no result for this sequence.
        ValueError: the result is too short.
    """
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
    config = "" if record.checkpoint_sha256 is None else f" --config {record.config}"
    command = f"python tracking/test.py {record.tracker} {record.benchmark}{config} --sequences {shlex.quote(name)}"
    return f"{text}; made by: {command}, with the same --root and --results-dir"


def true_box(sequence: Sequence, index: int) -> np.ndarray:
    """Return the (4,) true box of a frame, nan where it has none."""
    labelled = index < len(sequence.boxes_xywh) and not sequence.absent[index]
    return sequence.boxes_xywh[index] if labelled else _NO_BOX
