"""Videos of 1280 x 720 JPEG frames to measure with: drawn, or pieced together from photographs."""

from collections.abc import Callable
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

Draw = Callable[[int], tuple[np.ndarray, np.ndarray]]  # of a frame's index: (H, W, 3) uint8 RGB and its box_xywh


def draw_videos(root: Path, sides: tuple[float, ...], num_frames: int, quality: int = QUALITY) -> None:
    """Write drawn videos, with texture and the noise of a camera, as own data.

    Args:
        root: folder of the data set.
        sides: of the targets in pixels, one video for each; the scenery depends on the place in this list alone.
        num_frames: of each video.
        quality: of the JPEG, 1 to 100.
    """
    style = SceneStyle(
        frame_size=(HEIGHT, WIDTH), scale_change=0.1, aspect_change=0.1, noise=4.0,
        occlusion_probability=0.0, leaving_probability=0.0,
    )  # fmt: skip
    for index, side in enumerate(sides):
        scene = Scene.from_seed((9, index), replace(style, target_side=(side, side)), num_frames)

        def draw(frame: int, scene: Scene = scene) -> tuple[np.ndarray, np.ndarray]:
            rendered = scene.render(frame)
            return rendered.image, rendered.box_xywh

        _write_video(root / f"{index:02d}-side-{side:.0f}", draw, num_frames, quality)


def piece_videos(
    root: Path, photographs: Path, sides: tuple[float, ...], num_frames: int, quality: int = QUALITY
) -> None:
    """Write videos as `draw_videos`, whose frames are photographs side by side, unscaled; the boxes are anywhere."""
    paths = sorted(path for path in photographs.rglob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise FileNotFoundError(f"no photographs in {photographs}; known are {', '.join(sorted(PICTURES))}")
    for index, side in enumerate(sides):

        def draw(frame: int, index: int = index, side: float = side) -> tuple[np.ndarray, np.ndarray]:
            rng = np.random.default_rng((7, index, frame))
            aspect = float(rng.uniform(0.7, 1.4))
            width, height = side * aspect, side / aspect
            box_xywh = np.array((rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height), width, height))
            return _side_by_side(paths, rng), box_xywh

        _write_video(root / f"{index:02d}-side-{side:.0f}", draw, num_frames, quality)


def _side_by_side(paths: list[Path], rng: np.random.Generator) -> np.ndarray:
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
    return frame


def _write_video(folder: Path, draw: Draw, num_frames: int, quality: int) -> None:
    (folder / "img").mkdir(parents=True)
    rows = []
    for index in range(num_frames):
        image, box_xywh = draw(index)
        rows.append(",".join(f"{value:.3f}" for value in box_xywh))
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        (folder / "img" / f"{index + 1:08d}.jpg").write_bytes(data.tobytes())
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n", encoding="ascii")
