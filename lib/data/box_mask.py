"""A box as a mask."""

import numpy as np


def box_to_mask(box_xywh: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return (height, width) bool, True where a pixel's centre lies in the box.

    Raises:
        ValueError: the box is not finite.
    """
    box = np.asarray(box_xywh, dtype=np.float64).reshape(-1)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"the box {box.tolist()} must be four finite numbers: x, y, width, height")
    # Pixel i has its centre at i + 0.5.
    near = np.ceil(box[:2] - 0.5).clip(0, (width, height)).astype(int)
    far = np.ceil(box[:2] + box[2:] - 0.5).clip(0, (width, height)).astype(int)
    mask = np.zeros((height, width), dtype=bool)
    mask[near[1] : far[1], near[0] : far[0]] = True
    return mask
