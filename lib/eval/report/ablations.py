"""Ablations as text, CSV, LaTeX, JSON and dots; the paper's numbers always marked as not measured here."""

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.eval.report.figure import GREY, colour, new_figure, save
from lib.eval.report.table import Cell, Latex, Table
from lib.eval.report.tables import describe, describe_with_names, incomplete
from lib.eval.score.ablations import AblationRow, Ablations, how_to_run, published_source
from lib.eval.score.published import MARK
from lib.eval.score.scores import percent

_NOT_RUN = "not run here"
_HEAD = ("row", "LaSOT AUC", "GOT-10k AO", "here", "std", "n", "95 %", "config")


def format_ablations(summaries: Sequence[Ablations]) -> str:
    """Return the tables, published and measured numbers side by side, each under its own name."""
    lines = [published_source(), ""]
    for summary in summaries:
        lines.append(_describe(summary))
        if summary.analysis:
            lines.append("mean of n runs that differ in their seed, std between them; 95 %: with other sequences")
        blocks = {
            title: [_cells(row, "not scored" if summary.obstacle else _NOT_RUN) for row in rows]
            for title, rows in summary.tables.items()
        }
        lines += [*Table(_HEAD, blocks).lines(head_on_top=False), ""]
        if summary.analysis and summary.analysis.missing:
            lines += [incomplete(summary.analysis), ""]
        if not summary.analysis and not summary.obstacle:
            lines += [how_to_run(summary), ""]
    return "\n".join(lines[:-1])


def ablations_to_csv(summaries: Sequence[Ablations]) -> str:
    """Return a row for each row of the paper's tables and each summary; shares in [0, 1], empty where nothing is known.

    The columns `published_...` hold the paper's numbers, the others what was measured here.
    """
    head = ("table", "row", "config", "published_lasot_auc", "published_got10k_ao", "benchmark", "protocol", "measure",
            "mean", "std", "runs", "low", "high", "values", "missing_sequences")  # fmt: skip
    lines: list[tuple[Cell, ...]] = []
    for summary in summaries:
        analysis = summary.analysis
        protocol = analysis.protocol if analysis else ""
        missing = " ".join(sorted(analysis.left_out)) if analysis else ""
        for row in summary.rows:
            cells: tuple[Cell, ...] = ("", "", 0, "", "", "", "")
            if row.measured:
                spread, interval = row.measured.spread, row.measured.interval
                values = " ".join(repr(value) for value in spread.values)
                cells = (spread.mean, spread.std, len(spread.values), interval.low, interval.high, values, missing)
            first = (row.table, row.label, row.config, row.lasot, row.got10k_test)
            lines.append((*first, summary.benchmark.name, protocol, summary.measure, *cells))
    return Table(head, {"": lines}).csv()


def ablations_to_latex(summaries: Sequence[Ablations]) -> str:
    """Return a booktabs table for each summary; the preamble needs \\usepackage{booktabs}."""
    return "% \\usepackage{booktabs}\n" + "\n".join(_latex(summary) for summary in summaries)


def ablations_to_json(summaries: Sequence[Ablations]) -> str:
    """Return the numbers at full precision in [0, 1]; null for what is not known."""
    ablations = [
        {
            "base": summary.base,
            "benchmark": summary.benchmark.name,
            "measure": summary.measure,
            "protocol": summary.analysis and summary.analysis.protocol,
            "missing": summary.analysis.missing if summary.analysis else {},
            "rows": [_to_dict(row) for row in summary.rows],
        }
        for summary in summaries
    ]
    document = {"published": published_source(), "ablations": ablations}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _to_dict(row: AblationRow) -> dict[str, object]:
    measured = row.measured
    return {
        "table": row.table,
        "row": row.label,
        "config": row.config,
        "published": {"lasot_auc": row.lasot, "got10k_test_ao": row.got10k_test},
        "measured": measured
        and {
            "mean": measured.spread.mean,
            "std": None if math.isnan(measured.spread.std) else measured.spread.std,
            "interval": [measured.interval.low, measured.interval.high],
            "runs": dict(zip(measured.runs, measured.spread.values, strict=True)),
        },
    }


def _describe(summary: Ablations) -> str:
    if summary.analysis:
        return f"Here: {summary.measure} of configs based on {summary.base}; {describe(summary.analysis)}"
    if summary.obstacle:
        return f"Here: {summary.obstacle}"
    return f"Here: no results of {summary.base} or its ablations on {summary.benchmark.title}"


