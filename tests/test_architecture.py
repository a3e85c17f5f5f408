"""The rules of the house, read off the code itself: who imports whom, and what no file may do."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "lib").rglob("*.py"))
COMMANDS = sorted((ROOT / "tracking").glob("[!_]*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Each room and the rooms it may import from, besides itself. None may import profiling, which imports what it measures;
# models and data do not know each other, and neither do train and eval.
ALLOWED = {
    "box": set(),
    "config": set(),
    "files": set(),
    "draw": {"files"},
    "mp4": {"data", "draw", "files"},
    "models": {"config", "box"},
    "data": {"config", "box", "files"},
    "tracker": {"models", "data", "config", "box", "draw", "mp4", "files"},
    "train": {"models", "data", "config", "box", "draw", "files"},
    "eval": {"tracker", "models", "data", "config", "box", "draw", "mp4", "files"},
    "profiling": {"train", "eval", "tracker", "models", "data", "config", "box", "draw", "files"},
}
# Rooms that only read results: no network and no tracker, and nothing that runs one.
READERS = {"lib.eval.score", "lib.eval.report"}
RUNNERS = ("torch", "timm", "lib.models", "lib.tracker", "lib.eval.run", "lib.eval.vot")
# Inside lib.models, only these meet the config.
CONFIG_IN_MODELS = {"build.py", "trained.py", "network.py"}
OPTIONAL = {"vot", "trax", "onnx", "onnxruntime", "onnxscript", "jpeg4py", "lmdb", "pycocotools", "wandb"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """Return the dotted names that a file imports, and whether each import stands at the top of the file."""
    tree = parsed(path)
    top = set(tree.body)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert all(alias.name != "*" for alias in node.names), f"{path}: star import"
            found.append((node.module or "", node in top))
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT / "lib").with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_the_plan_allows(path):
    if path.parent == ROOT / "lib" and path.name == "__init__.py":
        return
    own = room(path)
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[0] == "tracking":
            pytest.fail(f"{path}: lib imports a command")
        if parts[0] != "lib" or len(parts) < 2 or parts[1] == own:
            continue
        assert parts[1] in ALLOWED[own], f"{path}: lib.{own} may not import lib.{parts[1]}"
        if own == "models" and parts[1] == "config" and parts[-1] != "text":
            assert path.name in CONFIG_IN_MODELS, (
                f"{path}: models take plain arguments; only {CONFIG_IN_MODELS} know the config"
            )


@pytest.mark.parametrize("room", sorted(READERS))
def test_scores_and_reports_import_no_network_and_no_tracker(room):
    files = sorted(ROOT.joinpath(*room.split(".")).glob("*.py"))
    assert len(files) > 5
    for path in files:
        for name, _ in imports(path):
            assert not f"{name}.".startswith(tuple(f"{each}." for each in RUNNERS)), f"{path}: {room} imports {name}"


def test_every_optional_package_is_imported_in_one_file():
    users: dict[str, set[Path]] = {}
    for path in FILES + COMMANDS:
        for name, _ in imports(path):
            package = name.split(".")[0]
            if package in OPTIONAL:
                users.setdefault(package, set()).add(path)
    for package, paths in users.items():
        assert len(paths) == 1, f"{package} is imported in {paths}"


@pytest.mark.parametrize("path", FILES + COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_broad_except_and_no_path_edits(path):
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            name = node.type.id if isinstance(node.type, ast.Name) else ""
            reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            # The one boundary is a sequence in the runner, whose traceback is recorded.
            boundary = path.relative_to(ROOT).parts[:2] == ("lib", "eval") and "traceback" in ast.dump(node)
            assert node.type is not None, f"{path}:{node.lineno}: bare except"
            if name in {"Exception", "BaseException"}:
                assert reraises or boundary, f"{path}:{node.lineno}: a broad except hides errors"
        if isinstance(node, ast.Attribute) and node.attr == "path" and isinstance(node.value, ast.Name):
            assert node.value.id != "sys", f"{path}:{node.lineno}: edits or reads sys.path"


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_commands_are_thin(path):
    tree = parsed(path)
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert "main" in names
    assert not [node for node in tree.body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_forbidden_names_and_calls(path):
    assert path.stem not in {"utils", "misc", "common", "helpers"}
    assert "weights_only=False" not in path.read_text(encoding="utf-8")
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "hasattr"}, f"{path}:{node.lineno}: {node.func.id}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            keywords = {keyword.arg for keyword in node.keywords}
            if owner == "torch":
                assert "weights_only" in keywords, f"{path}:{node.lineno}: torch.load without weights_only"
            assert owner not in {"pickle", "yaml"}, f"{path}:{node.lineno}: {owner}.load can run code"


def module_names(tree: ast.AST) -> dict[str, str]:
    """Return, by what a file calls them, the modules of this project that it imports."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    places = {name: ROOT.joinpath(*module.split(".")) for name, module in names.items()}
    return {name: names[name] for name, at in places.items() if at.is_dir() or at.with_suffix(".py").is_file()}


def is_private(name: object) -> bool:
    return str(name).startswith("_") and not str(name).startswith("__")


@pytest.mark.parametrize("path", FILES + COMMANDS + TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_stay_in_their_file(path):
    """None is imported, and none of a module is read or, by monkeypatch, set."""
    tree = parsed(path)
    modules = module_names(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"lib", "conftest"}:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names if is_private(alias.name)]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found += [(node.lineno, f"{modules[node.value.id]}.{node.attr}")] if is_private(node.attr) else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            target = [arg.value if isinstance(arg, ast.Constant) else ast.unparse(arg) for arg in node.args[:2]]
            module, _, name = ".".join(map(str, target)).rpartition(".")
            if is_private(name) and (module in modules or module.startswith("lib.")):
                found.append((node.lineno, f"{module}.{name}"))
    assert not found, f"{path}: private names of other files: {found}"
