"""Weights from files and from timm's hub: every key is accounted for, and no file can run code."""

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lib.models.center import CenterHead
from lib.models.encoder import JointEncoder
from lib.models.mmg import MMG

MAE_SOURCE = (
    "get mae_pretrain_vit_base.pth from github.com/facebookresearch/mae "
    "(https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth)"
)

# What torch.load and zipfile raise on bytes that are no checkpoint.
_DAMAGED = (RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError, AssertionError, OSError,
            ArithmeticError, struct.error, zipfile.BadZipFile, zlib.error)  # fmt: skip

_MAX_LISTED = 8

# OSTrack's published weights and what they are called here. Source: Ye et al., "Joint Feature Learning and Relation
# Modeling for Tracking: A One-Stream Framework", 2022.
_OSTRACK_POSITIONS = {
    "backbone.pos_embed_z": "encoder.template_position",
    "backbone.pos_embed_x": "encoder.search_position",
}
_OSTRACK_UNUSED = ("backbone.cls_token", "backbone.pos_embed")  # of the ViT that the training started from
_OSTRACK_MAPS = {"ctr": "score", "offset": "offset", "size": "size"}


class _Inert:
    """Stands in a file's dictionary for an object of a class that is not looked up: it takes anything, does nothing."""

    def __init__(self, *state: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_checkpoint(path: Path | str, *, inert: bool = False) -> dict[str, Any]:
    """Read a dictionary of tensors and plain values onto the CPU; a file that holds code is refused, not run.

    Args:
        path: of a file of `torch.save`, of any age.
        inert: put something without behaviour in the place of other objects, such as the settings of the program that
            wrote the file, instead of refusing it. Nothing is imported or run then, either.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, holds objects that could run code or tensors that are not dense, or is no
            dictionary.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of an odd file torch warns first; the errors below say more.
        try:
            _check_sums(file)
            named = _named_objects(file) if inert else set()
            # A subclass each, since the restricted reader tells classes apart.
            strange: list[Any] = [(type(name, (_Inert,), {}), name) for name in named]
            with torch.serialization.safe_globals(strange):
                content = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"the checkpoint {path} is refused: it is damaged, or holds objects other than tensors and plain "
                f"values, which could run code when read. {_objection(error)}"
            ) from error
        except _DAMAGED as error:
            raise ValueError(f"the checkpoint {path} is truncated or no PyTorch file; copy or download it again. "
                             f"{type(error).__name__}: {_gist(error)}") from error  # fmt: skip
    if not isinstance(content, dict):
        raise ValueError(f"the checkpoint {path} holds a {type(content).__name__}, not a dictionary of weights")
    if any(each.layout != torch.strided or each.is_nested or each.is_quantized or each.is_meta
           for each in _tensors(content)):  # fmt: skip
        raise ValueError(f"the checkpoint {path} holds a sparse, nested, quantized or empty tensor: save dense ones")
    return content


def _tensors(content: object) -> Iterator[Tensor]:
    """Yield the tensors in dictionaries and lists, which may hold themselves."""
    left, seen = [content], set()
    while left:
        value = left.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            left += value.values() if isinstance(value, dict) else value


def _check_sums(file: BinaryIO) -> None:
    """Compare the checksums of all entries, which PyTorch writes and does not read; files before 1.6 have none."""
    is_archive = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    if is_archive:
        with zipfile.ZipFile(file) as archive:
            folders = (entry.filename for entry in archive.infolist() if entry.external_attr & 0x10)
            damaged = archive.testzip() or next(folders, None)  # PyTorch gives a folder's content as it finds memory
        if damaged is not None:
            raise ValueError(f"the checksum of its entry {damaged} is wrong")
        file.seek(0)


def read_own_or_published(path: Path, is_published: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """Read a checkpoint of this project, or one of another program with objects in it, if it is a known one."""
    try:
        return read_checkpoint(path)
    except ValueError:
        content = read_checkpoint(path, inert=True)
        if not is_published(content):
            raise
        return content


def _named_objects(file: BinaryIO) -> set[str]:
    """Return the full names of all classes and functions that a file of `torch.save` mentions, and rewind it.

    The restricted reader knows what tensors need by these names and prefers that to a stand-in.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            streams = [archive.open(name) for name in archive.namelist() if name.endswith("/data.pkl")]
            opcodes = [operation for stream in streams for operation in pickletools.genops(stream)]
    else:  # before PyTorch 1.6: four pickles one after another, then the numbers
        file.seek(0)
        opcodes = [operation for _ in range(4) for operation in pickletools.genops(file)]
    file.seek(0)
    return {str(value).replace(" ", ".") for opcode, value, _ in opcodes if opcode.name == "GLOBAL"}


def load_mae(encoder: JointEncoder, path: Path | str) -> None:
    """Start the encoder from MAE's published file, or from any plain ViT's weights with the same key names.

    The class token is not used; the position table is resampled to both grids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a key is missing, left over or of another shape; the encoder is then unchanged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there are no pre-trained weights {path}: {MAE_SOURCE}, or set the key "
                                "model.encoder.pretrained to null")  # fmt: skip
    content = read_checkpoint(path)
    state = content.get("model", content)
    if not isinstance(state, dict):
        raise ValueError(f"{path}: its entry 'model' is a {type(state).__name__}, not a dictionary of weights")
    _load_vit(encoder, state, num_prefix_tokens=1, unused=("cls_token",), source=f"{path}", cure=MAE_SOURCE)


def load_from_hub(encoder: JointEncoder, hub_name: str) -> None:
    """Start the encoder from a plain ViT of timm's hub, such as vit_base_patch16_224.mae; needs a network or cache."""
    vit = fetch_from_hub(hub_name, MAE_SOURCE)
    if not isinstance(vit, VisionTransformer) or vit.pos_embed is None:
        raise ValueError(f"{hub_name!r} of timm's hub is no plain ViT")
    num_prefix_tokens = vit.pos_embed.shape[1] - vit.patch_embed.num_patches
    # A ViT that averages its tokens has its last normalisation after the average, under another name.
    state = {key.replace("fc_norm.", "norm."): value for key, value in vit.state_dict().items()}
    unused = ("cls_token", "reg_token", "attn_pool.")
    cure = "choose weights of the encoder's own name"
    _load_vit(encoder, state, num_prefix_tokens, unused, source=f"{hub_name!r} of timm's hub", cure=cure)


def fetch_from_hub(name: str, cure: str) -> nn.Module:
    """Return a network of timm's hub without its classifier; ValueError, with the cure, where it cannot be had."""
    try:
        return timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"cannot get {name!r} from timm's hub: {_gist(error)}. Check the name and the network, or use "
                         f"a file: {cure}") from error  # fmt: skip


