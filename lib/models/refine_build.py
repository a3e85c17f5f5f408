"""Build Alpha-Refine's network from an experiment of `kind: refine`."""

from lib.config.refine_schema import RefineExperiment
from lib.models.refine import AlphaRefineNet
from lib.models.refine_encoder import load_resnet


def build_refine_model(experiment: RefineExperiment, *, pretrained: bool = True) -> AlphaRefineNet:
    """Build the network at the experiment's sizes.

    Args:
        experiment: sizes.
        pretrained: start the encoder from `model.encoder.pretrained`; False when a checkpoint is loaded next.

    Raises:
        FileNotFoundError, ValueError: the pre-trained weights are missing or do not fit.
    """
    encoder = experiment.model.encoder
    model = AlphaRefineNet(
        size=experiment.crop.size,
        encoder=encoder.name,
        channels=experiment.model.decoder.channels,
        encoder_channels=encoder.channels,
        encoder_layers=encoder.layers,
    )
    if pretrained and encoder.pretrained is not None:
        load_resnet(model.encoder, encoder.pretrained)
    return model
