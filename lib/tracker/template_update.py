"""When the online template is replaced, and by which frame's crop; paper section III-D, Table VI."""

from typing import Literal

import numpy as np

UpdateMode = Literal["none", "fixed", "score"]


class TemplateUpdate:
    """Choose the crops that become the online template, one decision per tracked frame.

    Time is cut into intervals of `interval` tracked frames; the first frame of a video, which is given, is not
    counted. A replacement takes effect at the end of an interval only:

    - "score": the crop with the highest score above `threshold` in the interval; if none passed, no replacement.
      Of equal scores the earliest is kept.
    - "fixed": the crop of the interval's last frame, whatever its score.
    - "none": never.
    """

    def __init__(self, mode: UpdateMode, interval: int = 100, threshold: float = 0.5) -> None:
        """Raise ValueError for an interval below one frame."""
        if interval < 1:
            raise ValueError(f"the template update interval is {interval} frames; it must be at least 1")
        self.mode = mode
        self.interval = interval
        self.threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new video begins."""
        self._frame = 0
        self._start_interval()

    def wants(self, score: float) -> bool:
        """Tell whether the crop around the next frame's prediction is needed, given its score; see `offer`."""
        if self.mode == "score":
            return score > self._best_score
        return self.mode == "fixed" and (self._frame + 1) % self.interval == 0

    def offer(self, score: float, crop: np.ndarray | None) -> np.ndarray | None:
        """Count one tracked frame and return the crop that replaces the online template now, or None.

        Args:
            score: confidence in this frame's prediction, in [0, 1]; nan, which never passes the threshold, where
                the tracker has none.
            crop: the template crop around this frame's prediction, where `wants` asked for it and the prediction is
                usable; else None.
        """
        if self.mode == "none":
            return None
        self._frame += 1
        if crop is not None:
            self._best_score, self._best_crop = score, crop
        if self._frame % self.interval:
            return None
        replacement = self._best_crop
        self._start_interval()
        return replacement

    def _start_interval(self) -> None:
        self._best_score = self.threshold
        self._best_crop: np.ndarray | None = None
