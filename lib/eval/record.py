"""`run.json` in a folder of results: whose they are, by code, packages and videos. Different runs never mix there.

When results are scored, the picture that a record tells videos by need not be at hand, and takes long to read. But
whatever a run writes has one row for each frame and begins with the box that the tracker was given.
"""

import ast
import copy
import dataclasses
import functools
import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.config.schema import Track
from lib.config.text import record_from_json
from lib.data.sequence import Sequence
from lib.eval.results import RECORD_NAME, ResultFiles, set_aside, write_whole

# Packages whose minor release may change boxes visibly; others, and patches, are remarked on.
_DECISIVE = ("onnxruntime", "opencv", "timm", "torch")
_DAMAGED_CURE = "tracking/test.py --overwrite tracks anew, or remove this file to score the results as they are"
_CURE = "give --overwrite to replace them, or another --config or --results-dir to keep both"
_ACCEPT = "give --accept-changes to go on with them all the same, which the record then states"
_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = re.compile(r"lib\.(box|data|models|tracker)\b")  # not the config: a record states its settings
_RELEASE = "release of "  # begins what tells a package's release
_TOLERANCE = 1e-3  # pixels; results have four digits after the point
_NUM_LISTED = 10


@dataclass(frozen=True)
class RunRecord:
    """Whose results a folder holds.

    Attributes:
        tracker, config, benchmark: the names that make up the folder's path.
        checkpoint_sha256: of the file with the weights; None for a tracker without.
        settings: the config's `track` section; None for a tracker without.
        code: of the code that makes boxes, `code_sha256`; None in records of earlier versions, which noted
            a hash of files that cannot be computed any more since these have moved.
        videos: `video_fingerprint` by sequence.
        earlier: in what code or packages differed with which a part of the results was made, where a user accepted it.
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
    earlier: tuple[str, ...] = ()


def read_record(folder: Path) -> RunRecord | None:
    """Return what the folder's `run.json` says, or None when it has none; ValueError where it says nothing sensible."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        return record_from_json(RunRecord, path.read_bytes(), gone=("code_sha256",))
    except ValueError as error:
        raise ValueError(f"{path}: not the record of a run ({error}); {_DAMAGED_CURE}") from error


def describe_differences(before: RunRecord, now: RunRecord) -> dict[str, str]:
    """Say, by what differs, in what two records differ so that their results must not be mixed."""

    def shown(value: object) -> object:
        return value[:12] if isinstance(value, str) and len(value) == 64 else value  # a hash

    one, other = _identity(before), _identity(now)
    if before.code is None:
        other.pop("code", None)
    return {
        what: f"{what} {shown(one.get(what))}, now {shown(other.get(what))}"
        for what in {**one, **other}
        if one.get(what) != other.get(what)
    }


def _identity(record: RunRecord) -> dict[str, Any]:
    """Return, by a name for the user, all that must be the same for results to be of one run."""
    # A key that is younger than the record had its default then.
    defaults = {
        each.name: each.default for each in dataclasses.fields(Track) if each.default is not dataclasses.MISSING
    }
    settings = {} if record.settings is None else record.settings | defaults | record.settings
    releases = {name: ".".join(record.versions.get(name, "").split("+")[0].split(".")[:2]) for name in _DECISIVE}
    return {
        "tracker": record.tracker,
        "config": record.config,
        "benchmark": record.benchmark,
        "checkpoint_sha256": record.checkpoint_sha256,
        **{f"settings.{key}": value for key, value in settings.items()},
        **({"code": record.code} if record.code else {}),
        "batch": record.batch,
        **{f"{_RELEASE}{name}": release for name, release in releases.items()},
    }


def claim_folder(
    folder: Path, record: RunRecord, overwrite: bool, sequences: Iterable[str] = (), *, accept_changes: bool = False
) -> str | None:
    """Make the folder ready for the results of `record`, of the run that starts now, never mixing them with another's.

    Args:
        folder: made when missing.
        overwrite: set results aside instead of refusing: those of the `sequences` that the run will track, or all of
            them where they are another run's.
        accept_changes: go on where nothing but code or packages have changed; the record then says in what.

    Returned is a remark for the user, when earlier results stay that were made with slightly other packages or by code
    that cannot be compared. Raises ValueError for results of another tracker, config, benchmark, checkpoint, code,
    release of a package or video, or of nobody knows whom.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        present = read_record(folder)
        stranger = _stranger(folder, present, record, accept_changes)
    except ValueError as error:
        present, stranger = None, str(error)
    conflict = stranger or (present and _other_video(folder, present, record))
    if conflict and not overwrite:
        raise ValueError(conflict)
    if overwrite:
        set_aside(folder, None if stranger else sequences)
    remark, written = None, record
    if present and not stranger and any(folder.glob("*.txt")):
        changes = tuple(describe_differences(present, record).values())
        kept = {} if changes else {"versions": present.versions, "code": present.code}
        videos, earlier = {**present.videos, **record.videos}, (*present.earlier, *changes)
        written = dataclasses.replace(record, **kept, videos=videos, earlier=earlier)
        changed = sorted(name for name in record.versions if present.versions.get(name) != record.versions[name])
        if earlier:
            remark = f"results there were made with more than one state of code or packages: {'; '.join(earlier)}"
        elif present.versions != record.versions:
            remark = f"earlier results there were made with other versions of {', '.join(changed)}"
        elif present.code is None and record.code is not None:
            remark = "earlier results there are of a version whose code cannot be compared with today's"
    if written != present:
        write_whole(folder / RECORD_NAME, json.dumps(dataclasses.asdict(written), indent=2) + "\n")
    return f"{folder}: {remark}" if remark else None


def _stranger(folder: Path, present: RunRecord | None, record: RunRecord, accept_changes: bool) -> str | None:
    """Say why results of `record` must not go into the folder at all, or return None when they may."""
    if not any(folder.glob("*.txt")):
        return None
    if present is None:
        return f"{folder} holds result files but no {RECORD_NAME} that says whose they are: {_CURE}"
    differences = describe_differences(present, record)
    surroundings = all(what == "code" or what.startswith(_RELEASE) for what in differences)
    if not differences or (surroundings and accept_changes):
        return None
    difference = next(iter(differences.values()))
    if surroundings:
        return (
            f"{folder} holds results of this run that were made with other code or packages ({difference}): {_ACCEPT}"
        )
    return f"{folder} holds results of another run ({difference}): {_CURE}"


def _other_video(folder: Path, present: RunRecord, record: RunRecord) -> str | None:
    """Say which results are of other videos with the same names, or return None when there are none."""
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


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that boxes depend on."""
    versions = {package: metadata.version(package) for package in ("numpy", "torch", "timm")}
    return {"python": platform.python_version(), "opencv": cv2.__version__, **versions}


