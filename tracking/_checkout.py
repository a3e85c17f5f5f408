"""Says in one line what to run where a command cannot find its own `lib` or the packages that it needs.

A command that is run as a script imports this first; the installed ones, `mmg-test` and so on, do without.
"""

import importlib.util
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_NEEDED = ("torch", "torchvision", "timm", "numpy", "cv2", "yaml", "safetensors", "tqdm", "matplotlib", "tensorboard")


def _obstacle() -> str | None:
    missing = [name for name in ("lib", *_NEEDED) if importlib.util.find_spec(name) is None]
    if missing:
        return (f"{sys.executable} does not find {', '.join(missing)}: run `pip install -r requirements.txt` in "
                f"{_ROOT}, or `make demo`, and then .venv/bin/python in its place")  # fmt: skip
    found = importlib.util.find_spec("lib")
    assert found is not None
    if found.origin is None or not (_ROOT / "lib" / "__init__.py").samefile(found.origin):
        other = found.origin or next(iter(found.submodule_search_locations or ()), "")
        return (f"{other} is what Python finds as `lib`, in place of {_ROOT / 'lib'}: take the other project off "
                f"PYTHONPATH, or install this one by `pip install -e {_ROOT}`")  # fmt: skip
    return None


if (_FOUND := _obstacle()) is not None:
    print(f"error: {_FOUND}", file=sys.stderr)
    sys.exit(2)
