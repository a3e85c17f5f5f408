"""An analysis as a web page that opens from disk: tables, curves, and every sequence with pictures of its failures.

The page and the numbers of the benchmark are one file, `index.html`. What only an open sequence needs lies beside it, a
script file for each, because a page opened from disk may load scripts, but not read files.
"""

import base64
import html
import json
import math
from collections import abc
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.sequence import Sequence, SequenceDataset
from lib.draw import fit_into
from lib.eval.report.film import Moment, choose_moments, fill_evenly, find_moments, read_result, true_box
from lib.eval.report.tables import describe
from lib.eval.results import write_whole
from lib.eval.score.analysis import Analysis, Result
from lib.eval.score.bootstrap import auc_interval
from lib.eval.score.metrics import CURVES, Curve, frame_overlap
from lib.eval.score.published import PublishedRow, PublishedTable
from lib.eval.score.scores import MEASURES, BenchmarkScores

_PAGE_NAME = "index.html"
_MARKER = b'id="report-data"'
_PAGE = Path(__file__).with_name("web_page")
_SCRIPTS = ("dom", "trackers", "table", "overview", "curves", "attributes", "overlap", "zoom", "sequence", "page")

# An overlap is one byte: its 250th parts, or this where the frame has no true box. `overlap.js` reads it.
_OVERLAP_STEPS = 250
_NO_TRUTH = 255

# How a column of the overview is written, where it is not a share in percent.
_KINDS = {"interval": "interval", "fps": "speed"}

_PICTURE_WIDTH = 320
_JPEG_QUALITY = 80


def write_report(
    analysis: Analysis,
    dataset: SequenceDataset,
    results: abc.Sequence[Result],
    folder: Path,
    num_pictures: int = 8,
    published: abc.Sequence[PublishedTable] = (),
) -> Path:
    """Write the report of an analysis into a folder.

    Args:
        analysis: what to show.
        dataset, results: what was analysed, in the order of `analysis.scores`; frames are read where they are at hand.
        folder: made when missing; an earlier report there is replaced, ValueError for somebody else's page.
        num_pictures: at most so many per sequence; 0 for none.
        published: what others measured on the same benchmark; shown below the results, and marked.

    Returns:
        The page, `folder/index.html`; it is written last.
    """
    check_report_folder(folder)
    page, data_folder = folder / _PAGE_NAME, folder / "sequences"
    data_folder.mkdir(parents=True, exist_ok=True)
    page.unlink(missing_ok=True)  # were this run interrupted, an earlier page would open the new data under old names
    for path in data_folder.glob("[0-9]*.js"):
        path.unlink()
    index_of = {name: index for index, name in enumerate(dataset.names)}
    sequences: list[dict[str, object]] = []
    for number, scores in enumerate(tqdm(analysis.scores[0].sequences, desc="report", unit="sequence", leave=False)):
        sequence = dataset[index_of[scores.name]]
        text = f"addSequence({number}, {_to_json(_sequence_data(analysis, sequence, results, num_pictures))});\n"
        path = data_folder / f"{number:04d}.js"
        write_whole(path, text)
        sequences.append(
            {
                "name": scores.name,
                "frames": scores.num_frames,
                "attributes": list(sequence.attributes),
                "file": path.relative_to(folder).as_posix(),
                "scores": [_known(tracker.sequences[number].numbers) for tracker in analysis.scores],
            }
        )
    write_whole(page, _fill_page(_report_data(analysis, sequences, published)))
    return page


def check_report_folder(folder: Path) -> None:
    """Raise ValueError when the folder holds a page that is no report and would be replaced by one."""
    page = folder / _PAGE_NAME
    if page.is_file() and _MARKER not in page.read_bytes():
        raise ValueError(f"{page} is no report of this program, and would be replaced by one: give another folder")


def _report_data(
    analysis: Analysis, sequences: list[dict[str, object]], published: abc.Sequence[PublishedTable]
) -> dict[str, object]:
    remarks = [
        f"{num_non_finite} boxes of {scores.name} were not finite; each repeats the one before it"
        for scores in analysis.scores
        if (num_non_finite := sum(sequence.num_non_finite for sequence in scores.sequences))
    ]
    # The interval is the first measure's, the AUC's.
    first, *others = ((measure.key, measure.title) for measure in MEASURES.values())
    columns = (first, ("interval", "95 %"), *others, ("fps", "FPS"))
    return {
        "title": f"{analysis.benchmark.title}: tracking results",
        "description": describe(analysis),
        "remarks": remarks,
        "left_out": list(analysis.left_out),
        "missing": [{"tracker": result, "sequences": names} for result, names in analysis.missing.items()],
        "columns": [{"key": key, "label": label, "kind": _KINDS.get(key, "share")} for key, label in columns],
        "trackers": [{"name": scores.name, "numbers": _numbers(scores)} for scores in analysis.scores],
        "published": [
            {"mark": table.mark, "rows": [_published_row(table, row) for row in table.rows]} for table in published
        ],
        "plots": [_plot(curve, analysis.scores) for curve in CURVES],
        "sequences": sequences,
    }


