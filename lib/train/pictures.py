"""Pictures of what a network makes of samples, for TensorBoard and for the eye; all (H, W, 3) uint8 RGB.

A model is drawn in evaluation mode and left in the mode it had; its batch lies on its device.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from lib.box import iou, xyxy_to_xywh
from lib.config.schema import Experiment
from lib.data.datasets import open_dataset
from lib.data.samples.mask_set import MaskBatch
from lib.data.samples.mixture import VALIDATION_EPOCH, MixedSource, open_sources, sample_id
from lib.data.samples.training_set import Batch, Sample, TrainingSet
from lib.draw import PALETTE, TRUTH, RebuiltImage, draw_boxes, draw_label, reconstruction_sheet, shade_mask
from lib.models.build import build_model
from lib.models.decoder import patchify, unpatchify
from lib.models.mmg import MMG
from lib.models.pretrained import load_model_state
from lib.models.refine.network import AlphaRefineNet

TILE = 160  # px, side
_TEMPLATE = 128  # px, side of a tile
_SEARCH = 2 * _TEMPLATE + 2  # two templates and the seam between them
_PAPER = (250, 250, 250)
_HEAD = 26
_GAP = 6
_RIGHT, _WRONG = (60, 200, 60), (230, 60, 60)


@torch.no_grad()
def picture_reconstructions(model: MMG, batch: Batch, generator: torch.Generator | None = None) -> np.ndarray:
    """Draw input, masked, coarse and fine of the online template and the search region of every sample.

    The rebuilt images show the prediction where tokens were masked, and the input elsewhere, which no loss concerns;
    when nothing is masked they are predictions throughout. There are one or two rows a sample. The masks are drawn from
    torch's global generator when there is none.
    """
    assert model.decoder is not None, "this model has no decoders"
    was_training = model.training
    model.eval()
    online_template = online_template_of(batch, model)
    rebuilt = model(batch.template, batch.search, online_template, generator=generator).reconstruction
    model.train(was_training)
    assert rebuilt is not None

    rows = [_rows(model, "search", batch.search, rebuilt.mask_search, rebuilt.coarse_search, rebuilt.fine_search)]
    if online_template is not None:
        online = rebuilt.mask_online, rebuilt.coarse_online, rebuilt.fine_online
        rows.insert(0, _rows(model, "online template", online_template, *online))
    return reconstruction_sheet([row for sample in zip(*rows, strict=True) for row in sample])


@torch.no_grad()
def picture_boxes(model: MMG, batch: Batch) -> np.ndarray:
    """Draw template, online template and search region of every sample, with the true and the predicted box."""
    was_training = model.training
    model.eval()
    online_template = online_template_of(batch, model)
    output = model(batch.template, batch.search, online_template, reconstruct=False)
    model.train(was_training)
    boxes_xywh = [xyxy_to_xywh(boxes) * TILE for boxes in (batch.search_crop_box_xyxy, output.crop_boxes_xyxy)]
    rows = []
    for number in range(len(batch.template)):
        tiles = [crop_tile(crop[number]) for crop in (batch.template, batch.online_template, batch.search)]
        draw_boxes(tiles[2], [boxes[number].cpu().numpy() for boxes in boxes_xywh], (TRUTH, PALETTE[0]))
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def picture_samples(
    experiment: Experiment, state: Mapping[str, Tensor], num_samples: int, *, seed: int, paths_file: Path | None = None
) -> np.ndarray:
    """Draw reconstructions of a trained model on validation samples, or on training samples where there are none.

    Experiment and state are what a checkpoint holds, ValueError for a model without decoders; the seed is of samples
    and masks.
    """
    if not experiment.model.decoder.active:
        raise ValueError(f"{experiment.name} has no decoders (model.decoder): it rebuilds nothing")
    sources = open_sources(experiment.data.validation or experiment.data.sources, paths_file)
    samples = TrainingSet(sources, experiment.data, experiment.crop, seed)
    batch = samples.collate([samples[sample_id(VALIDATION_EPOCH, index)] for index in range(num_samples)])
    model = build_model(experiment, pretrained=False)
    # Weights that were exported before a second stage have no score module, which no picture needs.
    load_model_state(model, state, allow_missing=("score.",))
    return picture_reconstructions(model, batch, torch.Generator().manual_seed(seed))


def _rows(
    model: MMG, label: str, images: Tensor, masked: Tensor | None, coarse: Tensor | None, fine: Tensor | None
) -> list[RebuiltImage]:
    """Return one row per sample for one kind of image."""
    assert model.decoder is not None and masked is not None
    patch_size = model.decoder.patch_size
    truth = patchify(model.normalize(images), patch_size)
    hidden = masked.unsqueeze(-1)

    def to_images(patches: Tensor) -> np.ndarray:
        return model.denormalize(unpatchify(patches, patch_size)).permute(0, 2, 3, 1).cpu().numpy()

    def fill_in(predicted: Tensor | None) -> list[np.ndarray] | list[None]:
        if predicted is None:
            return [None] * len(images)
        predicted = predicted.float()
        if model.decoder is not None and model.decoder.normalize_target:
            predicted = predicted * (truth.var(dim=-1, keepdim=True) + 1e-6).sqrt() + truth.mean(dim=-1, keepdim=True)
        return list(to_images(torch.where(hidden, predicted, truth) if masked.any() else predicted))

    originals = images.permute(0, 2, 3, 1).cpu().numpy()
    shown = to_images(truth.masked_fill(hidden, 0))  # 0 is the mean colour of ImageNet: a grey
    return [
        RebuiltImage(label, *pictures)
        for pictures in zip(originals, shown, fill_in(coarse), fill_in(fine), strict=True)
    ]


def crop_tile(crop: Tensor) -> np.ndarray:
    """Return a (3, S, S) uint8 crop as (TILE, TILE, 3), its pixels as squares."""
    return _enlarge(crop.permute(1, 2, 0).cpu().numpy(), TILE)


@torch.no_grad()
def picture_masks(model: AlphaRefineNet, batch: MaskBatch) -> np.ndarray:
    """Draw the reference crop with its box, the search crop with the true mask, and with the predicted one."""
    was_training = model.training
    model.eval()
    predicted = model(batch.reference, batch.reference_crop_box_xyxy, batch.search) > 0
    model.train(was_training)
    boxes = batch.reference_crop_box_xyxy * TILE
    rows = []
    for number in range(batch.num_samples):
        reference, search = crop_tile(batch.reference[number]), crop_tile(batch.search[number])
        left, top, right, bottom = boxes[number].cpu().tolist()
        draw_boxes(reference, [np.array((left, top, right - left, bottom - top))], [TRUTH])
        tiles = [reference]
        for masks in (batch.mask, predicted):
            tile = search.copy()
            shade_mask(tile, _enlarge(masks[number].cpu().numpy().astype(np.uint8), TILE) > 0)
            tiles.append(tile)
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


@torch.no_grad()
def picture_scores(model: MMG, batch: Batch) -> np.ndarray:
    """Draw template, online template and search region of every sample with its score, green where that is right."""
    model.eval()
    logits, crop_boxes_xyxy = model.rate(batch.template, batch.search, online_template_of(batch, model))
    scores, wanted = logits.float().sigmoid().tolist(), score_target(batch, crop_boxes_xyxy).tolist()
    rows = []
    for number, (score, right) in enumerate(zip(scores, wanted, strict=True)):
        tiles = [crop_tile(crop[number]) for crop in (batch.template, batch.online_template, batch.search)]
        draw_label(tiles[2], (0, 0), f"{score:.2f}", _RIGHT if (score > 0.5) == right else _WRONG)
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def score_target(batch: Batch, crop_boxes_xyxy: Tensor | None) -> Tensor:
    """Return (B,) bool, what a score should say: the target is there, and a box that is rated overlaps it by half."""
    if crop_boxes_xyxy is None:
        return batch.present
    return batch.present & (iou(crop_boxes_xyxy, batch.search_crop_box_xyxy) > 0.5)


def online_template_of(batch: Batch, model: MMG) -> Tensor | None:
    """Return what a model takes of a batch's online templates: None where it is one of two images."""
    return batch.online_template if model.encoder.online_template else None


