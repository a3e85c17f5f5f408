"""Compilation by torch.compile, of those parts of a network that do the work."""

from torch import nn

from lib.models.mmg import MMG


def compile_parts(model: nn.Module) -> None:
    """Compile a network in place: of a tracker encoder, head, score module and decoders, of others the whole.

    Names and values of the weights stay. What surrounds the parts, such as drawing masks, is left as it is: it costs
    little and cannot be compiled. The first step takes minutes.
    """
    for part in _parts(model) if isinstance(model, MMG) else [model]:
        part.compile()


def _parts(model: MMG) -> list[nn.Module]:
    parts: list[nn.Module] = [model.encoder, model.head]
    if model.score is not None:
        parts.append(model.score)
    if model.decoder is not None:
        if model.decoder.self_decoder is not None:
            parts.append(model.decoder.self_decoder)
        parts += model.decoder.guided_decoders.values()
    return parts
