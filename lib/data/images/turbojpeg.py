"""A rectangle of a JPEG, decoded without the rest: the TurboJPEG 3 library, bound by ctypes. It may be missing.

It comes with libjpeg-turbo 3 (Conda, Homebrew, newer Linux distributions), else with the wheel `turbojpeg`. What is
stored of the rows above must be gone through, but only the blocks of the rectangle are transformed into pixels.
"""

import ctypes
import functools
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_NAMES = {"linux": "libturbojpeg.so.0", "darwin": "libturbojpeg.dylib", "win32": "turbojpeg.dll"}
_FOLDERS = {
    "darwin": ("/opt/homebrew/opt/jpeg-turbo/lib", "/usr/local/opt/jpeg-turbo/lib", "/opt/libjpeg-turbo/lib64"),
    "linux": ("/opt/libjpeg-turbo/lib64",),
    "win32": ("C:/libjpeg-turbo64/bin",),
}
# Of TurboJPEG's header file.
_DECOMPRESS = 1  # TJINIT_DECOMPRESS
_RGBX = 2  # TJPF_RGBX


class _Region(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int), ("w", ctypes.c_int), ("h", ctypes.c_int))


class _Factor(ctypes.Structure):
    _fields_ = (("num", ctypes.c_int), ("denom", ctypes.c_int))


_WHOLE = _Region(0, 0, 0, 0)
_FACTORS = {reduction: _Factor(1, reduction) for reduction in (1, 2, 4, 8)}


class RegionDecoder:
    """Decodes rectangles. One for each thread: it holds the library's state."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._handle = library.tj3Init(_DECOMPRESS)
        if not self._handle:
            raise MemoryError("TurboJPEG cannot be started")

    def __del__(self) -> None:
        self._library.tj3Destroy(self._handle)

    def decode(self, data: bytes, left: int, top: int, reduction: int, out: np.ndarray) -> None:
        """Fill an array with the pixels from a corner on.

        Args:
            data: the whole file.
            left, top: corner in pixels of the reduced picture; `left` a multiple of the width of the blocks that are
                stored together, there. Its column may differ from that of the whole picture, where colours are stored
                at half the width.
            reduction: 1, 2, 4 or 8.
            out: (height, width, 4) uint8, contiguous; the fourth channel is without meaning. The rectangle must lie
                inside the picture.

        Raises:
            ValueError: the library has a complaint. It may be harmless, or hide that the decoder gave up: after a
                warning, it reports no worse one.
        """
        assert out.flags.c_contiguous and out.dtype == np.uint8 and out.shape[2] == 4
        library, handle = self._library, self._handle
        height, width = out.shape[:2]
        self._check(library.tj3SetCroppingRegion(handle, _WHOLE))  # else the last one limits the header
        self._check(library.tj3DecompressHeader(handle, data, len(data)))
        self._check(library.tj3SetScalingFactor(handle, _FACTORS[reduction]))
        self._check(library.tj3SetCroppingRegion(handle, _Region(left, top, width, height)))
        self._check(library.tj3Decompress8(handle, data, len(data), out.ctypes.data, 0, _RGBX))

    def _check(self, status: int) -> None:
        if status:
            raise ValueError(self._library.tj3GetErrorStr(self._handle).decode(errors="replace"))


_of_thread = threading.local()


def region_decoder() -> RegionDecoder | None:
    """Return the decoder of this thread, None where the library is missing."""
    if "decoder" not in _of_thread.__dict__:
        library = _library()
        _of_thread.decoder = None if library is None else RegionDecoder(library)
    return _of_thread.decoder


@functools.cache
def _library() -> ctypes.CDLL | None:
    for path in _candidates():
        try:
            return _declared(ctypes.CDLL(path))
        except (OSError, AttributeError):  # it is not there, or older than 3
            continue
    return None


def _candidates() -> Iterator[str]:
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
    library.tj3SetScalingFactor.argtypes = (handle, _Factor)
    library.tj3SetCroppingRegion.argtypes = (handle, _Region)
    library.tj3Decompress8.argtypes = (handle, ctypes.c_char_p, size, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    library.tj3GetErrorStr.argtypes, library.tj3GetErrorStr.restype = (handle,), ctypes.c_char_p
    return library
