"""Where the data sets lie on this machine: one YAML, environment variables, nothing generated."""

import os
from pathlib import Path

from lib.config.load import EXPERIMENTS, read_flat
from lib.config.text import suggest

PATHS_FILE = EXPERIMENTS / "paths.yaml"


def dataset_root(name: str, known: list[str], paths_file: Path | None = None) -> Path | None:
    """Return the folder of a data set, or None when nothing states it.

    Looked up in this order: the environment variable `MMG_<NAME>` (`MMG_LASOT=/data/lasot`), then the paths file
    (`--paths`, else `experiments/paths.yaml`, copied from `paths.example.yaml`). `~` and `$NAME` are filled in.

    Args:
        name: the data set's.
        known: names that a paths file may hold; another one is an error.
        paths_file: instead of `experiments/paths.yaml`; must exist when given.

    Raises:
        FileNotFoundError: `paths_file` does not exist.
        ValueError: the paths file is not a mapping of known names to folders, or names an environment variable that is
            not set.
    """
    variable = f"MMG_{name.upper()}"
    from_environment = os.environ.get(variable)
    if from_environment:
        return expand(from_environment, variable)
    if paths_file is None and not PATHS_FILE.is_file():
        return None
    file = paths_file or PATHS_FILE
    if not file.is_file():
        raise FileNotFoundError(f"the paths file {file} does not exist; copy experiments/paths.example.yaml to it")
    paths = read_flat(file)
    for key, folder in paths.items():
        if key not in known:
            raise ValueError(f"{folder.place}: unknown data set {key!r}{suggest(key, known)}")
        if folder.plain is not None and not isinstance(folder.plain, str):
            raise ValueError(f"{folder.place}: {key}: the folder must be text, got {folder.plain!r}")
    folder = paths.get(name)
    return expand(folder.plain, f"{folder.place}: {name}") if folder is not None and folder.plain else None


def expand(folder: str, place: str) -> Path:
    """Fill in `~` and `$NAME`; ValueError, which begins with `place`, where there is no such user or variable."""
    expanded = os.path.expandvars(folder)
    if "$" in expanded:
        raise ValueError(f"{place}: the folder {folder!r} names an environment variable that is not set")
    try:
        return Path(expanded).expanduser()
    except RuntimeError as error:  # of a user that the system does not know, as in containers
        raise ValueError(f"{place}: {folder!r} is in the home of a user that this system does not know") from error
