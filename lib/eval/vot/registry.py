"""The VOT toolkit's list of trackers: how each is started."""

import configparser
import hashlib
import re
import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lib.config.load import find_experiment
from lib.config.text import read_text
from lib.files import whole_file
from lib.models.trained import RUNS, file_sha256, find_checkpoint
from lib.tracker import TrackerSpec
from lib.tracker.masks import MaskSpec

ORACLE = "oracle"  # answers the ground truth
_TIMEOUT = 300  # seconds for one answer, the loading of the weights included; the toolkit's own 30 may be too few


@dataclass(frozen=True)
class VotEntry:
    """A tracker as the toolkit knows it: how it is started from any folder, and the files with weights it will read."""

    name: str
    command: tuple[str, ...]
    weights: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for a name that the toolkit would pass over, or a command of more than one line."""
        if not re.fullmatch("[a-zA-Z0-9_-]+", self.name):
            raise ValueError(f"the toolkit takes no tracker called {self.name!r}: give --name letters, digits, - and _")
        for word in self.command:
            if not word.isprintable():  # what stands behind a line's end would be a section or a key of its own
                raise ValueError(f"{word!r} cannot stand in the toolkit's list of trackers: rename the file")


def describe_oracle(program: Path, masks: MaskSpec | None = None, name: str | None = None) -> VotEntry:
    """Return the entry of the tracker that answers the ground truth, or with a backend masks of its boxes.

    `program` is `tracking/vot.py`; the name is by default `oracle`, with the backend's.
    """
    own = ORACLE if masks is None else f"{ORACLE}_{masks.name}"
    words = [sys.executable, str(program.resolve()), ORACLE]
    return _entry(name or own, words, [], masks.device if masks else "auto", masks)


def describe_tracker(program: Path, tracker: TrackerSpec, masks: MaskSpec, name: str | None = None) -> VotEntry:
    """Return the entry of a tracker.

    Where it names no checkpoint, it gets the newest of `runs/<config>` below the current folder, and without a config
    what `default_weights` chooses. The name is by default that of the config or else of the tracker, with the backend's
    unless that is `box`.
    """
    tracker = tracker.with_weights()
    words = [sys.executable, str(program.resolve()), tracker.name]
    weights = []
    if tracker.trained:
        if tracker.config is not None:
            is_path = Path(tracker.config).suffix in {".yaml", ".yml"}
            words += ["--config", str(find_experiment(tracker.config).resolve()) if is_path else tracker.config]
        checkpoint = tracker.checkpoint or RUNS / tracker.config_name / "latest.pth"  # perhaps still to be trained
        with suppress(FileNotFoundError):
            checkpoint = find_checkpoint(tracker.config, tracker.checkpoint)
        weights.append(checkpoint.resolve())
        words += ["--checkpoint", str(weights[-1])]
    own = tracker.config_name if tracker.trained else tracker.name
    own = own if masks.name == "box" else f"{own}_{masks.name}"
    return _entry(name or own, words, weights, tracker.device, masks)


def _entry(name: str, words: list[str], weights: list[Path], device: str, masks: MaskSpec | None) -> VotEntry:
    """Return an entry whose command ends with the backend and the digest of all weights that are there."""
    if device != "auto":
        words += ["--device", device]
    if masks is not None:
        words += ["--masks", masks.name]
        if masks.checkpoint is not None:
            weights.append(masks.checkpoint.resolve())
            words += ["--refine-checkpoint", str(weights[-1])]
        if masks.threshold is not None:
            words += ["--mask-threshold", str(masks.threshold)]
    if weights and all(path.is_file() for path in weights):
        words += ["--weights-digest", weights_digest(weights)]
    return VotEntry(name, tuple(words), tuple(weights))


def weights_digest(paths: Iterable[Path]) -> str:
    """Return what stands for the contents of weight files: the first digits of a SHA-256 over theirs."""
    return hashlib.sha256("".join(file_sha256(path) for path in paths).encode()).hexdigest()[:16]


def add_tracker(folder: Path, entry: VotEntry) -> bool:
    """Add a tracker to a workspace's `trackers.ini`, or replace one of the same name that has no results yet.

    What else is written in the file stays as it is. Returns False when the same tracker was there already, and raises
    ValueError when another one has the name, and results.
    """
    path = folder / "trackers.ini"
    settings = {
        "label": entry.name,
        "protocol": "trax",
        "command": shlex.join(entry.command),
        "timeout": str(_TIMEOUT),
        # The toolkit reads its tracker's output byte by byte, and loses the connection over a letter of two.
        "env_PYTHONIOENCODING": "ascii:backslashreplace",
    }
    text = read_text(path) if path.exists() else ""
    known = configparser.RawConfigParser()
    try:
        known.read_string(text)
    except configparser.Error as error:
        raise ValueError(f"{path} is no list of trackers: {' '.join(str(error).split())}") from error
    if known.has_section(entry.name):
        command = known.get(entry.name, "command", fallback="")
        if command == settings["command"].replace("%", "%%"):
            return False
        results = folder / "results" / entry.name
        if any(item.is_file() for item in results.rglob("*")):
            raise ValueError(f"the tracker {entry.name} of {path} has results, made by {command!r}: choose a --name, "
                             f"or remove {results} and {folder / 'cache'}")  # fmt: skip
        text = re.sub(rf"^\[{entry.name}\]\n(?:(?!\[).*(?:\n|\Z))*", "", text, flags=re.MULTILINE)
    if text and not text.endswith("\n"):
        text += "\n"
    # A percent sign would refer to another key.
    lines = [f"[{entry.name}]", *(f"{key} = {value.replace('%', '%%')}" for key, value in settings.items()), "\n"]
    with whole_file(path) as partial:
        partial.write_text(text + "\n".join(lines), encoding="utf-8")
    return True
