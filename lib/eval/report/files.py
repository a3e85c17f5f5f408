"""An analysis as one CSV file or LaTeX tables, what others published included and marked."""

import math
from collections.abc import Callable, Iterator, Sequence

from lib.eval.report.table import Cell, Latex, Table, plain
from lib.eval.report.tables import describe, incomplete
from lib.eval.score.analysis import Analysis, by_attribute
from lib.eval.score.bootstrap import auc_interval
from lib.eval.score.published import TITLES, PublishedTable
from lib.eval.score.scores import MEASURES, BenchmarkScores, frames_per_second, percent

_HEAD = ("benchmark", "protocol", "result", "scope", "name", "sequences_scored", "sequences_missing")


def to_csv(analysis: Analysis, published: Sequence[PublishedTable] = ()) -> str:
    """Return a row for each result and scope; shares at full precision in [0, 1], empty cells where nothing is known.

    `scope` is overall, attribute, sequence or missing, and `name` says which one. `sequences_missing` counts the
    sequences of the benchmark that were left out because some result lacks them; it is 0 in a complete evaluation. A
    row of the scope missing names one of them and a result that lacks it. `source` is "measured", "not measured", or
    names the publication.
    """
    keys = list(dict.fromkeys((*MEASURES, *(key for table in published for key in table.columns))))
    assert set(keys) <= TITLES.keys()
    rows: list[tuple[Cell, ...]] = []
    for scope, name, scores in _scopes(analysis):
        low_high = (auc_interval(scores).low, auc_interval(scores).high) if scope == "overall" else (math.nan, math.nan)
        measures = (MEASURES[key].read(scores) if key in MEASURES else math.nan for key in keys)
        missing = analysis.num_sequences - analysis.num_scored
        head = (analysis.benchmark.name, analysis.protocol, scores.name, scope, name, len(scores.sequences), missing)
        numbers = (*measures, *low_high, scores.fps)
        rows.append((*head, *numbers, "measured"))
    for result, names in analysis.missing.items():
        for name in names:
            head = (analysis.benchmark.name, analysis.protocol, result, "missing", name, 0, 1)
            rows.append((*head, *("" for _ in keys), "", "", "", "not measured"))
    for table in published:
        for row in table.rows:
            numbers = (*(row.value(table, key) for key in keys), math.nan, math.nan, row.fps)
            head = (table.benchmark, "", row.tracker, "overall", "", "", "")
            rows.append((*head, *numbers, table.mark))
    return Table((*_HEAD, *keys, "auc_low", "auc_high", "fps", "source"), {"": rows}).csv()


def _scopes(analysis: Analysis) -> Iterator[tuple[str, str, BenchmarkScores]]:
    for scores in analysis.scores:
        yield "overall", "", scores
    for attribute, results in by_attribute(analysis).items():
        for scores in results:
            yield "attribute", attribute, scores
    for scores in analysis.scores:
        for sequence in scores.sequences:
            yield "sequence", sequence.name, BenchmarkScores(scores.name, (sequence,))


def to_latex(analysis: Analysis, published: Sequence[PublishedTable] = ()) -> str:
    """Return the overall table and, where sequences carry attributes, the AUC by attribute.

    The best of each column is bold, among the measured results only. Published rows stand below a rule and say so.
    The preamble needs \\usepackage{booktabs}.
    """
    text = "% \\usepackage{booktabs}\n"
    if analysis.missing:
        text += f"% {plain(incomplete(analysis))}\n"
    text += _overall(analysis, published)
    return f"{text}\n{_attributes(analysis)}" if by_attribute(analysis) else text


def _overall(analysis: Analysis, published: Sequence[PublishedTable]) -> str:
    keys = ("ao", "sr50", "sr75") if analysis.benchmark.pooling == "got10k" else ("auc", "norm_precision", "precision")
    ranked = sorted(analysis.scores, key=lambda scores: -MEASURES[keys[0]].read(scores))
    columns = [_bold_best([MEASURES[key].read(scores) for scores in ranked], percent) for key in keys]
    timed = any(not math.isnan(scores.fps) for scores in ranked)
    if timed:
        columns.append(_bold_best([scores.fps for scores in ranked], frames_per_second))
    head = ["Tracker", *(Latex(MEASURES[key].latex) for key in keys), *(["FPS"] if timed else [])]
    blocks = {"": [(scores.name, *cells) for scores, *cells in zip(ranked, *columns, strict=True)]}
    for table in published:
        rows = blocks.setdefault(table.mark, [])
        for row in table.ranked:
            speed = [frames_per_second(row.fps)] if timed else []
            rows.append((row.tracker, *(percent(row.value(table, key)) for key in keys), *speed))
    return Table(head, blocks).latex(f"{_caption(analysis)}.", f"tab:{analysis.benchmark.name}")


def _attributes(analysis: Analysis) -> str:
    rows = [
        (attribute, str(len(results[0].sequences)), *_bold_best([scores.auc for scores in results], percent))
        for attribute, results in by_attribute(analysis).items()
    ]
    table = Table(["Attribute", Latex(r"\#"), *(scores.name for scores in analysis.scores)], {"": rows})
    return table.latex(f"AUC by attribute. {_caption(analysis)}.", f"tab:{analysis.benchmark.name}-attributes")


def _caption(analysis: Analysis) -> str:
    text = describe(analysis)
    return f"{text}; {incomplete(analysis, limit=5)}" if analysis.missing else text


def _bold_best(values: list[float], write: Callable[[float], str]) -> list[str]:
    """Write the numbers of a column; all that print like the best are bold."""
    texts = [write(value) for value in values]
    best = write(max((value for value in values if not math.isnan(value)), default=math.nan))
    return [Latex(rf"\textbf{{{text}}}") if text == best != "-" else text for text in texts]
