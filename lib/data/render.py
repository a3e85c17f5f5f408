"""Write any data set as image files, in the layout of own data."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.datasets.annotation import read_boxes
from lib.data.datasets.stills import STYLE, StillsDataset
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.storage.tree import open_tree
from lib.data.synthetic import SceneStyle

IMAGE_FORMATS = ("jpg", "png")
DRAWN = ("synthetic", "stills")


def open_drawn(
    name: str, split: str, num_sequences: int, num_frames: int, difficulty: float = 1.0, root: Path | None = None
) -> SequenceDataset:
    """Open the first sequences of a split of one of `DRAWN`, of any number and length; `stills` needs a root.

    A difficulty of 0 is slow, unoccluded and alone, 1 everything.
    """
    if name == "synthetic":
        if root is not None:
            raise ValueError(f"synthetic is drawn from nothing: a folder (--root {root}) means nothing to it")
        return SyntheticDataset(split, num_sequences, num_frames, SceneStyle(difficulty=difficulty))
    assert name == "stills", name
    if root is None:
        raise FileNotFoundError("where are the photographs? Give --root DIR, or write `stills: DIR` into "
                                "experiments/paths.yaml")  # fmt: skip
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of photographs, {root}, does not exist")
    return StillsDataset(open_tree(root), split, num_sequences, num_frames, replace(STYLE, difficulty=difficulty))


def render_dataset(dataset: SequenceDataset, out: Path, image_format: str = "jpg", progress: bool = True) -> int:
    """Write every sequence of a data set as `out/<name>/{img/%08d.jpg, groundtruth.txt, absent.txt, mask/%08d.png}`.

    A sequence's folder appears when it is complete, and one that is there is not written again, so the same call
    resumes what was interrupted. Boxes are written with all their digits. Of the labels, boxes, absence and masks
    survive; attributes and labels of one benchmark do not.

    Args:
        out: folder that receives the sequences; created when missing.
        image_format: one of `IMAGE_FORMATS`: "jpg" (quality 95) or "png" (lossless).

    Returns:
        The number of sequences written, those already there not counted.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    for index in tqdm(range(len(dataset)), desc=f"rendering to {out}", unit="sequence", disable=not progress):
        sequence = dataset[index]
        folder = out / sequence.name
        if folder.exists():
            boxes_xywh = read_boxes(folder / "groundtruth.txt")
            if not np.array_equal(boxes_xywh, sequence.boxes_xywh, equal_nan=True):
                raise ValueError(f"{folder} holds another sequence of the same name; choose an empty folder, or remove "
                                 "it")  # fmt: skip
            continue
        partial = out / f".{sequence.name}.partial"
        if partial.exists():
            shutil.rmtree(partial)
        _write_sequence(partial, sequence, image_format)
        partial.rename(folder)
        written += 1
    return written


def _write_sequence(folder: Path, sequence: Sequence, image_format: str) -> None:
    (folder / "img").mkdir(parents=True)
    for index in range(len(sequence)):
        picture = cv2.cvtColor(sequence.frames[index], cv2.COLOR_RGB2BGR)
        _write_image(folder / "img" / f"{index + 1:08d}.{image_format}", picture)
    if sequence.masks is not None:
        (folder / "mask").mkdir()
        for index in range(len(sequence.masks)):
            _write_image(folder / "mask" / f"{index + 1:08d}.png", sequence.masks[index].astype(np.uint8) * 255)
    if sequence.absent.any():
        _write_lines(folder / "absent.txt", [str(int(absent)) for absent in sequence.absent])
    # The shortest text that reads back as the same float64.
    rows = [",".join(np.format_float_positional(value, trim="-") for value in box) for box in sequence.boxes_xywh]
    _write_lines(folder / "groundtruth.txt", rows)


def _write_image(path: Path, picture: np.ndarray) -> None:
    # Not cv2.imwrite: it gives no reason when it fails.
    _, data = cv2.imencode(path.suffix, picture)
    path.write_bytes(data.tobytes())


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