def picture_training_samples(
    experiment: Experiment,
    num_samples: int,
    *,
    seed: int,
    root: Path | None = None,
    paths_file: Path | None = None,
    columns: int = 4,
) -> np.ndarray:
    """Draw samples of each training source with a ratio above 0: template above online template, search beside them.

    An experiment with one source may have the folder `root` in place of the configured one; ValueError for several.
    """
    sources = [source for source in experiment.data.sources if source.ratio > 0]
    if root is not None and len(sources) > 1:
        raise ValueError(f"{root} cannot be the folder of {len(sources)} sources; name one data set")
    columns = min(columns, num_samples)
    sections = []
    for source in sources:
        dataset = open_dataset(source.dataset, source.split, root, paths_file)
        samples = TrainingSet([MixedSource(dataset, 1.0)], experiment.data, experiment.crop, seed)
        drawn = [samples[sample_id(VALIDATION_EPOCH, index)] for index in range(num_samples)]
        share = source.ratio / sum(other.ratio for other in sources)
        title = f"{source.dataset} {source.split}: {share:.0%} of the samples of {experiment.name}"
        sections.append(_section(title, drawn, columns))
    return np.concatenate(sections)


def _section(title: str, samples: list[Sample], columns: int) -> np.ndarray:
    """Lay the samples of one source out under its title."""
    margins = (0, 2 * _GAP), (_GAP, _GAP), (0, 0)
    tiles = [_draw_sample(sample, labelled=number == 0) for number, sample in enumerate(samples)]
    cells = [np.pad(tile, margins, constant_values=_PAPER[0]) for tile in tiles]
    cells += [np.full_like(cells[0], _PAPER[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)]
    head = np.full((_HEAD, rows[0].shape[1], 3), _PAPER, np.uint8)
    draw_label(head, (_GAP - 3, _HEAD - 4), title, _PAPER)
    return np.vstack((head, *rows))


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
