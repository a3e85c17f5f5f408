"""The whole network: encoder and head always, decoders in training, score module for the online update."""

from typing import NamedTuple

import numpy as np
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from lib.models.center import CenterHead, CenterOutput
from lib.models.decoder import MaskedMutualGuidance, MMGReconstruction
from lib.models.encoder import JointEncoder
from lib.models.head import CornerOutput, PyramidCornerHead
from lib.models.score import BoxScore, ScoreModule


class MMGOutput(NamedTuple):
    """Everything a training step needs.

    Attributes:
        located: the boxes (B, 4), in fractions of the search crop, and the maps they were read from.
        reconstruction: what the decoders rebuilt, or None when they are absent or were not asked.
        score_logits: (B,), or None when the score module is absent or was not asked.
    """

    located: CornerOutput | CenterOutput
    reconstruction: MMGReconstruction | None
    score_logits: Tensor | None

    @property
    def crop_boxes_xyxy(self) -> Tensor:
        """(B, 4) float32 corners in fractions of the search crop."""
        return self.located.crop_boxes_xyxy


class TrackOutput(NamedTuple):
    """What a tracker needs.

    Attributes:
        crop_boxes_xyxy: (B, 4) float32 corners in fractions of the search crop.
        scores: (B,) float32 in [0, 1], or None without a score module.
    """

    crop_boxes_xyxy: Tensor
    scores: Tensor | None

    def to_host(self) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes (B, 4) and scores (B,), nan where there are none, as float64.

        They cross together: of all that is done at a frame, this alone waits for a GPU.
        """
        if self.scores is None:
            crop_boxes_xyxy = self.crop_boxes_xyxy.cpu().double().numpy()
            return crop_boxes_xyxy, np.full(len(crop_boxes_xyxy), np.nan)
        found = torch.cat((self.crop_boxes_xyxy, self.scores.unsqueeze(1)), dim=1).cpu().double().numpy()
        return found[:, :4], found[:, 4]


class MMG(nn.Module):
    """Masked mutual guidance tracking.

    Images arrive as (B, 3, S, S) uint8 RGB and are normalised here, so training and tracking cannot disagree.

    Args:
        encoder, head: the tracker itself.
        decoder: rebuilds masked frames in training; None for a tracker without, or once training is over.
        score: rates a search region, or the box found there, for the online update; None where there is none.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: JointEncoder,
        head: PyramidCornerHead | CenterHead,
        decoder: MaskedMutualGuidance | None = None,
        score: ScoreModule | BoxScore | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.decoder = decoder
        self.score = score
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
        self.register_buffer("mean", 255 * mean, persistent=False)
        self.register_buffer("std", 255 * std, persistent=False)

    def forward(
        self,
        template: Tensor,
        search: Tensor,
        online_template: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        reconstruct: bool = True,
        predict_score: bool = False,
    ) -> MMGOutput:
        """Predict boxes and, as asked, reconstructions and scores.

        Args:
            template, search, online_template: (B, 3, S, S) uint8; the online template exactly for three-image models.
            generator: source of the masks; torch's global one when None.
            reconstruct: run the decoders, where there are any.
            predict_score: run the score module; off in the first training stage, which does not train it.
        """
        search_image = self.normalize(search)
        online_image = None if online_template is None else self.normalize(online_template)
        encoded = self.encoder(self.normalize(template), search_image, online_image)
        reconstruction = None
        if reconstruct and self.decoder is not None:
            reconstruction = self.decoder(encoded, search_image, online_image, generator)
        located, score_logits = self.head(encoded.search), None
        if predict_score:
            assert self.score is not None, "this model was built without a score module"
            score_logits = self.score(encoded.template, encoded.search, located.tracked_boxes_xyxy)
        return MMGOutput(located, reconstruction, score_logits)

    def rate(
        self, template: Tensor, search: Tensor, online_template: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the (B,) logits of the score, for images as in `forward`; only the score module gets a gradient.

        The boxes (B, 4) in fractions of the crop that were rated come with them, None where regions are.
        """
        assert self.score is not None, "this model was built without a score module"
        online_image = None if online_template is None else self.normalize(online_template)
        with torch.no_grad():
            encoded = self.encoder(self.normalize(template), self.normalize(search), online_image)
            rates_box = isinstance(self.score, BoxScore)
            crop_boxes_xyxy = self.head(encoded.search).tracked_boxes_xyxy if rates_box else None
        return self.score(encoded.template, encoded.search, crop_boxes_xyxy), crop_boxes_xyxy

    @torch.inference_mode()
    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        """Locate the target in (B, 3, S, S) uint8 search crops, and score them where there is a score module."""
        assert not self.training, "call eval() before tracking: batch statistics of one frame are no statistics"
        output = self(template, search, online_template, reconstruct=False, predict_score=self.score is not None)
        scores = None if output.score_logits is None else output.score_logits.float().sigmoid()
        return TrackOutput(output.located.tracked_boxes_xyxy, scores)

    def without_decoder(self) -> "MMG":
        """Return the tracker that is left after training: the same modules, sharing their weights, no decoders."""
        return MMG(self.encoder, self.head, None, self.score).to(self.mean.device).train(self.training)

    def normalize(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) uint8 images into what the encoder sees and the decoders rebuild."""
        assert images.dtype == torch.uint8, f"images arrive as uint8, not {images.dtype}"
        return (images - self.mean) / self.std

    def denormalize(self, images: Tensor) -> Tensor:
        """Invert `normalize` for a picture: (B, 3, H, W) uint8, rounded and clipped."""
        return (images * self.std + self.mean).round().clamp(0, 255).to(torch.uint8)


def count_parameters(model: MMG) -> dict[str, int]:
    """Count parameters by part; an absent part counts 0, and the parts add up to the whole model.

    Returns:
        Counts for `encoder`, `head`, `score`, `self_decoder`, `guided_decoder` and `projection`, the decoders'
        shared entry: its linear layer and the mask token.
    """
    decoder = model.decoder
    self_decoder = _count(decoder.self_decoder) if decoder is not None else 0
    guided_decoder = _count(decoder.guided_decoders) if decoder is not None else 0
    return {
        "encoder": _count(model.encoder),
        "head": _count(model.head),
        "score": _count(model.score),
        "self_decoder": self_decoder,
        "guided_decoder": guided_decoder,
        "projection": _count(decoder) - self_decoder - guided_decoder,
    }


def _count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