@functools.cache
def code_sha256(starts: tuple[type, ...]) -> str:
    """Return the SHA-256 of the code that makes results: the classes `starts`, and every definition that these use.

    Comments, docstrings, layout and the files where definitions stand do not count.
    """
    used = used_code([(start.__module__, start.__name__) for start in starts])
    return hashlib.sha256("\n".join(sorted(set(used.values()))).encode()).hexdigest()


def used_code(starts: Iterable[tuple[str, str]], root: Path = _ROOT) -> dict[tuple[str, str], str]:
    """Return the bare code of `starts`, modules such as "lib.box" and names in them, and of all that these use.

    `root` is the folder of the package lib.
    """
    modules: dict[str, tuple[dict[str, list[ast.stmt]], dict[str, tuple[str, str]]]] = {}
    found: dict[tuple[str, str], str] = {}
    waiting = list(starts)
    while waiting:
        name, definition = waiting.pop()
        if name not in modules:
            modules[name] = _read_module(name, root)
            waiting.append((name, ""))
        definitions, imports = modules[name]
        statements = definitions.get(definition, [])
        if (name, definition) in found:
            continue
        if not statements and definition in imports:  # handed on
            waiting.append(imports[definition])
            continue
        found[name, definition] = code = "\n".join(bare_code(statement) for statement in statements)
        for statement in statements:
            waiting += _imports(statement).values()
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Name) and node.id in definitions:
                waiting.append((name, node.id))
            elif isinstance(node, ast.Name) and node.id in imports:
                waiting.append(imports[node.id])
    return {key: code for key, code in found.items() if code}


def bare_code(tree: ast.AST) -> str:
    """Return Python code without comments, docstrings, what errors say, imports of this project and its own layout."""
    return ast.unparse(_Bare().visit(copy.deepcopy(tree)))


class _Bare(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
            node.body = node.body or [ast.Pass()]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if _ROOMS.match(node.module or "") else node


def _read_module(name: str, root: Path) -> tuple[dict[str, list[ast.stmt]], dict[str, tuple[str, str]]]:
    """Return what a module defines, by name ("" for what has none), and module and name of what it imports."""
    path = root.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):  # text
            continue
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names = {statement.name}
        else:
            found = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
            names = {node.id for node in found if isinstance(node.ctx, ast.Store)}
        for each in names or {""}:
            definitions.setdefault(each, []).append(statement)
    return definitions, _imports(tree)


def _imports(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """Return module and name of what is imported from the rooms that count, by the name it gets."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and _ROOMS.match(node.module)
        for alias in node.names
    }


def video_fingerprint(sequence: Sequence) -> str:
    """Tell a video from others of the same name by what a tracker starts from: length, first box, first picture."""
    picture = sequence.frames[0]
    box = ",".join(f"{value:.4f}" for value in sequence.boxes_xywh[0])
    digest = hashlib.sha256(f"{len(sequence)} {box} {picture.shape}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()[:16]


def other_video(boxes_xywh: np.ndarray, sequence: Sequence) -> str | None:
    """Say in what all rows of a recorded run's result, (N, 4), show that it is of another video, or return None."""
    if len(boxes_xywh) != len(sequence):
        return f"{len(boxes_xywh)} rows for {len(sequence)} frames"
    ours, given = boxes_xywh[0], sequence.boxes_xywh[0]
    # Written so that a box which is not a number differs, too.
    if not np.abs(ours - given).max() < _TOLERANCE:
        here, there = (",".join(f"{value:g}" for value in box_xywh) for box_xywh in (given, ours))
        return f"first box {there}, here {here}"
    return None


def refuse_other_videos(folder: Path, differences: Mapping[str, str]) -> None:
    """Raise ValueError naming the sequences, when there are any; `differences` are what `other_video` says of each."""
    if not differences:
        return
    listed = [f"{name} ({difference})" for name, difference in differences.items()]
    more = f" and {len(listed) - _NUM_LISTED} more" if len(listed) > _NUM_LISTED else ""
    raise ValueError(
        f"{folder} holds results of other videos than those at hand, under the same names: "
        f"{', '.join(listed[:_NUM_LISTED])}{more}; give the --root they were made on, or run tracking/test.py anew"
    )
