"""What boxes depend on besides the weights, as short texts that can be compared: code, packages, videos."""

import ast
import copy
import functools
import hashlib
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cv2

from lib.data.sequence import Sequence

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = re.compile(r"lib\.(box|data|models|tracker)\b")  # not the config: a record states its settings


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that boxes depend on."""
    versions = {"python": platform.python_version(), "opencv": cv2.__version__}
    versions.update({package: metadata.version(package) for package in ("numpy", "torch", "timm")})
    return versions


@functools.cache
def code_sha256(starts: tuple[type, ...]) -> str:
    """Return the SHA-256 of the code that makes results: the classes `starts`, and every definition that these use.

    Comments, docstrings, layout and the files where definitions stand do not count.
    """
    used = used_code([(start.__module__, start.__name__) for start in starts])
    return hashlib.sha256("\n".join(sorted(set(used.values()))).encode()).hexdigest()


def used_code(starts: Iterable[tuple[str, str]], root: Path = _ROOT) -> dict[tuple[str, str], str]:
    """Return the bare code of `starts` and of all that these use, by module and name.

    Args:
        starts: a module, such as "lib.box", and the name of what it defines, each.
        root: folder of the package lib.
    """
    modules: dict[str, _Module] = {}
    found: dict[tuple[str, str], str] = {}
    waiting = list(starts)
    while waiting:
        name, definition = waiting.pop()
        if name not in modules:
            modules[name] = _read_module(name, root)
            waiting.append((name, ""))
        module = modules[name]
        statements = module.definitions.get(definition, [])
        if (name, definition) in found:
            continue
        if not statements and definition in module.imports:  # handed on
            waiting.append(module.imports[definition])
            continue
        if not statements and definition and _module_file(f"{name}.{definition}", root):
            inner = f"{name}.{definition}"
            modules[inner] = _read_module(inner, root)
            waiting += [(inner, each) for each in modules[inner].definitions]
            continue
        found[name, definition] = "\n".join(bare_code(statement) for statement in statements)
        for statement in statements:
            waiting += _imports(statement).values()
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and node.id in module.definitions:
                    waiting.append((name, node.id))
                elif isinstance(node, ast.Name) and node.id in module.imports:
                    waiting.append(module.imports[node.id])
    return {key: code for key, code in found.items() if code}


def bare_code(tree: ast.AST) -> str:
    """Return Python code without comments, docstrings, imports of this project and its own layout."""
    return ast.unparse(_Bare().visit(copy.deepcopy(tree)))


class _Bare(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
            node.body = node.body or [ast.Pass()]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if _ROOMS.match(node.module or "") else node


@dataclass(frozen=True)
class _Module:
    """What a module defines, by name ("" for statements that define nothing), and what its names are imported from."""

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, tuple[str, str]]


def _read_module(name: str, root: Path) -> _Module:
    path = _module_file(name, root)
    if path is None:
        raise ModuleNotFoundError(f"no module {name} below {root}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_text(statement):
            continue
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names = {statement.name}
        else:
            names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _is_set(node)} or {""}
        for each in names:
            definitions.setdefault(each, []).append(statement)
    return _Module(definitions, _imports(tree))


def _module_file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _imports(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """Return module and name of what is imported from the rooms that count, by the name it gets."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and _ROOMS.match(node.module)
        for alias in node.names
    }


def _is_set(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


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