def load_model_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    allow_missing: tuple[str, ...] = (),
    allow_unexpected: tuple[str, ...] = (),
    source: str = "the checkpoint",
) -> None:
    """Load a whole model's weights, strictly.

    Args:
        model: what to fill; unchanged when an error is raised.
        state: its weights by name.
        allow_missing: prefixes of names the checkpoint may lack, such as `score.` when its training begins.
        allow_unexpected: prefixes of names the model may lack, such as `decoder.` once training is over.
        source: what to call the checkpoint in an error.
    """
    own = model.state_dict()
    required = {name: value for name, value in own.items() if name in state or not name.startswith(allow_missing)}
    named = {str(name): value for name, value in state.items()}
    offered = {name: value for name, value in named.items() if name in own or not name.startswith(allow_unexpected)}
    _check_same(required, offered, source, cure="was it trained with another config?")
    model.load_state_dict({**own, **offered})


def is_ostrack(content: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has the form of OSTrack's: weights called `net`, with its two position tables."""
    net = content.get("net")
    return isinstance(net, dict) and net.keys() >= _OSTRACK_POSITIONS.keys()


def ostrack_state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of an OSTrack with a centre head by the names of an `MMG` with one.

    A name that is not known stays as it is, for `load_model_state` to list.
    """
    return {_ostrack_name(str(name)): value for name, value in content["net"].items() if name not in _OSTRACK_UNUSED}


def start_from_ostrack(model: MMG, content: Mapping[str, Any], source: str) -> None:
    """Start a model of any kind from OSTrack's weights: its encoder, and its head where that is a centre head.

    Learned position tables are resampled to the model's grids; both templates have one.
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


def _load_vit(
    encoder: JointEncoder,
    state: Mapping[str, Tensor],
    num_prefix_tokens: int,
    unused: tuple[str, ...],
    source: str,
    cure: str,
) -> None:
    """Fill blocks, patch embedding and norm from a ViT's weights, and learned position tables by resampling its own."""
    offered = {str(name): value for name, value in state.items() if not str(name).startswith(unused)}
    table = offered.pop("pos_embed", None)
    own = encoder.state_dict()
    ours = ("template_position", "search_position", "token_type")
    _check_same({name: value for name, value in own.items() if name not in ours}, offered, source, cure)

    if not isinstance(table, Tensor) or table.ndim != 3 or table.shape[2] != encoder.dim:
        raise ValueError(
            f"{source}: needs a position table pos_embed (1, N, {encoder.dim}), not {_kind(table)}; {cure}"
        )
    table = table[:, num_prefix_tokens:]
    if round(table.shape[1] ** 0.5) ** 2 != table.shape[1]:
        raise ValueError(f"{source}: the {table.shape[1]} rows of pos_embed, after {num_prefix_tokens} for other "
                         f"tokens, are no square grid; {cure}")  # fmt: skip
    for name, grid in (("template_position", encoder.template_grid), ("search_position", encoder.search_grid)):
        if name in own:  # A fixed sin-cos table is no weight and stays.
            offered[name] = resample_abs_pos_embed(table, [grid, grid], num_prefix_tokens=0)
    encoder.load_state_dict({**own, **offered})


def _ostrack_name(name: str) -> str:
    if name in _OSTRACK_POSITIONS:
        return _OSTRACK_POSITIONS[name]
    if layer := re.fullmatch(r"box_head\.conv([1-5])_(ctr|offset|size)\.(.+)", name):
        return f"head.{_OSTRACK_MAPS[layer[2]]}.{int(layer[1]) - 1}.{layer[3]}"
    return re.sub(r"^backbone\.", "encoder.", name)


def _check_same(required: Mapping[str, Tensor], offered: Mapping[str, Any], source: str, cure: str) -> None:
    """Raise ValueError unless both have the same names, each a tensor of the same shape."""
    wrong = {
        "missing": required.keys() - offered.keys(),
        "unexpected": offered.keys() - required.keys(),
        "of another shape": {
            f"{name} {_kind(offered[name])} instead of {_kind(value)}"
            for name, value in required.items()
            if name in offered and _kind(offered[name]) != _kind(value)
        },
    }
    if any(wrong.values()):
        found = "; ".join(f"{len(names)} {what}: {_listed(names)}" for what, names in wrong.items() if names)
        raise ValueError(f"{source} does not fit this model ({cure}): {found}")


def _kind(value: Tensor | object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _MAX_LISTED} more" if len(ordered) > _MAX_LISTED else ""
    return ", ".join(ordered[:_MAX_LISTED]) + more


def _gist(error: BaseException) -> str:
    """Return the first sentence of an error, shortened: torch's and the hub's run to many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].split(". ")[0][:200] if lines else "no details"


def _objection(error: pickle.UnpicklingError) -> str:
    """Return what torch's restricted reader objected to, without its advice to read the file unrestricted."""
    said = next((line for line in str(error).splitlines() if "nsupported" in line), "")
    return said.rpartition("error: ")[2].strip()  # the oldest PyTorch gives the advice in the same line
