"""OSTrack's published weights, by the names that they have here.

Source: Ye et al., "Joint Feature Learning and Relation Modeling for Tracking: A One-Stream Framework", 2022.
"""

import re
from collections.abc import Mapping
from typing import Any

from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from lib.models.center import CenterHead
from lib.models.mmg import MMG
from lib.models.pretrained import load_model_state

_POSITIONS = {
    "backbone.pos_embed_z": "encoder.template_position",
    "backbone.pos_embed_x": "encoder.search_position",
}
_UNUSED = ("backbone.cls_token", "backbone.pos_embed")  # of the ViT that the training started from
_MAPS = {"ctr": "score", "offset": "offset", "size": "size"}


def is_ostrack(content: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has the form of OSTrack's: weights called `net`, with its two position tables."""
    net = content.get("net")
    return isinstance(net, dict) and net.keys() >= _POSITIONS.keys()


def ostrack_state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of an OSTrack with a centre head by the names of an `MMG` with one.

    A name that is not known stays as it is, for `load_model_state` to list.
    """
    return {_name(name): value for name, value in content["net"].items() if name not in _UNUSED}


def start_from_ostrack(model: MMG, content: Mapping[str, Any], source: str) -> None:
    """Start a model of any kind from OSTrack's weights: its encoder, and its head where that is a centre head.

    Learned position tables are resampled to the model's grids; both templates have one.

    Raises:
        ValueError: the encoder is another; the model is then unchanged.
    """
    state, encoder = ostrack_state(content), model.encoder
    missing = ["decoder.", "score.", "encoder.token_type"]
    if not isinstance(model.head, CenterHead):
        missing.append("head.")
        state = {name: value for name, value in state.items() if not name.startswith("head.")}
    own = model.state_dict()
    for kind, grid in (("template", encoder.template_grid), ("search", encoder.search_grid)):
        table = state.pop(f"encoder.{kind}_position")
        if f"encoder.{kind}_position" in own:  # A fixed sin-cos table is no weight and stays.
            state[f"encoder.{kind}_position"] = resample_abs_pos_embed(table, [grid, grid], num_prefix_tokens=0)
    load_model_state(model, state, allow_missing=tuple(missing), source=f"{source} (published OSTrack)")


def _name(name: str) -> str:
    if name in _POSITIONS:
        return _POSITIONS[name]
    if layer := re.fullmatch(r"box_head\.conv([1-5])_(ctr|offset|size)\.(.+)", name):
        return f"head.{_MAPS[layer[2]]}.{int(layer[1]) - 1}.{layer[3]}"
    return re.sub(r"^backbone\.", "encoder.", name)
