"""`run.json` in a folder of results: whose they are. Results of different runs are never mixed there."""

import dataclasses
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.eval.replaced import set_aside
from lib.eval.results import ASIDE, RECORD_NAME, ResultFiles, write_whole

# Packages whose minor release may change boxes visibly; others, and patches, are remarked on.
_DECISIVE = ("onnxruntime", "opencv", "timm", "torch")
_DAMAGED_CURE = "tracking/test.py --overwrite tracks anew, or remove this file to score the results as they are"
_CURE = "give --overwrite to replace them, or another --config or --results-dir to keep both"
_LEFT_BEHIND = 600  # seconds; an unfinished file that old has no writer any more


@dataclass(frozen=True)
class RunRecord:
    """Whose results a folder holds.

    Attributes:
        tracker, config, benchmark: the names that make up the folder's path.
        checkpoint_sha256: of the file with the weights; None for a tracker without.
        settings: the config's `track` section; None for a tracker without.
        versions: of the packages that boxes depend on.
        code: of the code that makes boxes, `fingerprint.code_sha256`; None in records of earlier versions, which noted
            a hash of files that cannot be computed any more since these have moved.
        videos: `fingerprint.video_fingerprint` by sequence.
        batch: sequences that advanced at once, so that the time of a frame is that of a step divided by their number;
            the network's answers may differ in their last digits, too.
    """

    tracker: str
    config: str
    benchmark: str
    checkpoint_sha256: str | None
    settings: dict[str, Any] | None
    versions: dict[str, str]
    code: str | None = None
    videos: dict[str, str] = field(default_factory=dict)
    batch: int = 1


def read_record(folder: Path) -> RunRecord | None:
    """Return what the folder's `run.json` says, or None when it has none.

    Raises:
        ValueError: it cannot be understood.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        record = RunRecord(**{name: value for name, value in fields.items() if name != "code_sha256"})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the record of a run ({error}); {_DAMAGED_CURE}") from error
    if not isinstance(record.versions, dict) or not isinstance(record.videos, dict):
        raise ValueError(f"{path}: not the record of a run (no versions or videos); {_DAMAGED_CURE}")
    return record


def describe_difference(before: RunRecord, now: RunRecord) -> str | None:
    """Say in what two records differ so that their results must not be mixed, or return None."""
    one, other = _identity(before), _identity(now)
    if before.code is None:
        other.pop("code", None)
    for what in {**one, **other}:
        if one.get(what) != other.get(what):
            return f"{what} {one.get(what)}, now {other.get(what)}"
    return None


def claim_folder(folder: Path, record: RunRecord, overwrite: bool, sequences: Iterable[str] = ()) -> str | None:
    """Make the folder ready for the results of `record`, never mixing them with another's.

    Args:
        folder: made when missing.
        record: of the run that starts now.
        overwrite: set results aside instead of refusing: those of `sequences`, or all of them where they are
            another run's. See `lib.eval.replaced`.
        sequences: what the run will track.

    Returns:
        A remark for the user, when earlier results stay that were made with slightly other packages, or by a version
        of this program whose code cannot be compared.

    Raises:
        ValueError: the folder holds results of another tracker, config, benchmark, checkpoint, code, release of a
            package or video, or of nobody knows whom.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        present = read_record(folder)
        stranger = _stranger(folder, present, record)
    except ValueError as error:
        present, stranger = None, str(error)
    conflict = stranger or _other_video(folder, present, record)
    if conflict and not overwrite:
        raise ValueError(conflict)
    if overwrite:
        set_aside(folder, None if stranger else sequences)
    remark = None
    written = record
    if present and not stranger and any(folder.glob("*.txt")):
        kept = {"versions": present.versions, "code": present.code}
        written = dataclasses.replace(record, **kept, videos={**present.videos, **record.videos})
        if present.code is None and record.code is not None:
            remark = f"{folder}: earlier results there are of a version whose code cannot be compared with today's"
        if present.versions != record.versions:
            changed = sorted(name for name in record.versions if present.versions.get(name) != record.versions[name])
            remark = f"{folder}: earlier results there were made with other versions of {', '.join(changed)}"
    if written != present:
        write_whole({folder / RECORD_NAME: json.dumps(dataclasses.asdict(written), indent=2) + "\n"})
    _remove_left_behind(folder)
    return remark


def _identity(record: RunRecord) -> dict[str, Any]:
    """Return, by a name for the user, all that must be the same for results to be of one run."""
    releases = {name: ".".join(record.versions.get(name, "").split("+")[0].split(".")[:2]) for name in _DECISIVE}
    return {
        "tracker": record.tracker,
        "config": record.config,
        "benchmark": record.benchmark,
        "checkpoint_sha256": record.checkpoint_sha256,
        **{f"settings.{key}": value for key, value in (record.settings or {}).items()},
        **({"code": record.code} if record.code else {}),
        "batch": record.batch,
        **{f"release of {name}": release for name, release in releases.items()},
    }


def _stranger(folder: Path, present: RunRecord | None, record: RunRecord) -> str | None:
    """Say why results of `record` must not go into the folder at all, or return None when they may."""
    if present is None:
        if any(folder.glob("*.txt")):
            return f"{folder} holds result files but no {RECORD_NAME} that says whose they are: {_CURE}"
        return None
    difference = describe_difference(present, record)
    return f"{folder} holds results of another run ({difference}): {_CURE}" if difference else None


def _remove_left_behind(folder: Path) -> None:
    for path in folder.glob(f"*{ASIDE}"):
        with suppress(FileNotFoundError):  # another run finishes it or removes it just now
            if time.time() - path.stat().st_mtime > _LEFT_BEHIND:
                path.unlink()


def _other_video(folder: Path, present: RunRecord | None, record: RunRecord) -> str | None:
    """Say which results are of other videos with the same names, or return None when there are none."""
    if present is None:
        return None
    others = [
        sequence
        for sequence, fingerprint in record.videos.items()
        if present.videos.get(sequence, fingerprint) != fingerprint and ResultFiles(folder, sequence).boxes.is_file()
    ]
    if not others:
        return None
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return (
        f"{folder} holds results of other videos called {others[0]}{more}, with another number of frames, first box "
        "or first picture. Is this another --root, or has the data set changed? Give --overwrite to replace them, or "
        "another --results-dir to keep both"
    )
