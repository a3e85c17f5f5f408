"""An analysis as text: a table for the terminal, JSON for other programs."""

import json
import math

from lib.eval.analysis import Analysis, describe_missing
from lib.eval.scores import BenchmarkScores

_COLUMNS = ("AUC", "OP50", "OP75", "P", "P_norm", "AO", "SR0.5", "SR0.75", "FPS")


def format_table(analysis: Analysis) -> str:
    """Return the table, best AUC first: percent with one decimal, frames per second as they are."""
    ranked = sorted(analysis.scores, key=lambda scores: -scores.auc)
    rows = [("result", *_COLUMNS), *((scores.name, *_cells(scores)) for scores in ranked)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [describe(analysis), ""]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join((row[0].ljust(widths[0]), *cells)))
    for scores in ranked:
        if num_non_finite := sum(sequence.num_non_finite for sequence in scores.sequences):
            lines += ["", f"NOT FINITE: {num_non_finite} boxes of {scores.name}; each repeats the one before it"]
    if analysis.missing:
        lines += ["", f"INCOMPLETE: {describe_missing(analysis.missing)}"]
    return "\n".join(lines)


def describe(analysis: Analysis) -> str:
    """Say in a line what was measured, on how much of it, and how."""
    scored = f"{analysis.num_scored}"
    if analysis.num_scored < analysis.num_sequences:
        scored += f" of {analysis.num_sequences}"
    return f"{analysis.benchmark.title}, {scored} sequences, protocol {analysis.protocol}"


def to_json(analysis: Analysis) -> str:
    """Return all numbers at full precision, in [0, 1]; null for what cannot be said, such as fps without times.

    `missing` is there only when sequences are missing: names of the lacking sequences by result.
    """
    document: dict[str, object] = {
        "benchmark": analysis.benchmark.name,
        "protocol": analysis.protocol,
        "results": {scores.name: _numbers(scores) for scores in analysis.scores},
    }
    if analysis.missing:
        document["missing"] = {result.result: list(result.sequences) for result in analysis.missing}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _cells(scores: BenchmarkScores) -> list[str]:
    shares = (
        scores.auc,
        scores.op50,
        scores.op75,
        scores.precision,
        scores.norm_precision,
        scores.ao,
        scores.sr50,
        scores.sr75,
    )
    fps = "-" if math.isnan(scores.fps) else f"{scores.fps:.1f}" if scores.fps < 100 else f"{scores.fps:.0f}"
    return [*("-" if math.isnan(share) else f"{100 * share:.1f}" for share in shares), fps]


def _numbers(scores: BenchmarkScores) -> dict[str, object]:
    return {
        "auc": scores.auc,
        "op50": scores.op50,
        "op75": scores.op75,
        "precision": scores.precision,
        "norm_precision": scores.norm_precision,
        "ao": _number(scores.ao),
        "sr50": _number(scores.sr50),
        "sr75": _number(scores.sr75),
        "fps": _number(scores.fps),
        "sequences": {
            sequence.name: {
                "auc": sequence.auc,
                "precision": sequence.precision,
                "norm_precision": sequence.norm_precision,
            }
            for sequence in scores.sequences
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
