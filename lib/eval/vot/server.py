"""The tracker's side of the VOT toolkit: answer its requests over TraX, and tell it why when that fails.

Nothing here loads PyTorch: the toolkit is greeted first, so that whatever goes wrong afterwards can be reported to it.
"""

import faulthandler
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np


class VotTracker(ABC):
    """What the toolkit talks to. `start` is called again for each run of one video."""

    @abstractmethod
    def start(self, frame: Path, mask: np.ndarray) -> None:
        """Learn the target.

        Args:
            frame: the picture's file.
            mask: (h, w) bool, True on the target; rows below and columns right of the target may be missing.
        """

    @abstractmethod
    def follow(self, frame: Path) -> np.ndarray:
        """Return the target's mask in the next frame, (H, W) bool."""


def serve(build: Callable[[], VotTracker]) -> int:
    """Track for the toolkit that started this process, until it says that it has finished.

    Any error ends the session with its message as the reason, which the toolkit prints; what was written to the
    standard error stands in its log file.

    Returns the exit code: 1 after an error. Raises ValueError when TraX is not installed, or nobody speaks it to this
    process.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError("this command is started by the VOT toolkit; write a workspace by `python tracking/prepare.py "
                         "vot-workspace DIR --tracker NAME`, then run `vot evaluate` there")  # fmt: skip
    try:
        import trax  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"the VOT toolkit's packages are not installed ({error}): pip install -e '.[vot]'") from error
    faulthandler.enable()  # also a crash of compiled code leaves its place in the log
    # Standard output belongs to the protocol.
    with redirect_stdout(sys.stderr):
        session = trax.Server([trax.Region.MASK], [trax.Image.PATH], ["color"])
        tracker: VotTracker | None = None
        try:
            tracker = build()
            request = session.wait()
            while request.type != trax.TraxStatus.QUIT:
                session.status([(trax.Mask.create(_answer(tracker, request, trax)), {})])
                request = session.wait()
        except Exception as error:  # reported to the toolkit, which alone is listening
            trace, reason = traceback.format_exc(), " ".join(str(error).split())
            if not isinstance(error, (ValueError, OSError)):
                reason = f"{type(error).__name__}: {reason}"
            elif tracker is None:  # what the user asked for cannot be had
                trace = f"error: {error}"
            if tracker is None:
                session.wait()  # a reason is heard only as the answer to a request
            print(_in_ascii(trace), file=sys.stderr, flush=True)
            session.quit(_in_ascii(reason))
            return 1
        session.quit()
    return 0


def _answer(tracker: VotTracker, request: Any, trax: Any) -> np.ndarray:
    """Return the mask that a request asks for, (H, W) uint8."""
    frame = Path(request.image["color"].path())
    if request.type == trax.TraxStatus.FRAME:
        mask = tracker.follow(frame)
    else:
        if len(request.objects) != 1:
            raise ValueError(f"the toolkit asks for {len(request.objects)} targets at once; this tracker follows one")
        mask = request.objects[0][0].array(normalize=True) > 0
        tracker.start(frame, mask)
    return np.ascontiguousarray(mask, dtype=np.uint8)


def _in_ascii(text: str) -> str:
    """Return the text with other letters spelt as escapes: the toolkit loses the connection over them."""
    return text.encode("ascii", "backslashreplace").decode("ascii")
