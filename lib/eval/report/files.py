"""An analysis as one CSV file or LaTeX tables, what others published included and marked."""

import csv
import io
import math
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Indexed

from lib.eval.report.tables import describe, incomplete
from lib.eval.score.analysis import Analysis, by_attribute
from lib.eval.score.bootstrap import auc_interval
from lib.eval.score.published import TITLES, PublishedTable
from lib.eval.score.scores import MEASURES, BenchmarkScores, frames_per_second, percent

_HEAD = ("benchmark", "protocol", "result", "scope", "name", "sequences_scored", "sequences_missing")
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def to_csv(analysis: Analysis, published: Indexed[PublishedTable] = ()) -> str:
    """Return a row for each result and scope; shares at full precision in [0, 1], empty cells where nothing is known.

    `scope` is overall, attribute, sequence or missing, and `name` says which one. `sequences_missing` counts the
    sequences of the benchmark that were left out because some result lacks them; it is 0 in a complete evaluation. A
    row of the scope missing names one of them and a result that lacks it. `source` is "measured", "not measured", or
    names the publication.
    """
    keys = list(dict.fromkeys((*MEASURES, *(key for table in published for key in table.columns))))
    assert set(keys) <= TITLES.keys()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*_HEAD, *keys, "auc_low", "auc_high", "fps", "source"))
    for scope, name, scores in _scopes(analysis):
        low_high = (auc_interval(scores).low, auc_interval(scores).high) if scope == "overall" else (math.nan, math.nan)
        measures = (MEASURES[key].read(scores) if key in MEASURES else math.nan for key in keys)
        missing = analysis.num_sequences - analysis.num_scored
        head = (analysis.benchmark.name, analysis.protocol, scores.name, scope, name, len(scores.sequences), missing)
        numbers = (*measures, *low_high, scores.fps)
        writer.writerow((*head, *(_cell(number) for number in numbers), "measured"))
    for lacking in analysis.missing:
        for name in lacking.sequences:
            head = (analysis.benchmark.name, analysis.protocol, lacking.result, "missing", name, 0, 1)
            writer.writerow((*head, *("" for _ in keys), "", "", "", "not measured"))
    for table in published:
        for row in table.rows:
            numbers = (*(row.value(table, key) for key in keys), math.nan, math.nan, row.fps)
            head = (table.benchmark, "", row.tracker, "overall", "", "", "")
            writer.writerow((*head, *(_cell(number) for number in numbers), table.mark))
    return file.getvalue()


def _scopes(analysis: Analysis) -> Iterator[tuple[str, str, BenchmarkScores]]:
    for scores in analysis.scores:
        yield "overall", "", scores
    for attribute in by_attribute(analysis):
        for scores in attribute.scores:
            yield "attribute", attribute.attribute, scores
    for scores in analysis.scores:
        for sequence in scores.sequences:
            yield "sequence", sequence.name, BenchmarkScores(scores.name, (sequence,))


def _cell(number: float) -> str:
    return "" if math.isnan(number) else repr(number)


def to_latex(analysis: Analysis, published: Indexed[PublishedTable] = ()) -> str:
    """Return the overall table and, where sequences carry attributes, the AUC by attribute.

    The best of each column is bold, among the measured results only. Published rows stand below a rule and say so.
    The preamble needs \\usepackage{booktabs}.
    """
    text = "% \\usepackage{booktabs}\n"
    if analysis.missing:
        text += f"% {incomplete(analysis)}\n"
    text += _overall(analysis, published)
    return f"{text}\n{_attributes(analysis)}" if by_attribute(analysis) else text


def escape(text: str) -> str:
    """Return text that LaTeX prints as it stands."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _overall(analysis: Analysis, published: Indexed[PublishedTable]) -> str:
    keys = ("ao", "sr50", "sr75") if analysis.benchmark.pooling == "got10k" else ("auc", "norm_precision", "precision")
    ranked = sorted(analysis.scores, key=lambda scores: -MEASURES[keys[0]].read(scores))
    columns = [_bold_best([MEASURES[key].read(scores) for scores in ranked], percent) for key in keys]
    timed = any(not math.isnan(scores.fps) for scores in ranked)
    if timed:
        columns.append(_bold_best([scores.fps for scores in ranked], frames_per_second))
    num_columns = 1 + len(columns)
    head = ["Tracker", *(MEASURES[key].latex for key in keys), *(["FPS"] if timed else [])]
    lines = [latex_row(head), r"\midrule"]
    lines += [latex_row([escape(scores.name), *cells]) for scores, *cells in zip(ranked, *columns, strict=True)]
    for table in published:
        lines += [r"\midrule", rf"\multicolumn{{{num_columns}}}{{l}}{{\emph{{{escape(table.mark)}}}}} \\"]
        for row in table.ranked:
            cells = [percent(row.value(table, key)).replace("-", "--") for key in keys]
            speed = [frames_per_second(row.fps).replace("-", "--")] if timed else []
            lines.append(latex_row([escape(row.tracker), *cells, *speed]))
    return latex_table(lines, "l" + "r" * len(columns), f"{_caption(analysis)}.", f"tab:{analysis.benchmark.name}")


def _attributes(analysis: Analysis) -> str:
    lines = [latex_row(["Attribute", r"\#", *(escape(scores.name) for scores in analysis.scores)]), r"\midrule"]
    for each in by_attribute(analysis):
        cells = _bold_best([scores.auc for scores in each.scores], percent)
        lines.append(latex_row([escape(each.attribute), str(each.num_sequences), *cells]))
    caption = f"AUC by attribute. {_caption(analysis)}."
    return latex_table(
        lines, "l" + "r" * (1 + len(analysis.scores)), caption, f"tab:{analysis.benchmark.name}-attributes"
    )


def _caption(analysis: Analysis) -> str:
    text = describe(analysis)
    return escape(f"{text}; {incomplete(analysis, limit=5)}" if analysis.missing else text)


def _bold_best(values: list[float], write: Callable[[float], str]) -> list[str]:
    """Write the numbers of a column; all that print like the best are bold."""
    texts = [write(value) for value in values]
    best = write(max((value for value in values if not math.isnan(value)), default=math.nan))
    return ["--" if text == "-" else rf"\textbf{{{text}}}" if text == best else text for text in texts]


def latex_row(cells: Indexed[str]) -> str:
    """Return a row of a tabular."""
    return " & ".join(cells) + r" \\"


def latex_table(lines: Indexed[str], columns: str, caption: str, label: str) -> str:
    """Return rows as a floating table in the booktabs style; caption and label are LaTeX already."""
    return "\n".join(
        (
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        )
    )
