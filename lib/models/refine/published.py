"""The officially published weights of Alpha-Refine's mask network: every name is mapped, and no file can run code."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lib.models.pretrained import load_model_state
from lib.models.refine.network import AlphaRefineNet

PUBLISHED_SIZE = 384  # px, of both crops
PUBLISHED_FACTOR = 2.0  # crop side / box side
PUBLISHED_THRESHOLD = 0.6  # of a mask's pixels; trackers that use the weights have 0.5 to 0.65

# Modules of the published network and what they are here. A module's weights keep their own names.
_NECK = {
    "neck.channel_attention.fc1": "channel_attention.squeeze",
    "neck.channel_attention.fc2": "channel_attention.excite",
    "neck.spatial_attention.theta": "spatial_attention.query",
    "neck.spatial_attention.phi.0": "spatial_attention.key",
    "neck.spatial_attention.g.0": "spatial_attention.value",
    "neck.spatial_attention.W.0": "spatial_attention.output",
    "neck.spatial_attention.W.1": "spatial_attention.norm",
}
_LEVEL = {
    "TSE.{level}.reduce.0": "reduce.0",
    "TSE.{level}.reduce.2": "reduce.2",
    "TSE.{level}.transform.0": "fuse.0",
    "TSE.{level}.transform.2": "fuse.2",
    "TSE.{level}.transform.4": "fuse.4",
    "RRB1.{level}.conv1x1": "before.project",
    "RRB1.{level}.bblock.0": "before.block.0",
    "RRB1.{level}.bblock.1": "before.block.1",
    "RRB1.{level}.bblock.3": "before.block.3",
    "CAB.{level}.convreluconv.0": "gate.weigh.0",
    "CAB.{level}.convreluconv.2": "gate.weigh.2",
    "RRB2.{level}.conv1x1": "after.project",
    "RRB2.{level}.bblock.0": "after.block.0",
    "RRB2.{level}.bblock.1": "after.block.1",
    "RRB2.{level}.bblock.3": "after.block.3",
}
_LEVELS = ("layer5", "layer4", "layer3", "layer2")  # coarse to fine; torchvision calls them layer4 to layer1
_OUTPUT = {"refiner.project.conv1": "decoder.narrow", "refiner.project.conv2": "decoder.logits"}
_UNUSED = ("feature_extractor.fc.",)  # the classifier, which the authors' ResNet still carries


def is_published(content: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has the published file's form: the weights are called `net`."""
    return isinstance(content.get("net"), dict)


def load_published(model: AlphaRefineNet, state: Mapping[str, Tensor], source: str) -> None:
    """Fill the network from the published weights, strictly; it is unchanged when an error is raised.

    Args:
        model: ResNet-50 at 384 px, decoder of 64 channels.
        state: what the file calls `net`.
        source: what to call the file in an error.
    """
    names = published_names(model)
    ours = {
        names.get(name, f"published {name}"): value for name, value in state.items() if not name.startswith(_UNUSED)
    }
    # Files from before PyTorch 0.4.1 do not count batches; nothing depends on the count.
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    load_model_state(model, {**counters, **ours}, source=f"{source} (published Alpha-Refine)")


def published_names(model: AlphaRefineNet) -> dict[str, str]:
    """Return the published name of every weight and buffer, and its name here."""
    return {
        f"{published}.{weight}": f"{ours}.{weight}"
        for published, ours in _published_modules(model)
        for weight in _own_state(model.get_submodule(ours))
    }


def _published_modules(model: AlphaRefineNet) -> Iterator[tuple[str, str]]:
    for name, module in model.encoder.named_modules():
        if _own_state(module):
            yield f"feature_extractor.{name}", f"encoder.{name}"
    yield from _NECK.items()
    for number, level in enumerate(_LEVELS):
        for published, ours in _LEVEL.items():
            yield f"refiner.{published.format(level=level)}", f"decoder.levels.{number}.{ours}"
    yield from _OUTPUT.items()


def _own_state(module: nn.Module) -> list[str]:
    """Return the names of the weights and buffers that belong to a module itself, not to its children."""
    return [name for name in module.state_dict() if "." not in name]
