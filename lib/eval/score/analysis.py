"""Score folders of result files on a benchmark, as a whole and by attribute."""

from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.config.text import suggest
from lib.data.sequence import Sequence, SequenceDataset
from lib.eval.benchmarks import Benchmark
from lib.eval.record import other_video, read_record, refuse_other_videos
from lib.eval.results import RECORD_NAME, ResultFiles, read_boxes, read_seconds, result_names
from lib.eval.score.metrics import Protocol, check_predictions, got10k_overlap, score_sequence
from lib.eval.score.scores import BenchmarkScores, SequenceScores


@dataclass(frozen=True)
class Result:
    """A folder of result files and what it is called in tables."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Analysis:
    """The scores of several results, in the order asked for, on the same sequences of a benchmark.

    `num_sequences` is of the whole benchmark; fewer were scored where `missing` names, by result, sequences without a
    file.
    """

    benchmark: Benchmark
    protocol: Protocol
    num_sequences: int
    scores: tuple[BenchmarkScores, ...]
    missing: dict[str, tuple[str, ...]]

    @property
    def num_scored(self) -> int:
        return len(self.scores[0].sequences)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The sequences that were not scored, because some result lacks them."""
        return tuple(dict.fromkeys(name for names in self.missing.values() for name in names))


def analyze(
    benchmark: Benchmark,
    dataset: SequenceDataset,
    results: abc.Sequence[Result],
    *,
    protocol: Protocol = "stark",
    allow_missing: bool = False,
) -> Analysis:
    """Score every result on the sequences of a benchmark, of which only the labels are used.

    The protocol is that of `metrics.score_sequence`. With `allow_missing` the sequences that every result has are
    scored, instead of refusing when one lacks some.

    Raises:
        ValueError: missing sequences, a result file that cannot be scored (named, with its row), a folder with the
            results of another benchmark or of other videos with the same names, or a benchmark that publishes the first
            box of a sequence only.
    """
    missing = {result.name: absent for result in results if (absent := _missing(benchmark, dataset, result))}
    if missing and not allow_missing:
        raise ValueError(f"{describe_missing(missing, limit=10)}; --allow-missing scores the sequences that all have")
    left_out = {name for names in missing.values() for name in names}
    scored: dict[str, list[SequenceScores]] = {result.name: [] for result in results}
    # Of results that were written by a run of this program, as their record says.
    recorded = [result.folder for result in results if (result.folder / RECORD_NAME).is_file()]
    differences: dict[Path, dict[str, str]] = {folder: {} for folder in recorded}
    for index, name in enumerate(dataset.names):
        if name in left_out:
            continue
        sequence = dataset[index]
        if len(sequence.boxes_xywh) < len(sequence):
            raise ValueError(f"{benchmark.name} publishes {len(sequence.boxes_xywh)} of the {len(sequence)} boxes of "
                             f"{name}; it can only be scored by its server, see tracking/submit.py")  # fmt: skip
        for result in results:
            boxes_xywh = read_boxes(ResultFiles(result.folder, name).boxes)
            difference = other_video(boxes_xywh, sequence) if result.folder in differences else None
            if difference:
                differences[result.folder][name] = difference
            else:
                scored[result.name].append(_score(benchmark, sequence, result, boxes_xywh, protocol))
    for folder, of_folder in differences.items():
        refuse_other_videos(folder, of_folder)
    if not all(scored.values()):
        raise ValueError("no sequence has a result file in every folder: there is nothing to score")
    scores = tuple(BenchmarkScores(name, tuple(sequences)) for name, sequences in scored.items())
    return Analysis(benchmark, protocol, len(dataset), scores, missing)


def find_results(texts: abc.Sequence[str], benchmark: Benchmark, results_dir: Path) -> tuple[Result, ...]:
    """Find the folders that a user names, as `tracker/config` or as a path.

    A path may be that of any folder, of result files or with a folder named like the benchmark in it.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: the folder's record says that it belongs to another benchmark, or a result is named twice.
    """
    results: list[Result] = []
    for text in texts:
        folder = _find_folder(text, benchmark, results_dir)
        record = read_record(folder)
        if record and record.benchmark != benchmark.name:
            raise ValueError(f"{folder} holds results on {record.benchmark}, not on {benchmark.name}")
        if record:
            name = f"{record.tracker}/{record.config}"
            if record.batch > 1:  # its speed is that of many sequences at once
                name += f" (batch {record.batch})"
        elif folder.name == benchmark.name and folder.is_relative_to(results_dir):
            name = str(folder.parent.relative_to(results_dir))
        else:
            name = Path(text).resolve().name
        results.append(Result(name, folder))
    if len({result.folder.resolve() for result in results}) < len(results):
        raise ValueError(f"a result is named twice: {', '.join(texts)}")
    names = [result.name for result in results]
    return tuple(
        Result(str(result.folder), result.folder) if names.count(result.name) > 1 else result for result in results
    )


