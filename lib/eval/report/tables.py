"""Scores as text: tables for the terminal, JSON for other programs."""

import json
import math
from collections.abc import Sequence

import numpy as np

from lib.eval.report.table import Table
from lib.eval.score.analysis import Analysis, Result, by_attribute, describe_missing
from lib.eval.score.bootstrap import ao_interval, auc_interval
from lib.eval.score.comparison import Comparison
from lib.eval.score.mask_scores import BOX, MaskScores
from lib.eval.score.published import TITLES, PublishedTable
from lib.eval.score.scores import MEASURES, BenchmarkScores, frames_per_second, percent
from lib.eval.score.trackingnet import ServerScores

_MOST_LISTED = 12  # sequences


def format_table(analysis: Analysis, published: Sequence[PublishedTable] = ()) -> str:
    """Return the table, best AUC first, below it what others published, marked; percent, and frames per second."""
    ranked = sorted(analysis.scores, key=lambda scores: -scores.auc)
    keys = list(MEASURES)
    header = ("result", MEASURES[keys[0]].title, "95 %", *(MEASURES[key].title for key in keys[1:]), "FPS")
    blocks = {"": [(scores.name, *_cells(scores)) for scores in ranked]}
    for table in published:
        rows = blocks.setdefault(table.mark, [])
        for row in table.ranked:
            first, *others = (percent(row.value(table, key)) for key in keys)
            rows.append((row.tracker, first, "-", *others, frames_per_second(row.fps)))
    lines = [describe(analysis), "", *Table(header, blocks).lines()]
    for scores in ranked:
        if num_non_finite := sum(sequence.num_non_finite for sequence in scores.sequences):
            lines += ["", f"NOT FINITE: {num_non_finite} boxes of {scores.name}; each repeats the one before it"]
    if analysis.missing:
        lines += ["", incomplete(analysis)]
    return "\n".join(lines)


def format_attributes(analysis: Analysis) -> str:
    """Return the AUC on the sequences of each attribute, a row for each; empty when the sequences carry none."""
    attributes = by_attribute(analysis)
    if not attributes:
        return ""
    head = ("attribute", "sequences", *(scores.name for scores in analysis.scores))
    rows = [
        (name, str(len(results[0].sequences)), *(percent(scores.auc) for scores in results))
        for name, results in (*attributes.items(), ("all", analysis.scores))
    ]
    return "\n".join(["AUC by attribute", *Table(head, {"": rows}).lines()])


def format_published(tables: Sequence[PublishedTable]) -> str:
    """Return tables of others alone, each under its mark, with measures that this project leaves to others too."""
    lines: list[str] = []
    for table in tables:
        rows = []
        for row in table.ranked:
            fractions = ("-" if math.isnan(value) else f"{value:.3f}" for value in row.values)
            rows.append((row.tracker, *(map(percent, row.values) if table.percent else fractions)))
        lines += ["", table.mark, *Table(["tracker", *(TITLES[key] for key in table.columns)], {"": rows}).lines()]
    return "\n".join(lines[1:])


def describe(analysis: Analysis) -> str:
    """Say in a line what was measured, on how much of it, and how."""
    scored = f"{analysis.num_scored}"
    if analysis.num_scored < analysis.num_sequences:
        scored += f" of {analysis.num_sequences}"
    return f"{analysis.benchmark.title}, {scored} sequences, protocol {analysis.protocol}"


def describe_with_names(analysis: Analysis, limit: int = 3) -> str:
    """Describe an analysis for a plot: a second line names the first sequences that were left out, if any were."""
    left_out = analysis.left_out
    if not left_out:
        return describe(analysis)
    more = f" and {len(left_out) - limit} more" if len(left_out) > limit else ""
    return f"{describe(analysis)}\nINCOMPLETE, without {', '.join(left_out[:limit])}{more}"


def incomplete(analysis: Analysis, limit: int | None = None) -> str:
    """Say which sequences were left out; at most `limit` names of each result's."""
    return f"INCOMPLETE: {describe_missing(analysis.missing, limit)}"


