"""Pack results for the evaluation servers that keep their ground truth."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.config.text import suggest
from lib.data.sequence import SequenceDataset
from lib.eval.benchmarks import BENCHMARKS
from lib.eval.record import other_video, refuse_other_videos
from lib.eval.results import RECORD_NAME, ResultFiles, boxes_text, read_boxes, read_seconds, result_names, seconds_text
from lib.eval.score.analysis import find_results
from lib.eval.score.metrics import check_predictions
from lib.files import whole_file

_NUM_LISTED = 20
_DATE = (1980, 1, 1, 0, 0, 0)  # the same results give the same archive, byte for byte


@dataclass(frozen=True)
class Server:
    """What an evaluation server wants of a benchmark: where `timed`, seconds too, in a folder for each sequence.

    Where no rule says all names, they are empty, and the data set or the result says them.
    """

    benchmark: str
    num_sequences: int
    names: tuple[str, ...]
    timed: bool
    url: str


SERVERS: dict[str, Server] = {
    "got10k": Server(
        benchmark="got10k_test",
        num_sequences=180,
        names=tuple(f"GOT-10k_Test_{number:06d}" for number in range(1, 181)),
        timed=True,
        url="http://got-10k.aitestunion.com/submit_instructions",
    ),
    "trackingnet": Server(
        benchmark="trackingnet",
        num_sequences=511,
        names=(),
        timed=False,
        url="https://eval.ai/web/challenges/challenge-page/1805/overview",
    ),
}


@dataclass(frozen=True)
class Packed:
    """What was packed; unchecked are sequences whose number of rows could not be compared with their frames."""

    num_sequences: int
    num_frames: int
    num_unchecked: int
    num_non_finite: int


def pack(server: Server, folder: Path, archive: Path, dataset: SequenceDataset | None = None) -> Packed:
    """Check a complete result and write it as the archive that a server takes; the result itself is only read.

    An archive that exists is replaced. Without the data set the numbers of rows are not checked.

    Raises:
        ValueError: the archive is not called .zip, or sequences are missing, cannot be handed in or are of other
            videos with the same names; they are listed.
    """
    if archive.suffix != ".zip":
        raise ValueError(f"{archive}: the server takes a zip archive; call it {archive.name}.zip")
    names = _names(server, folder, dataset)
    index_of = {name: index for index, name in enumerate(dataset.names)} if dataset else {}
    num_frames = num_non_finite = 0
    problems: list[str] = []
    members: dict[str, str] = {}
    differences: dict[str, str] = {}
    recorded = (folder / RECORD_NAME).is_file()
    for name in names:
        files = ResultFiles(folder, name)
        sequence = dataset[index_of[name]] if dataset and name in index_of else None
        try:
            boxes_xywh, seconds = _read_checked(files, None if sequence is None else len(sequence), server.timed)
        except (ValueError, FileNotFoundError) as error:
            problems.append(str(error))
            continue
        if recorded and sequence is not None and (difference := other_video(boxes_xywh, sequence)):
            differences[name] = difference
        if server.timed:
            members[f"{name}/{name}_001.txt"] = boxes_text(boxes_xywh)
            members[f"{name}/{name}_time.txt"] = seconds_text(seconds)
        else:
            members[f"{name}.txt"] = boxes_text(boxes_xywh)
        num_frames += len(boxes_xywh)
        num_non_finite += files.num_non_finite()
    refuse_other_videos(folder, differences)
    if problems:
        more = [f"and {len(problems) - _NUM_LISTED} more"] if len(problems) > _NUM_LISTED else []
        listed = "\n  ".join([*problems[:_NUM_LISTED], *more])
        raise ValueError(
            f"nothing was packed, {len(problems)} of {len(names)} sequences cannot be handed in:\n  {listed}"
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(archive) as aside, zipfile.ZipFile(aside, "w") as opened:
        for path, text in members.items():
            opened.writestr(zipfile.ZipInfo(path, _DATE), text, zipfile.ZIP_DEFLATED)
    num_unchecked = sum(name not in index_of for name in names)
    return Packed(len(names), num_frames, num_unchecked, num_non_finite)


def find_submission(server_name: str, result: str, results_dir: Path) -> tuple[Server, Path]:
    """Return the server and the folder that a user names; errors as in `find_results`, ValueError for the server's."""
    if server_name not in SERVERS:
        raise ValueError(f"unknown server {server_name!r}{suggest(server_name, SERVERS)}; known: {', '.join(SERVERS)}")
    server = SERVERS[server_name]
    (found,) = find_results([result], BENCHMARKS[server.benchmark], results_dir)
    return server, found.folder


def _names(server: Server, folder: Path, dataset: SequenceDataset | None) -> tuple[str, ...]:
    """Return the names of all sequences that the server has, and make sure that each has a result file."""
    present = result_names(folder)
    if not present:
        raise ValueError(f"{folder} holds no result files")
    names = server.names
    if not names and dataset and len(dataset) == server.num_sequences:
        names = tuple(dataset.names)
    if not names and len(present) != server.num_sequences:
        raise ValueError(f"{folder} has results of {len(present)} sequences, {server.benchmark} has "
                         f"{server.num_sequences}; give the --root of all to learn which differ")  # fmt: skip
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(f"{folder} lacks {len(missing)} of {len(names)} sequences: {', '.join(missing)}; "
                         "the same tracking/test.py command as before tracks them")  # fmt: skip
    return names or tuple(sorted(present))


def _read_checked(files: ResultFiles, length: int | None, timed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Read boxes and seconds of one sequence, or say in a ValueError why they cannot be handed in."""
    boxes_xywh = read_boxes(files.boxes)
    num_frames = len(boxes_xywh) if length is None else length
    if len(boxes_xywh) > num_frames:
        raise ValueError(f"{files.boxes}: {len(boxes_xywh)} rows, but the sequence has {num_frames} frames")
    boxes_xywh = check_predictions(boxes_xywh, num_frames, str(files.boxes))
    if not timed:
        return boxes_xywh, np.empty(0)
    seconds = read_seconds(files.seconds)
    usable = np.isfinite(seconds) & (seconds >= 0)
    if len(seconds) != num_frames or not usable.all():
        raise ValueError(f"{files.seconds}: expected {num_frames} times in seconds, found {usable.sum()}")
    return boxes_xywh, seconds
