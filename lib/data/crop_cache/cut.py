"""Write the crops that `cache.py` reads."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.crop_cache.cache import KINDS, MANIFEST, MARK, ROW, STEPS, TABLE, VERSION, CropDataset, Reach, StoredCrop
from lib.data.images.frames import ImageFiles, decode_image, decoded
from lib.data.images.video import VideoFile
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.lmdb_writer import LmdbWriter
from lib.data.synthetic.record import SceneDataset

# Less shows: on photographs, crops then differ from those of whole frames by as much as two interpolations do.
QUALITY = 80
_TEMPLATE_QUALITY = 90  # at least: templates are cut at nearly their own resolution, and are small
_DIGEST = "source.sha256"


@dataclass(frozen=True)
class CutReport:
    """What was written.

    Attributes:
        sequences: of the split.
        kept: how many were there already, cut from the same pictures and boxes.
        removed: files of sequences that have changed or are gone, or were not complete.
        frames: of which crops were written now.
        size: their bytes.
        source_size: bytes of the image files that they were cut from, as far as they are files.
    """

    sequences: int
    kept: int
    removed: int
    frames: int
    size: int
    source_size: int


def cut_crops(
    dataset: SequenceDataset,
    split: str,
    out: Path,
    reach: Reach,
    source: str,
    *,
    root: Path | None = None,
    quality: int = QUALITY,
    workers: int = 2,
    progress: bool = True,
) -> CutReport:
    """Cut the crops of every visible target and store them in an LMDB.

    The same call resumes what was interrupted and follows what has changed: a sequence whose boxes, visibility or
    pictures are not those it was cut from is cut again.

    Args:
        split: under which name it will be found.
        out: folder of the LMDB; may hold other splits already.
        reach: how large and sharp the crops must be.
        source: says what the data set is; another one may not be added to the same LMDB.
        root: the data set's folder, as far as it has one; neither may another folder.
        quality: of the JPEG that is written, 1 to 100; for templates at least 90.
        workers: threads that decode and encode.

    Raises:
        ValueError: `out` holds something else, or lies in the data set, or the data set draws its frames or holds
            crops already, or a frame cannot be read.
        OSError: something cannot be read or written.
    """
    if isinstance(dataset, SceneDataset):
        raise ValueError("this data set draws its frames; there is nothing to be gained by storing crops of them")
    if isinstance(dataset, CropDataset):
        raise ValueError(f"{source} holds crops already: name the folder of the whole frames by --root")
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality of a JPEG lies in 1 to 100, not {quality}")
    if root is not None and out.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{out} lies in the data set {root} that is to be cut: choose a folder outside")
    origin = source if root is None else f"{source} in {root.resolve()}"
    # "regions" as in every version: it is what an LMDB is known by.
    title = f"regions of {origin}, {json.dumps(asdict(reach))}, quality {quality}"
    names = dataset.names
    kept = removed = frames = size = source_size = 0
    with LmdbWriter(out, title) as writer, ThreadPoolExecutor(workers) as pool:
        writer.add(MARK, json.dumps({"source": origin}).encode())
        before = writer.read(f"{split}/{MANIFEST}")
        for name in set(json.loads(before)["names"] if before else ()) - set(names):
            gone = writer.keys(f"{split}/{name}")
            writer.remove(gone)
            removed += len(gone)
        for index in tqdm(range(len(dataset)), desc=f"cutting to {out}", unit="sequence", disable=not progress):
            sequence = dataset[index]
            folder = f"{split}/{names[index]}"
            digest = _digest(sequence)
            if writer.read(f"{folder}/{_DIGEST}") == digest:
                kept += 1
                continue
            visible = [int(frame) for frame in np.flatnonzero(sequence.visible)]
            if gone := writer.keys(folder):
                writer.remove(gone)
                removed += len(gone)
            # The decoder of a video file has a position, which threads would move under each other.
            in_order = isinstance(sequence.frames, VideoFile)
            cuts = (map if in_order else pool.map)(
                lambda frame, video=sequence: cut_frame(video, frame, reach, quality), visible
            )
            stored = {}
            for frame, cut in zip(visible, cuts, strict=True):
                for kind, data in zip(KINDS, cut.encoded, strict=True):
                    writer.add(f"{folder}/{frame:08d}-{kind}.jpg", data)
                    size += len(data)
                stored[frame] = cut
                source_size += cut.source_size
                frames += 1
            writer.add(f"{folder}/{TABLE}", _encode_table(sequence, stored))
            # Written last: a sequence with a digest is complete.
            writer.add(f"{folder}/{_DIGEST}", digest)
        about = {"version": VERSION, "images_only": dataset.images_only, "reach": asdict(reach), "names": list(names)}
        writer.add(f"{split}/{MANIFEST}", json.dumps(about).encode())
        writer.finish()
    return CutReport(len(dataset), kept, removed, frames, size, source_size)


def _digest(sequence: Sequence) -> bytes:
    """Return what changes when boxes, visibility or the files of the pictures do."""
    digest = hashlib.sha256()
    for array in (sequence.boxes_xywh, sequence.visible, sequence.absent):
        digest.update(np.ascontiguousarray(array).tobytes())
    frames = sequence.frames
    paths = frames.paths if isinstance(frames, ImageFiles) else [frames.path] if isinstance(frames, VideoFile) else []
    for path in paths:
        digest.update(path.name.encode())
        if isinstance(path, Path):  # in an LMDB, nothing but the name can be had without reading
            status = path.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest().encode()


class FrameCut(NamedTuple):
    """The crops of one frame, in the order of `KINDS`.

    Attributes:
        crops: where they lie.
        encoded: a JPEG of each.
        frame_size: height and width of the frame.
        source_size: bytes of the image file, 0 if the picture comes from elsewhere.
    """

    crops: list[StoredCrop]
    encoded: list[bytes]
    frame_size: tuple[int, int]
    source_size: int


def cut_frame(sequence: Sequence, frame: int, reach: Reach, quality: int) -> FrameCut:
    """Cut the crops around one target. Where cutting and shrinking save nothing, the file is taken as it is."""
    frames, data = sequence.frames, b""
    if isinstance(frames, ImageFiles):
        data, image = decoded(frames.paths[frame], lambda data: (data, decode_image(data)))
    else:
        image = frames[frame]
    height, width = image.shape[:2]
    crops, encoded = [], []
    for extent, kind_quality in ((reach.template, max(quality, _TEMPLATE_QUALITY)), (reach.search, quality)):
        crop = StoredCrop.around(sequence.boxes_xywh[frame], extent, height, width)
        # Huffman tables made for the picture save some percent, and nothing is lost.
        options = [cv2.IMWRITE_JPEG_QUALITY, kind_quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(_shrink(image, crop), cv2.COLOR_RGB2BGR), options)[1].tobytes()
        if data and len(data) <= len(jpeg):
            crop, jpeg = StoredCrop(0, 0, width, height, 1.0), data
        crops.append(crop)
        encoded.append(jpeg)
    return FrameCut(crops, encoded, (height, width), len(data))


def _encode_table(sequence: Sequence, frames: Mapping[int, FrameCut]) -> bytes:
    """Return the bytes of the file `TABLE` of a sequence. Frames without crops count as not visible."""
    table = np.zeros(len(sequence.boxes_xywh), ROW)
    table["box_xywh"] = sequence.boxes_xywh
    table["absent"] = sequence.absent
    for index, cut in frames.items():
        stored = [(part.left, part.top, part.width, part.height, round(STEPS * part.factor)) for part in cut.crops]
        table[index] = (table[index]["box_xywh"], True, sequence.absent[index], cut.frame_size, stored)
    return table.tobytes()


def _shrink(image: np.ndarray, crop: StoredCrop) -> np.ndarray:
    """Return a crop of a frame at the size at which it is stored; black where it reaches beyond the frame."""
    part = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    if crop.factor == 1:
        return part
    below, right = crop.height - part.shape[0], crop.width - part.shape[1]
    padded = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    size = round(crop.width / crop.factor), round(crop.height / crop.factor)
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