def to_json(analysis: Analysis) -> str:
    """Return all numbers at full precision, in [0, 1]; null for what cannot be said, such as fps without times.

    `missing` is there only when sequences are missing: names of the lacking sequences by result.
    """
    document: dict[str, object] = {
        "benchmark": analysis.benchmark.name,
        "protocol": analysis.protocol,
        "results": {scores.name: _numbers(scores) for scores in analysis.scores},
    }
    if attributes := by_attribute(analysis):
        document["attributes"] = {
            attribute: {
                "num_sequences": len(results[0].sequences),
                "auc": {scores.name: scores.auc for scores in results},
            }
            for attribute, results in attributes.items()
        }
    if analysis.missing:
        document["missing"] = analysis.missing
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _cells(scores: BenchmarkScores) -> list[str]:
    first, *others = (percent(measure.read(scores)) for measure in MEASURES.values())
    interval = auc_interval(scores)
    return [first, f"{100 * interval.low:.1f}-{100 * interval.high:.1f}", *others, frames_per_second(scores.fps)]


def _numbers(scores: BenchmarkScores) -> dict[str, object]:
    auc, ao = auc_interval(scores), ao_interval(scores)
    return {
        **{key: _number(measure.read(scores)) for key, measure in MEASURES.items()},
        "fps": _number(scores.fps),
        "auc_interval": [auc.low, auc.high],
        "ao_interval": [_number(ao.low), _number(ao.high)],
        "sequences": {sequence.name: sequence.numbers for sequence in scores.sequences},
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def format_comparison(comparison: Comparison, limit: int = 10) -> str:
    """Return the comparison as text: the verdict, then the `limit` largest gains and losses."""
    interval = comparison.interval
    clear = "the interval holds 0: no clear difference" if interval.low <= 0 <= interval.high else "a clear difference"
    gains = [each for each in comparison.differences if each.gain > 0]
    losses = [each for each in comparison.differences[::-1] if each.gain < 0]
    ties = len(comparison.differences) - len(gains) - len(losses)
    lines = [
        f"{comparison.first} against {comparison.second}: AUC {100 * comparison.gain:+.1f} points, "
        f"95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f} ({clear})",
        f"better on {len(gains)}, worse on {len(losses)}, equal on {ties} sequences",
    ]
    blocks = {
        title: [
            (each.sequence, percent(each.first), percent(each.second), f"{100 * each.gain:+.1f}")
            for each in shown[:limit]
        ]
        for title, shown in (("largest gains", gains), ("largest losses", losses))
        if shown
    }
    if blocks:
        lines += ["", *Table(("sequence", comparison.first, comparison.second, "difference"), blocks).lines()]
    return "\n".join(lines)


def format_masks(scores: Sequence[MaskScores]) -> str:
    """Write mean J and recall of each kind of mask, and J by sequence where there are few, in percent."""
    sequences = list(scores[0].mean_iou)
    rows = []
    for number, each in enumerate(scores, start=1):
        name = f"{number} {each.result}, {'the box as mask' if each.masks == BOX else each.masks}"
        means = (float(np.mean(list(values.values()))) for values in (each.mean_iou, each.recall))
        rows.append((name, *map(percent, means)))
    lines = [f"masks: mean IoU with the true masks (J), {len(sequences)} sequences, all frames but the first"]
    lines += Table(("", "J", "J>.5"), {"": rows}).lines()
    if len(sequences) <= _MOST_LISTED:
        head = ("J by sequence", *(str(number) for number in range(1, len(scores) + 1)))
        by_sequence = [(name, *(percent(each.mean_iou[name]) for each in scores)) for name in sequences]
        lines += ["", *Table(head, {"": by_sequence}).lines()]
    return "\n".join(lines)


def format_server_scores(results: Sequence[Result], scores: Sequence[ServerScores]) -> str:
    """Return a table with a row for each result, in percent."""
    rows = [(result.name, *map(percent, own)) for result, own in zip(results, scores, strict=True)]
    heading = "by the formulas of TrackingNet's server, which are areas: not to be compared with the numbers above"
    return "\n".join((heading, *Table(("result", "AUC", "P", "P_norm"), {"": rows}).lines()))
