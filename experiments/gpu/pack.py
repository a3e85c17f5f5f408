"""Pack the repository and the material of the GPU check into one zip file; see README.md beside."""

import argparse
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from lib.config.load import load
from lib.data.crop_cache.cache import Extent, Reach
from lib.data.datasets.folder import FolderDataset
from lib.data.sequence import Sequence
from lib.data.storage.tree import open_tree
from lib.data.synthetic.album import list_photographs, mask_name, name_hash
from lib.models.pretrained import read_checkpoint

_ROOT = Path(__file__).resolve().parents[2]
_TOP = "mmg"  # the folder that the archive unpacks to
_MIB = 2**20
_SHORT_SIDE = 208  # px of a photograph, as the data set `stills` decodes it

_START = "gpu_data/start.safetensors"  # weights that part 5 goes on from

File = tuple[str, bytes]  # its path in the repository's folder, and what is in it


def main(argv: list[str] | None = None) -> int:
    """Write the archive, or refuse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the zip file to write")
    parser.add_argument("--stills", type=Path, required=True, help="photographs, outlines in mask/: data set stills")
    parser.add_argument("--videos", type=Path, required=True, help="annotated videos to train on, in train/ and val/")
    parser.add_argument("--excerpts", type=Path, required=True, help="annotated videos to report on")
    parser.add_argument("--config", default="mmg_small", help="what part 5 trains; default: mmg_small")
    parser.add_argument("--stem", type=Path, help="weights of its stem; default: its model.encoder.pretrained")
    parser.add_argument("--start", type=Path, help="weights that part 5 goes on from")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that the machine lacks")
    parser.add_argument("--photographs", type=int, help="how many at most, outlined ones first; default: all that fit")
    parser.add_argument("--quality", type=int, default=50, help="of photographs and training videos, WebP; default: 50")
    parser.add_argument("--every", type=int, default=3, help="take each Nth frame of the training videos; default: 3")
    parser.add_argument("--excerpt-side", type=int, default=416, help="longest side of an excerpt, px; default: 416")
    parser.add_argument("--excerpt-quality", type=int, default=40, help="of excerpts, WebP; default: 40")
    parser.add_argument("--limit", type=float, default=60.0, help="MiB of the whole archive; default: 60")
    arguments = parser.parse_args(argv)
    experiment = load(arguments.config)
    named = experiment.model.encoder.pretrained
    stem = arguments.stem or (None if named is None else Path(named))
    reach = Reach.of(experiment.data, experiment.crop).search
    parts = {"repository": list(repository())}
    if arguments.start is not None:
        parts["start"] = [(_START, arguments.start.read_bytes())]
    if stem is not None:  # part 4 begins with it at every run
        parts["stem"] = [(named or f"pretrained_models/{stem.name}", halve(stem))]
    if arguments.wheels is not None:
        parts["wheels"] = [
            (f"wheels/{path.name}", path.read_bytes()) for path in sorted(arguments.wheels.glob("*.whl"))
        ]
    parts["excerpts"] = list(
        encode_videos(arguments.excerpts, "gpu_data/excerpts", arguments.excerpt_quality, side=arguments.excerpt_side)
    )
    parts["videos"] = [
        file
        for split in ("train", "val")
        for file in encode_videos(
            arguments.videos / split, f"gpu_data/videos/{split}", arguments.quality, reach=reach, every=arguments.every
        )
    ]
    aside = arguments.out.with_name(f".{arguments.out.name}")
    limit = arguments.limit * _MIB
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, files in parts.items():
            write(archive, name, files)
        room = int(limit) - sum(map(taken, archive.infolist()))
        write(
            archive, "photographs", encode_photographs(arguments.stills, arguments.quality, arguments.photographs, room)
        )
    size = aside.stat().st_size
    print(f"{'sum':12s} {size / _MIB:22.2f} MiB")
    if size > limit:
        aside.unlink()
        raise ValueError(f"that is more than --limit {arguments.limit:g} MiB, and nothing was written: lower "
                         "--photographs, --quality or --excerpt-side, or take fewer frames by --every")  # fmt: skip
    aside.replace(arguments.out)
    return 0


def write(archive: zipfile.ZipFile, part: str, files: Iterable[File]) -> None:
    """Add a part's files to the archive, and print what they take in it."""
    before = len(archive.infolist())
    for name, content in files:
        archive.writestr(f"{_TOP}/{name}", content)
    added = archive.infolist()[before:]
    print(f"{part:12s} {len(added):6d} files {sum(map(taken, added)) / _MIB:9.2f} MiB", flush=True)


def taken(entry: zipfile.ZipInfo) -> int:
    """Return what a file takes of the archive: its content, and its name and properties twice."""
    return entry.compress_size + header(entry.filename)


def header(name: str) -> int:
    """Return what a file of this name takes of the archive besides its content."""
    return 30 + 46 + 2 * len(name.encode())


