"""Pictures of what the tracker does: boxes on frames, film strips, reconstructions; arrays in, arrays out."""

from collections.abc import Sequence as Indexed
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.files import whole_file

Colour = tuple[int, int, int]

# Okabe and Ito's palette, told apart by colour-blind eyes; the true box is white. RGB.
TRUTH: Colour = (255, 255, 255)
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)
GREY: Colour = (160, 160, 160)

_INK: Colour = (30, 30, 30)
_PAPER: Colour = (250, 250, 250)
_GAP = 6
_TILE = 160  # px, side of a rebuilt image


class FilmFrame(NamedTuple):
    """One picture of a film strip, (H, W, 3) uint8 RGB; a (4,) box per name of the legend, nan where there is none."""

    image: np.ndarray
    caption: str
    boxes_xywh: tuple[np.ndarray, ...]


class RebuiltImage(NamedTuple):
    """One row of a reconstruction picture; every image is (S, S, 3) uint8 RGB, None where a stage is off.

    Attributes:
        label: what the row shows, such as "search".
        original, masked: what the decoders should rebuild, and what they were shown of it.
        coarse, fine: after the self-decoder, and after the guided decoder.
    """

    label: str
    original: np.ndarray
    masked: np.ndarray
    coarse: np.ndarray | None
    fine: np.ndarray | None


def draw_boxes(image: np.ndarray, boxes_xywh: Indexed[np.ndarray], colours: Indexed[Colour]) -> None:
    """Draw boxes with a dark rim into an (H, W, 3) uint8 image, later ones above; nothing for a nan box."""
    thickness = max(1, round(min(image.shape[:2]) / 240))
    corners = [
        (tuple(np.rint(box[:2]).astype(int).tolist()), tuple(np.rint(box[:2] + box[2:]).astype(int).tolist()), colour)
        for box, colour in zip(boxes_xywh, colours, strict=True)
        if np.isfinite(box).all()
    ]
    # All rims first: the rim of one box should not hide another.
    for near, far, _ in corners:
        cv2.rectangle(image, near, far, _INK, thickness + 2)
    for near, far, colour in corners:
        cv2.rectangle(image, near, far, colour, thickness)


def shade_mask(image: np.ndarray, mask: np.ndarray, colour: Colour = PALETTE[0]) -> None:
    """Lay a colour over the pixels of an (H, W) bool mask of an (H, W, 3) uint8 image, and draw its outline."""
    mixed = (image[mask].astype(np.uint16) + colour) // 2
    image[mask] = mixed.astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outlines, -1, colour, max(1, round(min(image.shape[:2]) / 480)))


def draw_label(image: np.ndarray, corner_xy: tuple[float, float], text: str, colour: Colour = TRUTH) -> None:
    """Write dark text on a patch of `colour`, its bottom left at `corner_xy`, moved to lie inside the image."""
    scale = max(0.45, min(image.shape[:2]) / 800)
    width, height = (side + 6 for side in _text_size(text, scale))
    left = max(0, min(round(corner_xy[0]), image.shape[1] - width))
    top = max(0, min(round(corner_xy[1]) - height, image.shape[0] - height))
    cv2.rectangle(image, (left, top), (left + width, top + height), colour, cv2.FILLED)
    _write(image, (left + 3, top + 3), text, scale)


def film_strip(frames: Indexed[FilmFrame], legend: Indexed[tuple[str, Colour]], columns: int = 4) -> np.ndarray:
    """Lay frames out, `columns` in a row, under a legend of names and colours in the order of each frame's boxes.

    The frames' sizes may differ. Returns (H, W, 3) uint8 RGB.
    """
    tile_width = 360
    tile_height = round(tile_width * frames[0].image.shape[0] / frames[0].image.shape[1])
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    sheet = np.full((rows * (tile_height + _GAP), columns * (tile_width + _GAP) + _GAP, 3), _PAPER, np.uint8)
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        tile = film_tile(frame, [colour for _, colour in legend], tile_width, tile_height)
        top, left = row * (tile_height + _GAP), _GAP + column * (tile_width + _GAP)
        sheet[top : top + tile_height, left : left + tile_width] = tile
    return np.concatenate((legend_bar(legend, sheet.shape[1]), sheet))