def _cells(row: AblationRow, otherwise: str) -> tuple[str, ...]:
    published = (row.label, percent(row.lasot), percent(row.got10k_test))
    if not row.measured:
        return (*published, otherwise, "-", "-", "-", row.config)
    spread, interval = row.measured.spread, row.measured.interval
    low_high = f"{percent(interval.low)}-{percent(interval.high)}"
    return (*published, percent(spread.mean), percent(spread.std), str(len(spread.values)), low_high, row.config)


def _latex(summary: Ablations) -> str:
    here = f"{summary.measure}, {summary.benchmark.title}"
    blocks = {
        title: [(row.label, percent(row.lasot), percent(row.got10k_test), *_latex_measured(row)) for row in rows]
        for title, rows in summary.tables.items()
    }
    caption = f"LaSOT and GOT-10k: {MARK}. {_describe(summary)}."
    if summary.analysis and summary.analysis.missing:
        caption += f" {incomplete(summary.analysis, limit=5)}."
    label = f"tab:ablations-{summary.base}-{summary.benchmark.name}"
    return Table(("", "LaSOT AUC", "GOT-10k AO", here, Latex("$n$")), blocks).latex(caption, label)


def _latex_measured(row: AblationRow) -> tuple[str, str]:
    if not row.measured:
        return "-", "-"
    spread = row.measured.spread
    mean = percent(spread.mean)
    spread_text = mean if math.isnan(spread.std) else Latex(rf"{mean} $\pm$ {percent(spread.std)}")
    return spread_text, str(len(spread.values))


def plot_ablations(summaries: Sequence[Ablations], folder: Path) -> None:
    """Draw a figure for each summary that has measurements."""
    for summary in summaries:
        if summary.analysis:
            save(partial(draw_ablations, summary), folder, f"ablations_{summary.base}_{summary.benchmark.name}")


def draw_ablations(summary: Ablations) -> Figure:
    """Draw a panel for each table and column: rows of the table downwards, scores in percent to the right."""
    assert summary.analysis
    tables = summary.tables
    heights = [len(rows) + 1 for rows in tables.values()]
    figure = new_figure(10.5, 0.8 + 0.36 * sum(heights))
    panels = figure.subplots(len(tables), 3, sharex="col", height_ratios=heights, squeeze=False)
    for line, (title, rows) in zip(panels, tables.items(), strict=True):
        _draw_published(line[0], [100 * row.lasot for row in rows])
        _draw_published(line[1], [100 * row.got10k_test for row in rows])
        _draw_measured(line[2], rows)
        for panel in line:
            panel.set_ylim(len(rows) - 0.5, -0.5)
            panel.set_yticks(range(len(rows)), [""] * len(rows))
            panel.margins(x=0.15)
        line[0].set_yticks(range(len(rows)), [row.label for row in rows])
        line[0].set_title(title, loc="left", fontsize=10, fontweight="bold")
    panels[-1][0].set_xlabel(f"LaSOT AUC [%]\n{MARK}", color=GREY)
    panels[-1][1].set_xlabel(f"GOT-10k AO [%]\n{MARK}", color=GREY)
    most = max(len(row.measured.runs) for row in summary.rows if row.measured)
    spread = "bar: standard deviation between runs" if most > 1 else "one run each"
    panels[-1][2].set_xlabel(f"{summary.measure} here [%]\n{spread}")
    figure.suptitle(f"Ablations of {summary.base}: {describe_with_names(summary.analysis)}", fontsize=11)
    return figure


def _draw_published(panel: Axes, percents: list[float]) -> None:
    panel.scatter(percents, range(len(percents)), s=40, facecolors="none", edgecolors=GREY, linewidths=1.5, zorder=3)


def _draw_measured(panel: Axes, rows: Sequence[AblationRow]) -> None:
    for place, row in enumerate(rows):
        if not row.measured:
            panel.annotate(
                _NOT_RUN, (0.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=GREY
            )
            continue
        spread = row.measured.spread
        runs = 100 * np.array(spread.values)
        if not math.isnan(spread.std):
            panel.errorbar(
                [100 * spread.mean], [place], xerr=[100 * spread.std], color=colour(0), capsize=4, linewidth=1.6
            )
            panel.scatter(runs, np.full(len(runs), place), s=14, color=colour(0), alpha=0.4, linewidths=0, zorder=2)
        panel.scatter([100 * spread.mean], [place], s=46, color=colour(0), zorder=3)
