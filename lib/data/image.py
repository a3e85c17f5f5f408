"""From the bytes of an image file to an array, whatever kind of image it is."""

import cv2
import numpy as np

from lib.data.jpeg import decode_jpeg, is_jpeg, read_header

_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB.

    Grey is repeated into three channels, 16 bits are scaled to 8, alpha is dropped. A rotation noted in the file's
    EXIF block is ignored, because boxes refer to the stored pixels.

    Raises:
        ValueError: why it cannot be decoded; the caller knows the name.
    """
    if is_jpeg(data):
        return decode_jpeg(data, read_header(data))
    picture = decode_8bit(data)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in _TO_RGB:
        raise ValueError(f"it has {channels} channels; 1, 3 or 4 can be read")
    return cv2.cvtColor(picture, _TO_RGB[channels])


def decode_8bit(data: bytes) -> np.ndarray:
    """Decode an image file to (H, W) or (H, W, channels) uint8, with the channels that it has, in OpenCV's order.

    Raises:
        ValueError: why it cannot be decoded.
    """
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:  # more pixels than OpenCV takes
        raise ValueError(f"OpenCV refuses it: {' '.join(str(error).split())}") from error
    if picture is None:
        raise ValueError("its contents are damaged or of no known kind")
    if picture.dtype == np.uint16:
        # 65535 / 257 is 255; 128 is added to round.
        picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise ValueError(f"it holds {picture.dtype} values; images of 8 or 16 bits can be read")
    return picture
