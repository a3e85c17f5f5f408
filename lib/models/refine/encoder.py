"""Alpha-Refine's encoder: the four stages of a ResNet, at any width."""

from collections.abc import Sequence
from pathlib import Path

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor

from lib.models.pretrained import fetch_from_hub, load_model_state, read_checkpoint

# Block and number of blocks in each stage; names and numbers are torchvision's.
RESNETS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
_WIDTHS = (64, 128, 256, 512)
RESNET_SOURCE = (
    "get resnet50-0676ba61.pth from torchvision (https://download.pytorch.org/models/resnet50-0676ba61.pth), or write "
    "hub:resnet50.tv_in1k to let timm fetch the same weights"
)


class ResNetEncoder(ResNet):
    """A ResNet without its classifier, which gives its four maps; weights are named as torchvision names them.

    Args:
        name: a key of `RESNETS`.
        channels: widths of the four stages instead of 64, 128, 256, 512, before a bottleneck's expansion.
        layers: blocks of the four stages instead of the named ResNet's.
    """

    def __init__(self, name: str, channels: Sequence[int] | None = None, layers: Sequence[int] | None = None) -> None:
        block, named_layers = RESNETS[name]
        channels, layers = tuple(channels or _WIDTHS), tuple(layers or named_layers)
        super().__init__(block, layers, num_classes=0, channels=channels)  # pyright: ignore[reportArgumentType]
        self.widths = tuple(width * block.expansion for width in channels)

    def pyramid(self, images: Tensor, num_stages: int = 4) -> list[Tensor]:
        """Return the maps of normalised (B, 3, S, S) images at strides 4, 8, 16 and 32, or the first few of them."""
        state, maps = images, []
        for name in ("conv1", "bn1", "act1", "maxpool", *(f"layer{stage + 1}" for stage in range(num_stages))):
            state = self.get_submodule(name)(state)
            if name.startswith("layer"):
                maps.append(state)
        return maps


def load_resnet(encoder: ResNetEncoder, source: str) -> None:
    """Start the encoder from a classifier's weights.

    Args:
        encoder: what to fill; its classifier, which it has not, is left out.
        source: a file of torchvision, or `hub:NAME` for timm's hub, such as `hub:resnet50.tv_in1k`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the hub has no such weights, they cannot be fetched, or they do not fit.
    """
    hub, separator, hub_name = source.partition("hub:")
    if separator and not hub:
        state = fetch_from_hub(hub_name, RESNET_SOURCE).state_dict()
    else:
        if not Path(source).is_file():
            raise FileNotFoundError(f"there are no pre-trained weights {source}: {RESNET_SOURCE}, or set the key "
                                    "model.encoder.pretrained to null")  # fmt: skip
        state = read_checkpoint(source)
    counters = {name: value for name, value in encoder.state_dict().items() if name.endswith("num_batches_tracked")}
    # Files from before PyTorch 0.4.1 do not count batches; nothing depends on the count.
    load_model_state(encoder, {**counters, **state}, allow_unexpected=("fc.",), source=source)
