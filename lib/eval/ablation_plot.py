"""The ablation tables as dots: the paper's numbers hollow, ours filled, with every run and the spread between runs."""

import math
from collections.abc import Sequence as Indexed
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.eval.ablations import AblationRow, Ablations
from lib.eval.figure import GREY, colour, new_figure, save
from lib.eval.published import MARK
from lib.eval.tables import describe_with_names


def plot_ablations(summaries: Indexed[Ablations], folder: Path) -> list[Path]:
    """Draw a figure for each summary that has measurements; return the files' paths."""
    paths: list[Path] = []
    for summary in summaries:
        if summary.analysis:
            name = f"ablations_{summary.base}_{summary.benchmark.name}"
            paths += save(partial(draw_ablations, summary), folder, name)
    return paths


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


def _draw_measured(panel: Axes, rows: Indexed[AblationRow]) -> None:
    for place, row in enumerate(rows):
        if not row.measured:
            panel.annotate(
                "not run here", (0.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=GREY
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
