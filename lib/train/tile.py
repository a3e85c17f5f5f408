"""One crop as a tile of a picture for TensorBoard."""

import cv2
import numpy as np
from torch import Tensor

TILE = 160  # px, side


def crop_tile(crop: Tensor) -> np.ndarray:
    """Return a (3, S, S) uint8 crop as (TILE, TILE, 3), its pixels as squares."""
    return cv2.resize(crop.permute(1, 2, 0).cpu().numpy(), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
