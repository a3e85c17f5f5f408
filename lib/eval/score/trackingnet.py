"""TrackingNet's server formulas, for a local check on sequences whose truth is at hand.

They differ from `metrics.py`: boxes are rounded to whole pixels, an IoU equal to the threshold is a success, and the
three numbers are trapezoid areas under curves of 21 points, so that the server's precision is not P at 20 pixels.

Source: Mueller et al., "TrackingNet: A Large-Scale Dataset and Benchmark for Object Tracking in the Wild", 2018.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.data.sequence import SequenceDataset
from lib.eval.results import ResultFiles, read_boxes
from lib.eval.score.analysis import Result
from lib.eval.score.metrics import check_predictions, iou

OVERLAP_THRESHOLDS = np.linspace(0, 1, 21)
PIXEL_THRESHOLDS = np.linspace(0, 50, 21)
NORM_THRESHOLDS = np.linspace(0, 0.5, 21)


class ServerCurves(NamedTuple):
    """One sequence: (21,) shares of frames over the thresholds above."""

    success: np.ndarray
    precision: np.ndarray
    norm_precision: np.ndarray


class ServerScores(NamedTuple):
    """What the server would print, as fractions."""

    auc: float
    precision: float
    norm_precision: float


def score_as_server(dataset: SequenceDataset, names: Sequence[str], results: Sequence[Result]) -> list[ServerScores]:
    """Score results, which have a file for every name, by the server's formulas; ValueError where one cannot be."""
    index_of = {name: index for index, name in enumerate(dataset.names)}
    curves: list[list[ServerCurves]] = [[] for _ in results]
    for name in names:
        true_xywh = dataset[index_of[name]].boxes_xywh
        for result, own in zip(results, curves, strict=True):
            path = ResultFiles(result.folder, name).boxes
            own.append(server_curves(check_predictions(read_boxes(path), len(true_xywh), str(path)), true_xywh))
    return [server_scores(own) for own in curves]


def server_curves(predicted_xywh: np.ndarray, true_xywh: np.ndarray) -> ServerCurves:
    """Score one sequence, (N, 4) and (N, 4); frame 1 counts with the true box."""
    predicted, true = np.round(predicted_xywh), np.round(true_xywh)
    predicted[0] = true[0]
    overlap = iou(predicted, true)
    offset = predicted[:, :2] + predicted[:, 2:] / 2 - true[:, :2] - true[:, 2:] / 2
    with np.errstate(divide="ignore", invalid="ignore"):  # a true box without size is beyond every threshold
        norm_offset = offset / true[:, 2:]
    return ServerCurves(
        success=(overlap[:, None] >= OVERLAP_THRESHOLDS).mean(axis=0),
        precision=(np.linalg.norm(offset, axis=1)[:, None] <= PIXEL_THRESHOLDS).mean(axis=0),
        norm_precision=(np.linalg.norm(norm_offset, axis=1)[:, None] <= NORM_THRESHOLDS).mean(axis=0),
    )


def server_scores(sequences: Sequence[ServerCurves]) -> ServerScores:
    """Average the curves over sequences and take the areas under them, each over a threshold axis of length 1."""
    means = (np.mean(curves, axis=0) for curves in zip(*sequences, strict=True))
    return ServerScores(*(float(((curve[1:] + curve[:-1]) / 2).mean()) for curve in means))
