"""What a run of `kind: refine` teaches: the mask of a search crop, given a box on a reference crop."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import nn

from lib.config.refine_schema import RefineLoss
from lib.data.samples.mask_set import MaskBatch
from lib.draw import TRUTH, draw_boxes, shade_mask
from lib.models.refine.network import AlphaRefineNet
from lib.train.losses import Losses
from lib.train.refine_losses import mask_loss
from lib.train.tile import TILE, crop_tile


class RefineObjective:
    """The mask network; all of it learns."""

    score_trained = False

    def __init__(self, model: AlphaRefineNet, weights: RefineLoss) -> None:
        self.model = self.network = model
        self._weights = weights

    def train(self) -> None:
        self.model.train()

    def losses(self, network: nn.Module, batch: MaskBatch, generator: torch.Generator) -> Losses:
        logits = network(batch.reference, batch.reference_crop_box_xyxy, batch.search)
        with torch.autocast(batch.search.device.type, enabled=False):
            return mask_loss(logits, batch.mask, self._weights)

    def pictures(self, batch: MaskBatch, generator: torch.Generator) -> Iterator[tuple[str, np.ndarray]]:
        yield "masks", picture_masks(self.model, batch)


@torch.no_grad()
def picture_masks(model: AlphaRefineNet, batch: MaskBatch) -> np.ndarray:
    """Draw the reference crop with its box, the search crop with the true mask, and with the predicted one.

    Args:
        model: runs in evaluation mode, and is left in the mode it had.
        batch: samples on the model's device.

    Returns:
        (H, W, 3) uint8 RGB: one row a sample.
    """
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
            mask = masks[number].cpu().numpy().astype(np.uint8)
            shade_mask(tile, cv2.resize(mask, (TILE, TILE), interpolation=cv2.INTER_NEAREST) > 0)
            tiles.append(tile)
        rows.append(np.hstack(tiles))
    return np.vstack(rows)