def _published_row(table: PublishedTable, row: PublishedRow) -> dict[str, object]:
    """Describe a row like a tracker's; `interval` is not among its numbers, because nobody prints one."""
    numbers = _known({**{key: row.value(table, key) for key in MEASURES}, "fps": row.fps})
    return {"name": row.tracker, "device": row.device, "numbers": numbers}


def _numbers(scores: BenchmarkScores) -> dict[str, object]:
    interval = auc_interval(scores)
    numbers = {key: measure.read(scores) for key, measure in MEASURES.items()}
    return {**_known({**numbers, "fps": scores.fps}), "interval": [round(interval.low, 6), round(interval.high, 6)]}


def _known(numbers: dict[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else round(value, 6) for key, value in numbers.items()}


def _plot(curve: Curve, trackers: abc.Sequence[BenchmarkScores]) -> dict[str, object]:
    """Describe a curve; `read` is the index of the threshold at which the score is read, if it is at one."""
    return {
        "title": curve.title,
        "label": curve.reading,
        "measure": curve.measure.title,
        "digits": curve.digits,
        "read": curve.read_at,
        "thresholds": _rounded(curve.thresholds),
        "curves": [_rounded(curve.read(scores)) for scores in trackers],
        "scores": [curve.measure.read(scores) for scores in trackers],
    }


def _sequence_data(
    analysis: Analysis, sequence: Sequence, results: abc.Sequence[Result], num_pictures: int
) -> dict[str, object]:
    predictions_xywh = [read_result(result, sequence) for result in results]
    overlaps = [
        frame_overlap(boxes_xywh, sequence.boxes_xywh, sequence.absent, analysis.protocol)
        for boxes_xywh in predictions_xywh
    ]
    steps = (np.where(np.isnan(overlap), _NO_TRUTH, np.round(overlap * _OVERLAP_STEPS)) for overlap in overlaps)
    return {
        "overlap": [_in_base64(each.astype(np.uint8)) for each in steps],
        "film": _film(sequence, predictions_xywh, overlaps, num_pictures),
    }


def _film(
    sequence: Sequence,
    predictions_xywh: abc.Sequence[np.ndarray],
    overlaps: abc.Sequence[np.ndarray],
    number: int,
) -> dict[str, object] | None:
    """Describe a film strip: the worst moments first, then frames spread over the rest of the video.

    None when there are to be no pictures, or the frames are not at hand.
    """
    num_frames = len(overlaps[0])
    moments = {moment.frame: moment for moment in choose_moments(find_moments(overlaps), num_frames, number)}
    frames = fill_evenly(list(moments), num_frames, number)
    try:
        images = [sequence.frames[frame] for frame in frames]
    except FileNotFoundError:
        return None
    if not images:
        return None
    height, width = images[0].shape[:2]
    height = max(1, round(_PICTURE_WIDTH * height / width))
    shots = [
        _shot(image, frame, moments.get(frame), sequence, predictions_xywh, height)
        for image, frame in zip(images, frames, strict=True)
    ]
    return {"width": _PICTURE_WIDTH, "height": height, "shots": shots}


def _shot(
    image: np.ndarray,
    frame: int,
    moment: Moment | None,
    sequence: Sequence,
    predictions_xywh: abc.Sequence[np.ndarray],
    height: int,
) -> dict[str, object]:
    """Describe a picture of the film strip, and the moment that it is there for, if any."""
    picture, scale, (left, top) = fit_into(image, _PICTURE_WIDTH, height)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    truth = true_box(sequence, frame)
    return {
        "frame": frame,
        "image": f"data:image/jpeg;base64,{_in_base64(jpeg)}",
        "boxes": [_rounded(boxes[frame] * scale + (left, top, 0, 0), 1) for boxes in predictions_xywh],
        "truth": _rounded(truth * scale + (left, top, 0, 0), 1) if np.isfinite(truth).all() else None,
        "moment": moment and {"tracker": moment.tracker, "start": moment.start, "stop": moment.stop},
    }


def _in_base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _rounded(values: np.ndarray, digits: int = 6) -> list[float]:
    return np.round(values, digits).tolist()


def _fill_page(data: dict[str, object]) -> str:
    page = (_PAGE / "page.html").read_text(encoding="utf-8")
    style = (_PAGE / "page.css").read_text(encoding="utf-8")
    # One script, in which the files see each other: modules cannot be loaded from disk.
    script = "\n".join((_PAGE / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    title = f"<title>{html.escape(str(data['title']))}</title>"
    page = page.replace("<title>Tracking report</title>", title).replace("{{style}}", style)
    return page.replace("{{script}}", script).replace("{{data}}", _to_json(data))


def _to_json(value: object) -> str:
    """Return ASCII JSON that cannot end or open a tag, whatever names are in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
