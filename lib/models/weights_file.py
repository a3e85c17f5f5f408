"""Weights as a safetensors file, whose header holds what else a checkpoint for tracking does."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SAFETENSORS = ".safetensors"  # how the name of such a file ends

_KEY = "mmg"  # of the header's text entries; "format" is what other readers of weights ask for
_FORMAT = 1


def write_weights(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write weights by name, and plain values about them, as JSON in the header.

    Raises:
        OSError: the file cannot be written.
    """
    header = {"format": "pt", _KEY: json.dumps({"format": _FORMAT, **about})}
    path.write_bytes(save({name: value.contiguous() for name, value in state.items()}, header))


def read_weights(path: Path) -> dict[str, Any]:
    """Return what the header says, with the weights by name under `model`, as a checkpoint has them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or was not written by `write_weights` of this version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dictionary
    except SafetensorError as error:
        raise ValueError(f"the checkpoint {path} is truncated or no safetensors file; copy it or export it again. "
                         f"{error}") from error  # fmt: skip
    try:
        about = json.loads(header.get(_KEY, "null"))
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise ValueError(f"{path} is a safetensors file of another program: its header has no entry {_KEY!r} as "
                         "tracking/export.py writes it")  # fmt: skip
    if about.get("format") != _FORMAT:
        raise ValueError(f"{path} has format {about.get('format')!r}, and this code reads {_FORMAT}: export it again "
                         "from its checkpoint")  # fmt: skip
    return {**about, "model": state}
