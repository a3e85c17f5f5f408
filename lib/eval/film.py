"""Predicted against true boxes on the frames of one sequence, as a film strip."""

from collections.abc import Sequence as Indexed

import numpy as np

from lib.config.suggest import suggest
from lib.data.sequence import Sequence, SequenceDataset
from lib.draw import PALETTE, TRUTH, FilmFrame, film_strip
from lib.eval.analysis import Result
from lib.eval.results import ResultFiles, read_boxes

_NO_BOX = np.full(4, np.nan)


def film_of_results(
    dataset: SequenceDataset, name: str, results: Indexed[Result], num_frames: int, columns: int = 4
) -> np.ndarray:
    """Draw what trackers answered on frames evenly spread over a sequence.

    Args:
        dataset: the benchmark's sequences.
        name: of one of them.
        results: the trackers, at most as many as there are colours.
        num_frames: pictures in the strip.
        columns: of them in a row.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        FileNotFoundError: a tracker has no result for this sequence.
        ValueError: no such sequence, too many results, or a result that is too short.
    """
    if name not in dataset.names:
        raise ValueError(
            f"no sequence {name!r}{suggest(name, dataset.names)}; it has {', '.join(dataset.names[:5])} ..."
        )
    if len(results) > len(PALETTE):
        raise ValueError(f"{len(results)} results cannot be told apart on a frame; give at most {len(PALETTE)}")
    sequence = dataset[dataset.names.index(name)]
    num_frames = min(num_frames, len(sequence))
    indices = np.linspace(0, len(sequence) - 1, num_frames).round().astype(int)
    predictions_xywh = [read_result(result, sequence) for result in results]
    frames = [
        FilmFrame(
            sequence.frames[index],
            _caption(sequence, index),
            (true_box(sequence, index), *(boxes_xywh[index] for boxes_xywh in predictions_xywh)),
        )
        for index in indices.tolist()
    ]
    legend = [("truth", TRUTH), *((result.name, colour) for result, colour in zip(results, PALETTE, strict=False))]
    return film_strip(frames, legend, columns)


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


def true_box(sequence: Sequence, index: int) -> np.ndarray:
    """Return the (4,) true box of a frame, nan where it has none."""
    labelled = index < len(sequence.boxes_xywh) and not sequence.absent[index]
    return sequence.boxes_xywh[index] if labelled else _NO_BOX


def _caption(sequence: Sequence, index: int) -> str:
    absent = index < len(sequence.absent) and sequence.absent[index]
    return f"{index} absent" if absent else str(index)
