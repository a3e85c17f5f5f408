"""The library TurboJPEG 3, found once and bound by ctypes. It may be missing.

It comes with libjpeg-turbo 3 (Conda, Homebrew, newer Linux distributions), else with the wheel `turbojpeg`.
"""

import ctypes
import functools
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

_NAMES = {"linux": "libturbojpeg.so.0", "darwin": "libturbojpeg.dylib", "win32": "turbojpeg.dll"}
_FOLDERS = {
    "darwin": ("/opt/homebrew/opt/jpeg-turbo/lib", "/usr/local/opt/jpeg-turbo/lib", "/opt/libjpeg-turbo/lib64"),
    "linux": ("/opt/libjpeg-turbo/lib64",),
    "win32": ("C:/libjpeg-turbo64/bin",),
}


class Region(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int), ("w", ctypes.c_int), ("h", ctypes.c_int))


class Factor(ctypes.Structure):
    _fields_ = (("num", ctypes.c_int), ("denom", ctypes.c_int))


WHOLE = Region(0, 0, 0, 0)
FACTORS = {reduction: Factor(1, reduction) for reduction in (1, 2, 4, 8)}


@functools.cache
def find_library() -> ctypes.CDLL | None:
    """Return TurboJPEG, None where it is missing or older than 3."""
    for path in candidates():
        try:
            return _declared(ctypes.CDLL(path))
        except (OSError, AttributeError):
            continue
    return None


def candidates() -> Iterator[str]:
    """List where the library may lie."""
    name = _NAMES.get(sys.platform)
    if name is None:
        return
    yield str(Path(sys.prefix) / "lib" / name)  # Conda
    yield name  # where the system looks
    for folder in _FOLDERS[sys.platform]:
        yield str(Path(folder) / name)
    # The wheel; it is not imported: another package has a module of the same name.
    spec = importlib.util.find_spec("turbojpeg")
    if spec is not None and spec.origin is not None:
        for folder in ("turbojpeg.libs", "turbojpeg.dylibs", ".dylibs"):
            yield from (str(path) for path in sorted((Path(spec.origin).parent / folder).glob("*turbojpeg*")))


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """State the types of the functions; raises AttributeError where one is missing."""
    handle, size = ctypes.c_void_p, ctypes.c_size_t
    library.tj3Init.argtypes, library.tj3Init.restype = (ctypes.c_int,), handle
    library.tj3Destroy.argtypes, library.tj3Destroy.restype = (handle,), None
    library.tj3DecompressHeader.argtypes = (handle, ctypes.c_char_p, size)
    library.tj3SetScalingFactor.argtypes = (handle, Factor)
    library.tj3SetCroppingRegion.argtypes = (handle, Region)
    library.tj3Decompress8.argtypes = (handle, ctypes.c_char_p, size, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    library.tj3GetErrorStr.argtypes, library.tj3GetErrorStr.restype = (handle,), ctypes.c_char_p
    return library
