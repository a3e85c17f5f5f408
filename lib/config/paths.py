"""Where the data sets lie on this machine: one YAML, environment variables, nothing generated."""

import os
from pathlib import Path

import yaml

from lib.config.load import EXPERIMENTS
from lib.config.suggest import suggest

PATHS_FILE = EXPERIMENTS / "paths.yaml"


def dataset_root(name: str, known: list[str], paths_file: Path | None = None) -> Path | None:
    """Return the folder of a data set, or None when nothing states it.

    Looked up in this order: the environment variable `MMG_<NAME>` (`MMG_LASOT=/data/lasot`), then the paths file
    (`--paths`, else `experiments/paths.yaml`, copied from `paths.example.yaml`).

    Args:
        name: the data set's.
        known: names that a paths file may hold; another one is an error.
        paths_file: instead of `experiments/paths.yaml`; must exist when given.

    Raises:
        FileNotFoundError: `paths_file` does not exist.
        ValueError: the paths file is not a mapping of known names to folders.
    """
    from_environment = os.environ.get(f"MMG_{name.upper()}")
    if from_environment:
        return Path(from_environment).expanduser()
    if paths_file is None and not PATHS_FILE.is_file():
        return None
    file = paths_file or PATHS_FILE
    try:
        paths = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(paths, dict):
        raise ValueError(f"{file}: write one `dataset: folder` a line, got {paths!r}")
    for key, folder in paths.items():
        if key not in known:
            raise ValueError(f"{file}: unknown data set {key!r}{suggest(str(key), known)}")
        if folder is not None and not isinstance(folder, str):
            raise ValueError(f"{file}: {key}: the folder must be text, got {folder!r}")
    folder = paths.get(name)
    return Path(folder).expanduser() if folder else None
