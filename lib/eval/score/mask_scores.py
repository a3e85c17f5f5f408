"""Mean mask IoU, J: how well masks agree with the true ones, where a data set has them.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (DAVIS), 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.data.crop import box_to_mask
from lib.data.sequence import Frames, SequenceDataset
from lib.eval.mask_files import SequenceMasks, mask_names
from lib.eval.results import ResultFiles, read_boxes
from lib.eval.score.analysis import Result

BOX = "box"  # the name of the plain box as mask


@dataclass(frozen=True)
class MaskScores:
    """How well one kind of mask of one result does, "box" being the boxes themselves, filled.

    By sequence: the mean J, in which the first frame, whose box is given, does not count, and the share above one half.
    """

    result: str
    masks: str
    mean_iou: dict[str, float]
    recall: dict[str, float]


def score_masks(dataset: SequenceDataset, results: Sequence[Result]) -> tuple[MaskScores, ...]:
    """Score the masks of every result on the sequences for which all of them have masks and the truth is known.

    Returned are, for each result that has masks, its filled boxes, then its masks by name; nothing when no result has
    any, or the data set has no true ones. Raises ValueError, with sequence and frame, for a mask of another size.
    """
    kinds = {result: mask_names(result.folder) for result in results}
    columns = [(result, name) for result, known in kinds.items() if known for name in dict.fromkeys((BOX, *known))]
    if not columns:
        return ()
    ious: dict[tuple[Result, str], dict[str, np.ndarray]] = {column: {} for column in columns}
    for index, sequence_name in enumerate(dataset.names):
        sequence = dataset[index]
        if sequence.masks is None or len(sequence) < 2:
            continue
        files = [SequenceMasks(each.folder, name, sequence_name) for each, known in kinds.items() for name in known]
        if not all(each.is_complete(len(sequence)) for each in files):
            continue
        predicted = {column: _open(*column, sequence_name) for column in columns}
        for own in ious.values():
            own[sequence_name] = np.empty(len(sequence) - 1)
        for frame in range(1, len(sequence)):
            truth = sequence.masks[frame]
            for (result, name), each in predicted.items():
                where = f"{result.name} ({name}), {sequence_name}"
                ious[result, name][sequence_name][frame - 1] = _iou(each, truth, frame, where)
    return tuple(
        MaskScores(
            result.name,
            name,
            {sequence: float(values.mean()) for sequence, values in by_sequence.items()},
            {sequence: float((values > 0.5).mean()) for sequence, values in by_sequence.items()},
        )
        for (result, name), by_sequence in ious.items()
        if by_sequence
    )


def mask_iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return the IoU of two (H, W) bool masks; 1 when both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def _open(result: Result, name: str, sequence: str) -> Frames | np.ndarray:
    """Return masks, or for the plain box (N, 4) boxes."""
    if name == BOX:
        return read_boxes(ResultFiles(result.folder, sequence).boxes)
    return SequenceMasks(result.folder, name, sequence).open()


def _iou(predicted: Frames | np.ndarray, truth: np.ndarray, frame: int, where: str) -> float:
    """Return the IoU of one frame's mask, or filled box, with the true mask."""
    if isinstance(predicted, np.ndarray):
        return mask_iou(box_to_mask(predicted[frame], *truth.shape), truth)
    mask = predicted[frame]
    if mask.shape != truth.shape:
        raise ValueError(f"{where}, frame {frame}: the mask is {mask.shape[1]} x {mask.shape[0]} px, the true one "
                         f"{truth.shape[1]} x {truth.shape[0]}")  # fmt: skip
    return mask_iou(mask, truth)
