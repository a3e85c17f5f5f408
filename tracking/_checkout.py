"""Makes a command use the `lib` of its own copy of the project, and says in one line what is not installed.

A command run as a script imports this first; the installed commands, `mmg-test` and so on, do without.
"""

import importlib.util
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_NEEDED = ("torch", "torchvision", "timm", "numpy", "cv2", "yaml", "safetensors", "tqdm", "matplotlib", "tensorboard")


def _use_own_lib() -> None:
    found = importlib.util.find_spec("lib")
    if found is not None and (found.origin is None or not (_ROOT / "lib" / "__init__.py").samefile(found.origin)):
        other = found.origin or next(iter(found.submodule_search_locations or ()), "")
        print(f"warning: another `lib` ({other}) is passed over for {_ROOT / 'lib'}: take it off PYTHONPATH, or "
              "uninstall it", file=sys.stderr)  # fmt: skip
    sys.path.insert(0, str(_ROOT))


def _require_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"error: {sys.executable} lacks {', '.join(missing)}: run `pip install -r requirements.txt` in {_ROOT}, "
              "or `make demo`, whose environment is then run as .venv/bin/python", file=sys.stderr)  # fmt: skip
        sys.exit(2)


_use_own_lib()
_require_packages()
