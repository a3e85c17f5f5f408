"""What boxes depend on besides the weights, as short texts that can be compared: code, packages, videos."""

import ast
import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path

import cv2

from lib.data.sequence import Sequence

_LIB = Path(__file__).resolve().parents[1]
BOXES = ("tracker/__init__.py", "tracker/lockstep.py", "data/frames.py")
MASKS = ("tracker/refine.py", "data/frames.py")
_ROOMS = ("lib.box", "lib.data.", "lib.models.", "lib.tracker.")  # not the config: a record states its settings


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that boxes depend on."""
    versions = {"python": platform.python_version(), "opencv": cv2.__version__}
    versions.update({package: metadata.version(package) for package in ("numpy", "torch", "timm")})
    return versions


@functools.cache
def code_sha256(starts: tuple[str, ...] = BOXES) -> str:
    """Return the SHA-256 of the code that makes results: `starts`, files of lib, and all that these import.

    Comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256()
    for path in code_files(starts):
        digest.update(f"{path.relative_to(_LIB).as_posix()}\n{bare_code(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()


def code_files(starts: tuple[str, ...]) -> list[Path]:
    """Return the files that make results, `starts` and what they import, in the order of their names."""
    found: set[Path] = set()
    waiting = [_LIB / start for start in starts]
    while waiting:
        path = waiting.pop()
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(_ROOMS):
                imported = _LIB.parent.joinpath(*node.module.split(".")).with_suffix(".py")
                if imported.is_file() and imported not in found:
                    waiting.append(imported)
    return sorted(found)


def bare_code(source: str) -> str:
    """Return Python code without comments, docstrings and its own layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def video_fingerprint(sequence: Sequence) -> str:
    """Tell a video from others of the same name by what a tracker starts from: length, first box, first picture.

    Raises:
        ValueError, OSError: the first picture cannot be read.
    """
    picture = sequence.frames[0]
    box = ",".join(f"{value:.4f}" for value in sequence.boxes_xywh[0])
    digest = hashlib.sha256(f"{len(sequence)} {box} {picture.shape}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()[:16]
