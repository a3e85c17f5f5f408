"""What a run was computed with: code, packages, devices and data, kept in `environment.json` beside its checkpoints."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lib.config.text import is_a, parse_json
from lib.data.sequence import SequenceDataset
from lib.data.synthetic.record import SceneDataset
from lib.files import whole_file
from lib.train import distributed
from lib.train.log import set_aside

FILE = "environment.json"
_PACKAGES = ("torch", "timm", "numpy", "simplejpeg")
_VIDEOS_READ = 16  # whose boxes enter a data set's fingerprint; reading all of them may take minutes
ROOT = Path(__file__).resolve().parents[2]


def describe_environment(device: torch.device, datasets: Mapping[str, SequenceDataset]) -> dict[str, str]:
    """Return short texts by dotted name: code, packages, device, processes, and a fingerprint of each data set.

    The data sets are named `dataset:split`.
    """
    found = {"code": code_version(), "python": platform.python_version(), "machine": platform.machine()}
    found["processes"] = str(distributed.world_size())
    found |= {f"packages.{name}": _package_version(name) for name in _PACKAGES} | {"packages.opencv": cv2.__version__}
    found["cuda"] = str(torch.version.cuda)
    found["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"
    return found | {f"data.{name}": fingerprint(dataset) for name, dataset in datasets.items()}


def record_environment(run: Path, step: int, found: Mapping[str, str]) -> list[str]:
    """Add the environment to the run's record if it is the first or another than before.

    Returned is a line for each thing that is not as it was when the run last started.
    """
    path = run / FILE
    starts: list[dict[str, Any]] = []
    before = dict(found)
    if path.is_file():
        try:
            starts = parse_json(path.read_bytes())
            before = dict(starts[-1]["environment"])
            if not is_a(starts, list[dict[str, int | dict[str, str]]]):
                raise ValueError
        except (ValueError, LookupError, TypeError) as error:
            set_aside(path, f"it is no record of an environment ({type(error).__name__})")
            starts, before = [], dict(found)
    changes = [
        f"{name} was {before.get(name, 'absent')}, and is {found.get(name, 'absent')} now"
        for name in sorted(before.keys() | found.keys())
        if before.get(name) != found.get(name)
    ]
    if changes or not starts:
        starts.append({"from_step": step, "environment": dict(found)})
        with whole_file(path) as aside:
            aside.write_text(json.dumps(starts, indent=1) + "\n", encoding="utf-8")
    return changes


def code_version() -> str:
    """Return what git calls this code, with `-dirty` where files differ; without git, the package's version."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "describe", "--always", "--tags", "--dirty"]
        try:
            described = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            return described.stdout.strip()
        except (OSError, subprocess.SubprocessError):  # no git, or another user's repository
            pass
    return f"{_package_version('mmg-tracker')} without git"


def fingerprint(dataset: SequenceDataset) -> str:
    """Return the number of videos and a hash of their names and of a few of their boxes."""
    digest = hashlib.sha256()
    chosen = np.linspace(0, len(dataset) - 1, num=min(_VIDEOS_READ, len(dataset)), dtype=int).tolist()
    if isinstance(dataset, SceneDataset):
        boxes = [dataset.scene(index, difficulty=1.0).label(0).box_xywh for index in chosen]
    else:
        boxes = [dataset[index].boxes_xywh for index in chosen]
        for name in dataset.names:
            digest.update(name.encode() + b"\n")
    for array in boxes:
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"{len(dataset)} videos, {digest.hexdigest()[:16]}"


def _package_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