def film_tile(frame: FilmFrame, colours: Indexed[Colour], width: int, height: int) -> np.ndarray:
    """Draw one picture of a film, scaled to fit: its boxes in their colours, its caption in the corner."""
    tile, scale, (left, top) = fit_into(frame.image, width, height)
    draw_boxes(tile, [box_xywh * scale + (left, top, 0, 0) for box_xywh in frame.boxes_xywh], colours)
    draw_label(tile, (0, 0), frame.caption)
    return tile


def legend_bar(legend: Indexed[tuple[str, Colour]], width: int) -> np.ndarray:
    """Write names beside their colours, in as many rows as they need; (34 + 22 for each further row, width, 3)."""
    corners: list[tuple[int, int]] = []
    left, top = _GAP, 6
    for name, _ in legend:
        length = 30 + _text_size(name)[0]
        if left > _GAP and left + length > width:
            left, top = _GAP, top + 22
        corners.append((left, top))
        left += length + 24
    bar = np.full((top + 28, width, 3), _PAPER, np.uint8)
    for (name, colour), (left, top) in zip(legend, corners, strict=True):
        cv2.rectangle(bar, (left, top + 5), (left + 22, top + 17), colour, cv2.FILLED)
        cv2.rectangle(bar, (left, top + 5), (left + 22, top + 17), _INK, 1)
        _write(bar, (left + 30, top + 11 - _text_size(name)[1] // 2), name)
    return bar


def reconstruction_sheet(rows: Indexed[RebuiltImage]) -> np.ndarray:
    """Lay rows of input, masked, coarse and fine out under their headings; a stage that is off everywhere is left out.

    Returns (H, W, 3) uint8 RGB.
    """
    names = ("input", "masked", "coarse", "fine")
    stages = zip(*((row.original, row.masked, row.coarse, row.fine) for row in rows), strict=True)
    shown = zip(names, stages, strict=True)
    columns = {name: images for name, images in shown if any(image is not None for image in images)}
    head, side = 26, max(_text_size(row.label)[0] for row in rows) + 2 * _GAP
    sheet = np.full((head + len(rows) * (_TILE + _GAP), side + len(columns) * (_TILE + _GAP), 3), _PAPER, np.uint8)
    for number, row in enumerate(rows):
        middle = head + number * (_TILE + _GAP) + _TILE // 2
        _write(sheet, (_GAP, middle - _text_size(row.label)[1] // 2), row.label)
    for column, (name, images) in enumerate(columns.items()):
        left = side + column * (_TILE + _GAP)
        _write(sheet, (left + (_TILE - _text_size(name)[0]) // 2, 6), name)
        for number, image in enumerate(images):
            top = head + number * (_TILE + _GAP)
            if image is not None:
                # Nearest neighbours: the pixels that the network saw, not smoother ones.
                enlarged = cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_NEAREST)
                sheet[top : top + _TILE, left : left + _TILE] = enlarged
    return sheet


def save_picture(path: Path, image: np.ndarray) -> Path:
    """Write an (H, W, 3) uint8 RGB image as png or jpg, by the suffix, making its folder; return the path.

    Raises ValueError for another suffix, OSError when the file cannot be written.
    """
    check_picture_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with whole_file(path) as aside:
        aside.write_bytes(encoded.tobytes())
    return path


def check_picture_path(path: Path) -> None:
    """Raise ValueError unless a picture can be written under such a name."""
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        raise ValueError(f"{path}: a picture is written as .png or .jpg")


def fit_into(image: np.ndarray, width: int, height: int) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Scale an image to fit, centred on black; return the picture, the scale, and the (x, y) of the corner in it."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=interpolation)
    return canvas, scale, (left, top)


def _write(image: np.ndarray, corner: tuple[int, int], text: str, scale: float = 0.45) -> None:
    """Write text with its top left at `corner`."""
    origin = corner[0], corner[1] + _text_size(text, scale)[1]
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, _weight(scale), cv2.LINE_AA)


def _text_size(text: str, scale: float = 0.45) -> tuple[int, int]:
    """Return (width, height) in pixels; the height is that of a capital letter, whatever the text."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, _weight(scale))
    (_, height), _ = cv2.getTextSize("A", cv2.FONT_HERSHEY_SIMPLEX, scale, _weight(scale))
    return width, height


def _weight(scale: float) -> int:
    return max(1, round(scale / 0.8))
