"""Build a model from an experiment: the one place where `lib.models` meets `lib.config`."""

import warnings
from pathlib import Path

from lib.config.schema import Experiment
from lib.models.center import CenterHead
from lib.models.decoder import MaskedMutualGuidance
from lib.models.encoder import JointEncoder
from lib.models.head import PyramidCornerHead
from lib.models.mmg import MMG
from lib.models.pretrained import load_from_hub, load_mae
from lib.models.score import BoxScore, ScoreModule
from lib.models.stem import StemEmbed
from lib.models.trained import load_stem


def build_model(experiment: Experiment, *, pretrained: bool = True) -> MMG:
    """Build encoder, head, and what the experiment switches on of decoder and score module.

    Args:
        experiment: sizes and switches.
        pretrained: start the encoder from `model.encoder.pretrained`; False when a checkpoint is loaded next.
    """
    model, crop = experiment.model, experiment.crop
    # The keys of both sections are what the classes call their arguments.
    encoder = JointEncoder(
        template_size=crop.template_size,
        search_size=crop.search_size,
        online_template=model.online_template,
        **{key: value for key, value in vars(model.encoder).items() if key != "pretrained"},
    )
    if pretrained and model.encoder.pretrained is not None:
        if model.encoder.position == "sincos":
            warnings.warn("model.encoder.position: sincos orders its channels in timm's way, which scrambles positions "
                          "for weights of MAE, MixFormer and CTTrack: theirs is sincos_mae", stacklevel=2)  # fmt: skip
        hub, separator, hub_name = model.encoder.pretrained.partition("hub:")
        if separator and not hub:
            load_from_hub(encoder, hub_name)
        elif isinstance(encoder.patch_embed, StemEmbed):
            load_stem(encoder.patch_embed, Path(model.encoder.pretrained))
        else:
            load_mae(encoder, Path(model.encoder.pretrained))
    head_kind = CenterHead if model.head.kind == "center" else PyramidCornerHead
    head = head_kind(encoder.dim, encoder.search_grid, model.head.channels)
    decoder = None
    if model.decoder.active:
        decoder = MaskedMutualGuidance(
            encoder_dim=encoder.dim,
            template_grid=encoder.template_grid,
            search_grid=encoder.search_grid,
            patch_size=encoder.patch_size,
            online_template=model.online_template,
            **vars(model.decoder),
        )
    score = None
    if model.score.enabled and model.score.kind == "box":
        score = BoxScore(encoder.dim, encoder.template_grid, experiment.crop.template_factor)
    elif model.score.enabled:
        score = ScoreModule(encoder.dim, model.score.depth, num_heads=encoder.num_heads)
    return MMG(encoder, head, decoder, score)