def find_all_results(
    benchmark: Benchmark, dataset: SequenceDataset, results_dir: Path, *, allow_missing: bool = False
) -> tuple[tuple[Result, ...], list[str]]:
    """Return all results on a benchmark that can be scored together, and of each other one why it is left out.

    With `allow_missing` those that lack sequences are taken, too. Raises FileNotFoundError when there are none.
    """
    names = known_results(benchmark, results_dir)
    found: list[Result] = []
    remarks: list[str] = []
    for result in find_results(names, benchmark, results_dir):
        present = result_names(result.folder)
        missing = tuple(name for name in dataset.names if name not in present)
        if len(missing) == len(dataset) or (missing and not allow_missing):
            lack = describe_missing({result.name: missing}, limit=3)
            remarks.append(f"{lack}; left out, unless --allow-missing is given")
        else:
            found.append(result)
    if not found:
        left_out = f": {'; '.join(remarks)}" if remarks else f"; run tracking/test.py TRACKER {benchmark.name} first"
        raise FileNotFoundError(f"no complete results on {benchmark.name} in {results_dir}{left_out}")
    return tuple(found), remarks


def known_results(benchmark: Benchmark, results_dir: Path) -> list[str]:
    """Return the results on a benchmark as a user names them, `tracker/config`, sorted."""
    folders = results_dir.glob(f"*/*/{benchmark.name}")
    return sorted("/".join(path.parts[-3:-1]) for path in folders if any(path.glob("*.txt")))


def describe_missing(missing: Mapping[str, tuple[str, ...]], limit: int | None = None) -> str:
    """List the missing sequences of each result in words; at most `limit` names of each."""
    parts = []
    for result, names in missing.items():
        shown = names[:limit]
        more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
        parts.append(f"{result} lacks {len(names)} sequences: {', '.join(shown)}{more}")
    return "; ".join(parts)


def _find_folder(text: str, benchmark: Benchmark, results_dir: Path) -> Path:
    candidates = (results_dir / text / benchmark.name, Path(text) / benchmark.name, Path(text))
    for folder in candidates:
        if folder.is_dir():
            return folder
    known = known_results(benchmark, results_dir)
    for name in known:
        if name.lower() == text.lower():
            return results_dir / name / benchmark.name
    listed = f"; results on {benchmark.name} there: {', '.join(known)}" if known else ""
    raise FileNotFoundError(
        f"no results {text!r}: neither {candidates[0]} nor {candidates[2]} is a folder{suggest(text, known)}{listed}"
    )


def _missing(benchmark: Benchmark, dataset: SequenceDataset, result: Result) -> tuple[str, ...]:
    present = {path.stem for path in result.folder.glob("*.txt")}
    missing = tuple(name for name in dataset.names if name not in present)
    if len(missing) == len(dataset):
        held = f"files of other sequences, such as {min(present)}.txt" if present else "no result files"
        raise ValueError(f"{result.folder} holds {held}; {benchmark.name} needs {missing[0]}.txt and so on")
    return missing


def _score(
    benchmark: Benchmark, sequence: Sequence, result: Result, boxes_xywh: np.ndarray, protocol: Protocol
) -> SequenceScores:
    files = ResultFiles(result.folder, sequence.name)
    boxes_xywh = check_predictions(boxes_xywh, len(sequence.boxes_xywh), str(files.boxes))
    pooled = None
    if benchmark.pooling == "got10k":
        height, width = sequence.labels["frame_size"].tolist()
        pooled = got10k_overlap(boxes_xywh, sequence.boxes_xywh, sequence.labels["cover"], (height, width))
    return score_sequence(
        sequence.name,
        boxes_xywh,
        sequence.boxes_xywh,
        sequence.absent,
        label=benchmark.label,
        protocol=protocol,
        pooled=pooled,
        seconds=float(read_seconds(files.seconds).sum()) if files.seconds.is_file() else float("nan"),
        num_non_finite=files.num_non_finite(),
        attributes=sequence.attributes,
    )


def by_attribute(analysis: Analysis) -> dict[str, tuple[BenchmarkScores, ...]]:
    """Score all results on the sequences with each attribute, in alphabetical order; none where none is stated."""
    # Every result was scored on the same sequences.
    attributes = sorted({name for sequence in analysis.scores[0].sequences for name in sequence.attributes})

    def having(attribute: str, scores: BenchmarkScores) -> BenchmarkScores:
        return BenchmarkScores(scores.name, tuple(each for each in scores.sequences if attribute in each.attributes))

    return {attribute: tuple(having(attribute, own) for own in analysis.scores) for attribute in attributes}
