"""Write the regions that `region_cache.py` reads."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.frames import ImageFiles, VideoFile
from lib.data.image import decode_image
from lib.data.packed import PackWriter
from lib.data.region_cache import MANIFEST, Reach, Region, encode_manifest, encode_region_table, region_name
from lib.data.sequence import Frames, SceneDataset, Sequence, SequenceDataset

_STEPS = 4  # factors are multiples of a quarter, so that a region of whole pixels shrinks to whole pixels
_LARGEST_FACTOR = 8.0


@dataclass(frozen=True)
class CutReport:
    """What was written.

    Attributes:
        sequences: of the split.
        kept: how many were there already.
        frames: regions written now.
        size: their bytes.
        source_size: bytes of the image files that they were cut from, as far as they are files.
    """

    sequences: int
    kept: int
    frames: int
    size: int
    source_size: int


def cut_regions(
    dataset: SequenceDataset,
    split: str,
    out: Path,
    reach: Reach,
    source: str,
    *,
    quality: int = 90,
    workers: int = 2,
    progress: bool = True,
) -> CutReport:
    """Cut the region of every visible target and store it in an LMDB. The same call resumes what was interrupted.

    Args:
        dataset: what to cut.
        split: under which name it will be found.
        out: folder of the LMDB; may hold other splits already.
        reach: how large and sharp the regions must be.
        source: says what the data set is; another one may not be added to the same LMDB.
        quality: of the JPEG that is written, 1 to 100.
        workers: threads that decode and encode.
        progress: show a progress bar.

    Raises:
        ValueError: `out` holds something else, or the data set draws its frames, or one cannot be read.
        OSError: something cannot be read or written.
    """
    if isinstance(dataset, SceneDataset):
        raise ValueError("this data set draws its frames; there is nothing to be gained by storing regions of them")
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality of a JPEG lies in 1 to 100, not {quality}")
    title = f"regions of {source}, {json.dumps(asdict(reach))}, quality {quality}"
    kept = frames = size = source_size = 0
    with PackWriter(out, title) as writer, ThreadPoolExecutor(workers) as pool:
        writer.add("regions.json", json.dumps({"source": source}).encode())
        names = dataset.names
        for index in tqdm(range(len(dataset)), desc=f"cutting to {out}", unit="sequence", disable=not progress):
            folder = f"{split}/{names[index]}"
            if writer.size(f"{folder}/table.npy") is not None:
                kept += 1
                continue
            sequence = dataset[index]
            visible = [int(frame) for frame in np.flatnonzero(sequence.visible)]
            # The decoder of a video file has a position, which threads would move under each other.
            in_order = isinstance(sequence.frames, VideoFile)
            cuts = (map if in_order else pool.map)(
                lambda frame, video=sequence: cut_region(video, frame, reach, quality), visible
            )
            regions = {}
            for frame, (region, data, source_bytes) in zip(visible, cuts, strict=True):
                writer.add(f"{folder}/{region_name(frame)}", data)
                regions[frame] = region
                size += len(data)
                source_size += source_bytes
                frames += 1
            # Written last: a sequence with a table is complete.
            writer.add(f"{folder}/table.npy", encode_region_table(sequence, regions))
        writer.add(f"{split}/{MANIFEST}", encode_manifest(names, dataset.images_only, reach))
        writer.finish()
    return CutReport(len(dataset), kept, frames, size, source_size)


def cut_region(sequence: Sequence, frame: int, reach: Reach, quality: int) -> tuple[Region, bytes, int]:
    """Return the region around one target, its JPEG, and the size in bytes of what it was cut from.

    Where cutting and shrinking save nothing, the file is taken as it is.
    """
    data, image = _read(sequence.frames, frame)
    height, width = image.shape[:2]
    region, stored = _cut(image, sequence.boxes_xywh[frame], reach)
    ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(stored, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    if data and len(data) <= len(encoded):
        return Region(0.0, 0.0, 1.0, width, height), data, len(data)
    return region, encoded.tobytes(), len(data)


def _read(frames: Frames, index: int) -> tuple[bytes, np.ndarray]:
    """Return the bytes of an image file, none if it comes from elsewhere, and the picture."""
    if not isinstance(frames, ImageFiles):
        return b"", frames[index]
    path = frames.paths[index]
    data = path.read_bytes()
    try:
        return data, decode_image(data)
    except ValueError as error:
        raise ValueError(f"{path} is not an image that can be read: {error}") from None


def _cut(image: np.ndarray, box_xywh: np.ndarray, reach: Reach) -> tuple[Region, np.ndarray]:
    height, width = image.shape[:2]
    left, top, box_width, box_height = (float(value) for value in box_xywh)
    side = math.sqrt(box_width * box_height)
    quarters = int(_STEPS * min(max(side / reach.target_side, 1.0), _LARGEST_FACTOR))
    factor = quarters / _STEPS
    # Interpolation reaches a pixel of the stored picture beyond the window.
    half = reach.half_side * side + 2 * factor
    spans = []
    for center, length in ((left + box_width / 2, width), (top + box_height / 2, height)):
        start = min(max(0, math.floor(center - half)), length - 1)
        stop = max(min(length, math.ceil(center + half)), start + 1)
        blocks = -(-(stop - start) // quarters)
        spans.append((start, start + blocks * quarters, _STEPS * blocks))
    (x0, x1, stored_width), (y0, y1, stored_height) = spans
    part = image[y0:y1, x0:x1]
    region = Region(float(x0), float(y0), factor, float(width), float(height))
    if factor == 1:
        return region, part
    below, right = y1 - y0 - len(part), x1 - x0 - part.shape[1]
    padded = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return region, cv2.resize(padded, (stored_width, stored_height), interpolation=cv2.INTER_AREA)
