"""Training samples for the eye: what a network is shown of every source, with the box that it should find."""

from pathlib import Path

import cv2
import numpy as np

from lib.config.schema import Experiment, Source
from lib.data.datasets import open_dataset
from lib.data.samples.mixture import VALIDATION_EPOCH, MixedSource, sample_id
from lib.data.samples.training_set import Sample, TrainingSet
from lib.draw import TRUTH, draw_boxes, draw_label

_TEMPLATE = 128  # px, side of a tile
_SEARCH = 2 * _TEMPLATE + 2  # two templates and the seam between them
_PAPER = (250, 250, 250)
_HEAD = 26
_GAP = 6


def picture_training_samples(
    experiment: Experiment,
    num_samples: int,
    *,
    seed: int,
    root: Path | None = None,
    paths_file: Path | None = None,
    columns: int = 4,
) -> np.ndarray:
    """Draw samples of each of an experiment's sources: template above online template, search beside them.

    Args:
        experiment: its training sources, crops and augmentation.
        num_samples: of each source with a ratio above 0.
        seed: of the samples.
        root: folder of the data set, for an experiment with one source; otherwise the configured one.
        paths_file: where data sets lie; None for `experiments/paths.yaml`.
        columns: samples in a row.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: no samples asked for, no source with a ratio above 0, or a source without usable samples.
        FileNotFoundError: a data set is not where it should be.
    """
    sources = [source for source in experiment.data.sources if source.ratio > 0]
    if num_samples < 1 or not sources:
        raise ValueError(f"nothing to draw: {num_samples} samples of {len(sources)} sources")
    if root is not None and len(sources) > 1:
        raise ValueError(f"{root} cannot be the folder of {len(sources)} sources; name one data set")
    columns = min(columns, num_samples)
    sections = []
    for source in sources:
        dataset = open_dataset(source.dataset, source.split, root, paths_file)
        samples = TrainingSet([MixedSource(dataset, 1.0)], experiment.data, experiment.crop, seed)
        drawn = [samples[sample_id(VALIDATION_EPOCH, index)] for index in range(num_samples)]
        sections.append(_section(_title(source, experiment), drawn, columns))
    return np.concatenate(sections)


def _title(source: Source, experiment: Experiment) -> str:
    ratios = sum(other.ratio for other in experiment.data.sources)
    return f"{source.dataset} {source.split}: {source.ratio / ratios:.0%} of the samples of {experiment.name}"


def _section(title: str, samples: list[Sample], columns: int) -> np.ndarray:
    """Lay the samples of one source out under its title."""
    tiles = [_draw_sample(sample, labelled=number == 0) for number, sample in enumerate(samples)]
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet_size = _HEAD + rows * (height + 2 * _GAP), columns * (width + 2 * _GAP)
    sheet = np.full((*sheet_size, 3), _PAPER, np.uint8)
    head = np.full((_HEAD, sheet_size[1], 3), _PAPER, np.uint8)
    draw_label(head, (_GAP - 3, _HEAD - 4), title, _PAPER)
    sheet[:_HEAD] = head
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = _HEAD + row * (height + 2 * _GAP), _GAP + column * (width + 2 * _GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _draw_sample(sample: Sample, *, labelled: bool) -> np.ndarray:
    template, online_template = _enlarge(sample.template, _TEMPLATE), _enlarge(sample.online_template, _TEMPLATE)
    search = _enlarge(sample.search, _SEARCH)
    left, top, right, bottom = sample.search_crop_box_xyxy * _SEARCH
    draw_boxes(search, [np.array((left, top, right - left, bottom - top))], [TRUTH])
    if labelled:
        for tile, label in ((template, "template"), (online_template, "online template"), (search, "search")):
            draw_label(tile, (0, tile.shape[0]), label)
    drawn = np.full((_SEARCH, _TEMPLATE + 2 + _SEARCH, 3), _PAPER, np.uint8)
    drawn[:_TEMPLATE, :_TEMPLATE] = template
    drawn[-_TEMPLATE:, :_TEMPLATE] = online_template
    drawn[:, _TEMPLATE + 2 :] = search
    return drawn


def _enlarge(crop: np.ndarray, side: int) -> np.ndarray:
    # Nearest neighbours: the pixels that the network sees, not smoother ones.
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_NEAREST)
