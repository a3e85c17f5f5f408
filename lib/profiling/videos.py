"""Videos of 1280 x 720 JPEG frames to measure with: drawn, or pieced together from photographs."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from lib.data.images.frames import read_image
from lib.data.storage.tree import PICTURES
from lib.data.synthetic import Scene, SceneStyle

HEIGHT, WIDTH = 720, 1280
# At this quality drawn frames take 70 kB on average, as those of LaSOT (67 kB) and TrackingNet (74 kB) do; sizes and
# numbers of frames of both by github.com/kumatheworld/tracking-sanity.
QUALITY = 82

Frame = tuple[np.ndarray, np.ndarray]  # (H, W, 3) uint8 RGB and its box_xywh


def make_videos(
    root: Path, sides: tuple[float, ...], num_frames: int, quality: int = QUALITY, photographs: Path | None = None
) -> None:
    """Write videos as own data: drawn, with texture and the noise of a camera, or of photographs side by side.

    There is one for each of `sides`, of the target in pixels; the scenery depends on the place in this list alone. The
    JPEG quality lies in 1 to 100. Pictures in the folder `photographs` are not scaled, and boxes on them lie anywhere.
    """
    pictures = [] if photographs is None else photographs.rglob("*")
    paths = sorted(path for path in pictures if path.suffix.lower() in PICTURES)
    if photographs is not None and not paths:
        raise FileNotFoundError(f"no photographs in {photographs}; known are {', '.join(sorted(PICTURES))}")
    style = SceneStyle(
        frame_size=(HEIGHT, WIDTH), scale_change=0.1, aspect_change=0.1, noise=4.0,
        occlusion_probability=0.0, leaving_probability=0.0,
    )  # fmt: skip
    for index, side in enumerate(sides):
        if photographs is None:
            scene = Scene.from_seed((9, index), replace(style, target_side=(side, side)), num_frames)
            rendered = map(scene.render, range(num_frames))
            frames = ((each.image, each.label.box_xywh) for each in rendered)
        else:
            generators = (np.random.default_rng((7, index, frame)) for frame in range(num_frames))
            frames = (_piece(paths, side, rng) for rng in generators)
        _write_video(root / f"{index:02d}-side-{side:.0f}", frames, quality)


def _piece(paths: list[Path], side: float, rng: np.random.Generator) -> Frame:
    aspect = float(rng.uniform(0.7, 1.4))
    width, height = side * aspect, side / aspect
    box_xywh = np.array((rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height), width, height))
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top = 0
    while top < HEIGHT:
        left, row = 0, HEIGHT
        while left < WIDTH:
            photograph = read_image(paths[int(rng.integers(len(paths)))])
            part = photograph[: HEIGHT - top, : WIDTH - left]
            frame[top : top + part.shape[0], left : left + part.shape[1]] = part
            left += part.shape[1]
            row = min(row, photograph.shape[0])
        top += row
    return frame, box_xywh


def _write_video(folder: Path, frames: Iterable[Frame], quality: int) -> None:
    (folder / "img").mkdir(parents=True)
    rows = []
    for index, (image, box_xywh) in enumerate(frames):
        rows.append(",".join(f"{value:.3f}" for value in box_xywh))
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        (folder / "img" / f"{index + 1:08d}.jpg").write_bytes(data.tobytes())
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n", encoding="ascii")