def repository() -> Iterator[File]:
    """Yield the committed files, but for pictures that only people read."""
    command = ["git", "-C", str(_ROOT), "archive", "--format=tar", "HEAD"]
    with tarfile.open(fileobj=io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            if file is not None and not (entry.name.startswith("docs/") and entry.name.endswith((".png", ".jpg"))):
                yield entry.name, file.read()


def halve(path: Path) -> bytes:
    """Return weights in half precision."""
    half = {name: value.half() if value.is_floating_point() else value for name, value in read_checkpoint(path).items()}
    out = io.BytesIO()
    torch.save(half, out)
    return out.getvalue()


def encode_videos(
    root: Path, to: str, quality: int, *, side: int | None = None, reach: Extent | None = None, every: int = 1
) -> Iterator[File]:
    """Yield videos in the layout of own data: whole frames of a largest side, or what crops around the target reach.

    Args:
        root: of the videos.
        to: folder in the archive.
        quality: of the WebP written.
        side: longest side of a frame; larger frames are shrunk.
        reach: instead: each frame is cut to the surroundings of its target, as sharp as crops need it, and frames
            without a target are left out.
        every: take each Nth frame.
    """
    dataset = FolderDataset(open_tree(root))
    for sequence in (dataset[index] for index in range(len(dataset))):
        boxes, absent, number = [], [], 0
        for index in range(0, len(sequence), every):
            found = shrink(sequence, index, side) if reach is None else cut(sequence, index, reach)
            if found is None:
                continue
            picture, box_xywh = found
            number += 1
            yield f"{to}/{sequence.name}/img/{number:08d}.webp", encode(picture, quality)
            boxes.append(",".join(f"{value:.3f}" for value in box_xywh))
            absent.append(str(int(sequence.absent[index])))
        yield f"{to}/{sequence.name}/groundtruth.txt", ("\n".join(boxes) + "\n").encode()
        yield f"{to}/{sequence.name}/absent.txt", ("\n".join(absent) + "\n").encode()


def shrink(sequence: Sequence, index: int, side: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame whose longest side is at most `side`, and its box (4,) xywh, nan where there is none."""
    image = sequence.frames[index]
    scale = min(1.0, (side or max(image.shape[:2])) / max(image.shape[:2]))
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    factors = np.array((*size, *size)) / np.array((image.shape[1], image.shape[0]) * 2)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), sequence.boxes_xywh[index] * factors


def cut(sequence: Sequence, index: int, reach: Extent) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what training can need of a frame, and the box in it; None where the target is not visible."""
    if not sequence.visible[index]:
        return None
    image, box_xywh = sequence.frames[index], sequence.boxes_xywh[index]
    target = float(np.sqrt(box_xywh[2] * box_xywh[3]))
    center, half = box_xywh[:2] + box_xywh[2:] / 2, reach.half_side * target
    limit = np.array(image.shape[1::-1])
    near = np.clip(np.floor(center - half), 0, limit - 1).astype(int)
    far = np.clip(np.ceil(center + half), near + 1, limit).astype(int)
    scale = min(1.0, reach.target_side / target)
    size = np.maximum(1, np.round((far - near) * scale)).astype(int)
    factors = size / (far - near)
    part = cv2.resize(image[near[1] : far[1], near[0] : far[0]], size.tolist(), interpolation=cv2.INTER_AREA)
    return part, np.concatenate(((box_xywh[:2] - near) * factors, box_xywh[2:] * factors))


def encode_photographs(root: Path, quality: int, most: int | None, room: int) -> Iterator[File]:
    """Yield photographs at the size that training reads, and their masks, until the room is used up.

    The outlined ones come first, the others in an order that their names' hashes give.
    """
    names, masked = list_photographs(open_tree(root))
    ordered = sorted(names, key=lambda name: (name not in masked, name_hash(name)))
    for name in ordered[:most]:
        image = cv2.imread(str(root / name))
        if image is None:
            raise ValueError(f"cannot read the photograph {root / name}")
        scale = min(1.0, _SHORT_SIDE / min(image.shape[:2]))
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        picture = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        files = [(f"gpu_data/stills/{name.rpartition('.')[0]}.webp", encode(picture, quality))]
        if name in masked:
            mask = cv2.imread(str(root / mask_name(name)), cv2.IMREAD_UNCHANGED)
            assert mask is not None, name
            marked = ((mask if mask.ndim == 2 else mask[..., :3].max(axis=-1)) > 0).astype(np.uint8) * 255
            shrunk = cv2.resize(marked, size, interpolation=cv2.INTER_AREA) >= 128
            packed = cv2.imencode(".png", shrunk.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])[1]
            files.append((f"gpu_data/stills/{mask_name(name)}", packed.tobytes()))
        room -= sum(len(content) + header(f"{_TOP}/{name}") for name, content in files)
        if room < 0 and most is None:
            return
        yield from files


def encode(picture: np.ndarray, quality: int) -> bytes:
    """Return an (H, W, 3) uint8 RGB picture as WebP."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
