"""What a run teaches, boxes, scores or masks: the network, which parameters learn, what a batch costs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.config.refine_schema import RefineLoss
from lib.config.schema import Experiment, Loss
from lib.data.samples.mask_set import MaskBatch
from lib.data.samples.training_set import Batch
from lib.models.mmg import MMG
from lib.models.refine.network import AlphaRefineNet
from lib.models.stem import StemEmbed
from lib.train.losses import Losses, mask_loss, tracking_loss
from lib.train.pictures import (
    online_template_of,
    picture_boxes,
    picture_masks,
    picture_reconstructions,
    picture_scores,
    score_target,
)

AnyBatch = Batch | MaskBatch


class Objective:
    """One thing that a `Trainer` can teach.

    Attributes:
        model: the whole network, which checkpoints hold; what does not learn has no gradient.
        network: what a step runs and `losses` calls: the model, or a part of it with a forward of its own.
        score_trained: True when the checkpoints' score module is a trained one.
    """

    model: Any  # an nn.Module, of its own class in each objective
    network: nn.Module
    score_trained = False

    def train(self) -> None:
        """Put the network into the mode of a training step."""
        self.model.train()

    def losses(self, network: nn.Module, batch: Any, generator: torch.Generator) -> Losses:
        """Return what a batch costs.

        Args:
            network: `network`, or what distributes it over processes.
            batch: of the objective's kind, on the network's device.
            generator: source of the masks.
        """
        raise NotImplementedError

    def pictures(self, batch: Any, generator: torch.Generator) -> Iterator[tuple[str, np.ndarray]]:
        """Draw what the network makes of a batch: names and (H, W, 3) uint8 RGB pictures."""
        raise NotImplementedError


class TrackingObjective(Objective):
    """The first stage: boxes and reconstructions; all but the score module learns."""

    model: MMG

    def __init__(self, model: MMG, weights: Loss, *, learn_stem: bool = False) -> None:
        self.model = self.network = model
        self._weights = weights
        if model.score is not None:
            model.score.requires_grad_(False)
        if isinstance(stem := model.encoder.patch_embed, StemEmbed):
            stem.learn_late_stages(learn_stem)

    def losses(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        online_template = batch.online_template if self.model.encoder.online_template else None
        output = network(batch.template, batch.search, online_template, generator=generator)
        with torch.autocast(batch.search.device.type, enabled=False):
            return tracking_loss(output, batch.search_crop_box_xyxy, self._weights)

    def pictures(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, np.ndarray]]:
        yield "boxes", picture_boxes(self.model, batch)
        if self.model.decoder is not None:
            generator.manual_seed(0)
            yield "reconstruction", picture_reconstructions(self.model, batch, generator)


class RefineObjective(Objective):
    """The mask network; all of it learns."""

    model: AlphaRefineNet

    def __init__(self, model: AlphaRefineNet, weights: RefineLoss) -> None:
        self.model = self.network = model
        self._weights = weights

    def losses(self, network: nn.Module, batch: MaskBatch, generator: torch.Generator) -> Losses:
        logits = network(batch.reference, batch.reference_crop_box_xyxy, batch.search)
        with torch.autocast(batch.search.device.type, enabled=False):
            return mask_loss(logits, batch.mask, self._weights)

    def pictures(self, batch: MaskBatch, generator: torch.Generator) -> Iterator[tuple[str, np.ndarray]]:
        yield "masks", picture_masks(self.model, batch)


class ScoreNetwork(nn.Module):
    """What a step of the second stage runs: the encoder, from which nothing learns, and the score module."""

    def __init__(self, model: MMG) -> None:
        super().__init__()
        self.model = model

    def forward(self, template: Tensor, search: Tensor, online_template: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (B,) logits and the boxes that were rated; see `MMG.rate`."""
        return self.model.rate(template, search, online_template)


class ScoreObjective(Objective):
    """Binary cross-entropy of the score, over samples of which a share are negatives."""

    model: MMG
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
        logits, crop_boxes_xyxy = network(batch.template, batch.search, online_template_of(batch, self.model))
        logits, wanted = logits.float(), score_target(batch, crop_boxes_xyxy)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted.float())
        right = ((logits.detach() > 0) == wanted).float().mean()
        return Losses(loss, {"score": loss}, {"accuracy": right})

    def pictures(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, np.ndarray]]:
        yield "scores", picture_scores(self.model, batch)


def build_objective(experiment: Experiment, model: MMG) -> Objective:
    """Return what an experiment teaches its model: boxes and reconstructions, or in the second stage the score."""
    if experiment.train.stage == "score":
        return ScoreObjective(model)
    return TrackingObjective(model, experiment.train.loss, learn_stem=experiment.train.stem_lr > 0)
