"""The second stage: the score module learns whether a search region shows the target; all else stays as it is."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.data.samples.training_set import Batch
from lib.draw import draw_label
from lib.models.mmg import MMG
from lib.train.losses import Losses
from lib.train.tile import crop_tile

_RIGHT, _WRONG = (60, 200, 60), (230, 60, 60)


class ScoreNetwork(nn.Module):
    """What a step of the second stage runs: the encoder, from which nothing learns, and the score module."""

    def __init__(self, model: MMG) -> None:
        super().__init__()
        self.model = model

    def forward(self, template: Tensor, search: Tensor, online_template: Tensor | None) -> Tensor:
        """Return (B,) logits."""
        return self.model.score_logits(template, search, online_template)


class ScoreObjective:
    """Binary cross-entropy of the score, over samples of which a share are negatives."""

    score_trained = True

    def __init__(self, model: MMG) -> None:
        """Freeze all of a model but its score module."""
        assert model.score is not None, "the second stage trains a score module"
        model.requires_grad_(False)
        model.score.requires_grad_(True)
        self.model = model
        self.network = ScoreNetwork(model)

    def train(self) -> None:
        """Put the score module into training mode; the rest evaluates, batch statistics and drop-path included."""
        assert self.model.score is not None
        self.model.eval()
        self.model.score.train()

    def losses(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        logits = network(batch.template, batch.search, _online_template(self.model, batch)).float()
        loss = functional.binary_cross_entropy_with_logits(logits, batch.present.float())
        right = ((logits.detach() > 0) == batch.present).float().mean()
        return Losses(loss, {"score": loss}, {"accuracy": right})

    def pictures(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, np.ndarray]]:
        yield "scores", picture_scores(self.model, batch)


@torch.no_grad()
def picture_scores(model: MMG, batch: Batch) -> np.ndarray:
    """Draw template, online template and search region of every sample with its score, green where that is right.

    Args:
        model: runs in evaluation mode, and is left in it.
        batch: samples on the model's device.

    Returns:
        (H, W, 3) uint8 RGB: one row a sample.
    """
    model.eval()
    scores = model.score_logits(batch.template, batch.search, _online_template(model, batch)).float().sigmoid()
    rows = []
    for number, (score, present) in enumerate(zip(scores.tolist(), batch.present.tolist(), strict=True)):
        tiles = [crop_tile(crop[number]) for crop in (batch.template, batch.online_template, batch.search)]
        draw_label(tiles[2], (0, 0), f"{score:.2f}", _RIGHT if (score > 0.5) == present else _WRONG)
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def _online_template(model: MMG, batch: Batch) -> Tensor | None:
    return batch.online_template if model.encoder.online_template else None
