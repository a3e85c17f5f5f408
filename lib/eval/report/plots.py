"""The plots of an analysis, as PNG and PDF: curves, attributes, speed against accuracy, two results compared."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import LogLocator, NullLocator

from lib.eval.report.figure import GREY, colour, dashes, draw_lines, new_figure, save, write_head
from lib.eval.report.tables import describe_with_names
from lib.eval.score.analysis import Analysis, by_attribute
from lib.eval.score.comparison import Comparison
from lib.eval.score.metrics import CURVES, Curve
from lib.eval.score.published import MARK, PublishedTable
from lib.eval.score.scores import BenchmarkScores, percent

_MOST_INSIDE = 6  # names in a legend that leaves the curves free; more stand beside the plot
_MOST_BARS = 60


def plot_analysis(
    analysis: Analysis, published: Sequence[PublishedTable], comparison: Comparison | None, folder: Path
) -> None:
    """Draw what an analysis has material for into a folder.

    The curves; a radar from three attributes up; speeds where times were recorded; the differences of two results.
    """
    subtitle = describe_with_names(analysis)
    attributes = by_attribute(analysis)
    for curve in CURVES:
        save(partial(draw_curve, curve, analysis.scores, subtitle), folder, curve.name)
    if len(attributes) >= 3:
        save(partial(draw_radar, attributes, subtitle), folder, "attributes")
    if any(not math.isnan(scores.fps) for scores in analysis.scores):
        save(partial(draw_speed, analysis, published), folder, "speed")
    if comparison:
        save(partial(draw_comparison, comparison, subtitle), folder, "comparison")


def draw_curve(curve: Curve, results: Sequence[BenchmarkScores], subtitle: str) -> Figure:
    """Draw one plot; colours follow the order of the results, the legend their scores."""
    outside = len(results) > _MOST_INSIDE
    figure = new_figure(8.4 if outside else 6.4, 4.8)
    plot = figure.add_subplot()
    thresholds = curve.thresholds
    if curve.read_at is not None:
        plot.axvline(thresholds[curve.read_at], color="#999999", linewidth=0.8, linestyle=(0, (3, 3)))
    reached = [(curve.measure.read(scores), scores) for scores in results]
    handles = draw_lines(
        plot, [(at, f"{100 * at:.1f}  {scores.name}", thresholds, 100 * curve.read(scores)) for at, scores in reached]
    )
    plot.set(xlim=(thresholds[0], thresholds[-1]), ylim=(0, 100), xlabel=curve.axis, ylabel="share of frames [%]")
    write_head(plot, curve.title, subtitle)
    # Success curves fall to the right, precision curves rise: the free corner differs.
    place = "upper left" if outside else "upper right" if curve.read_at is None else "lower right"
    plot.legend(
        handles=handles,
        title=curve.measure.title,
        loc=place,
        bbox_to_anchor=(1.01, 1) if outside else None,
        alignment="left",
        fontsize=9,
        framealpha=0.9,
        edgecolor="none",
    )
    return figure


def draw_radar(attributes: Mapping[str, Sequence[BenchmarkScores]], subtitle: str) -> Figure:
    """Draw AUC by attribute: a spoke for each, from 0 in the centre to a common round number at the rim."""
    figure = new_figure(7.6, 6.8)
    plot = figure.add_subplot(projection="polar")
    assert isinstance(plot, PolarAxes)
    angles = np.linspace(0, 2 * np.pi, len(attributes), endpoint=False)
    values = np.array([[scores.auc for scores in results] for results in attributes.values()])
    rim = min(1.0, max(0.1, math.ceil(10 * values.max()) / 10))
    for index, scores in enumerate(next(iter(attributes.values()))):
        plot.plot(
            np.append(angles, angles[0]),
            100 * np.append(values[:, index], values[0, index]),
            color=colour(index),
            linestyle=dashes(index),
            linewidth=2,
            label=scores.name,
        )
        if values.shape[1] <= 4:  # more would add up to grey
            plot.fill(angles, 100 * values[:, index], color=colour(index), alpha=0.06)
    plot.set_theta_direction(-1)
    plot.set_theta_zero_location("N")
    labels = [
        f"{attribute}\n({percent(float(row.min()))} to {percent(float(row.max()))})"
        if len(row) > 1
        else f"{attribute}\n({percent(float(row[0]))})"
        for attribute, row in zip(attributes, values, strict=True)
    ]
    plot.set_xticks(angles, labels, fontsize=8)
    for angle, text in zip(angles, plot.get_xticklabels(), strict=True):  # beside the circle, not across it
        text.set_horizontalalignment("center" if abs(np.sin(angle)) < 0.1 else "left" if angle < np.pi else "right")
    plot.tick_params(axis="x", pad=6)
    plot.set_ylim(0, 100 * rim)
    plot.tick_params(axis="y", labelsize=7, labelcolor=GREY)
    figure.suptitle(f"AUC by attribute\n{subtitle}", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def draw_speed(analysis: Analysis, published: Sequence[PublishedTable] = ()) -> Figure:
    """Draw AUC against frames per second; published points are hollow, and their device is named."""
    figure = new_figure(6.8, 4.8)
    plot = figure.add_subplot()
    points = [(index, scores) for index, scores in enumerate(analysis.scores) if not math.isnan(scores.fps)]
    others = [
        (row, row.value(table, "auc"))
        for table in published
        for row in table.rows
        if not (math.isnan(row.fps) or math.isnan(row.value(table, "auc")))
    ]
    for index, scores in points:
        plot.scatter([scores.fps], [100 * scores.auc], s=64, color=colour(index), zorder=3)
        _name(plot, scores.fps, scores.auc, scores.name, above=True)
    for row, auc in others:
        plot.scatter([row.fps], [100 * auc], s=64, facecolors="none", edgecolors=GREY, linewidths=1.6, zorder=3)
        _name(plot, row.fps, auc, f"{row.tracker} ({row.device})" if row.device else row.tracker, above=False)
    speeds = [scores.fps for _, scores in points] + [row.fps for row, _ in others]
    plot.set_xscale("log")
    plot.set_xlim(min(speeds) / 1.6, max(speeds) * 2.2)
    plot.margins(y=0.2)
    plot.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(speeds) < 500 * min(speeds) else (1,)))
    plot.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
    plot.xaxis.set_minor_locator(NullLocator())
    plot.set(xlabel="frames per second, the tracker alone", ylabel="AUC [%]")
    note = f"; hollow: {MARK}" if others else ""
    first, *rest = describe_with_names(analysis).split("\n")
    write_head(plot, "Speed and accuracy", "\n".join((first + note, *rest)))
    return figure


def draw_comparison(comparison: Comparison, subtitle: str) -> Figure:
    """Draw a bar per sequence on which the two differ, gains above losses; of many, the largest gains and losses."""
    differing = [each for each in comparison.differences if each.gain != 0]
    num_equal = len(comparison.differences) - len(differing)
    shown, notes = differing, []
    if len(differing) > _MOST_BARS:
        shown = [*differing[: _MOST_BARS // 2], *differing[-_MOST_BARS // 2 :]]
        notes.append(f"the {_MOST_BARS // 2} highest and the {_MOST_BARS // 2} lowest of {len(differing)}")
    if num_equal:
        notes.append(f"{num_equal} sequences on which both are equal are left out")
    figure = new_figure(7.2, 1.8 + 0.17 * max(len(shown), 4))
    plot = figure.add_subplot()
    gains = [100 * each.gain for each in shown]
    bars = range(len(shown))
    plot.barh(bars, gains, color=[colour(0) if gain >= 0 else colour(1) for gain in gains], height=0.75)
    if not shown:
        plot.text(0.5, 0.5, "equal on every sequence", transform=plot.transAxes, ha="center", va="center", color=GREY)
        plot.set_xlim(-1, 1)
    plot.axvline(0, color="#555555", linewidth=0.8)
    plot.set_yticks(bars, [each.sequence for each in shown], fontsize=8)
    plot.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    plot.grid(visible=False, axis="y")
    plot.set_axisbelow(True)
    plot.set_xlabel("difference of AUC [points]")
    interval = comparison.interval
    verdict = (
        f"{comparison.first} (to the right) against {comparison.second}: {100 * comparison.gain:+.1f} points, "
        f"95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
    )
    lines = [part for line in (verdict, *subtitle.split("\n"), *notes) for part in wrap(line, 100)]
    figure.suptitle("\n".join(lines), fontsize=9)
    return figure


def _name(plot: Axes, fps: float, auc: float, text: str, above: bool) -> None:
    offset = (7, 5 if above else -13)
    plot.annotate(text, (fps, 100 * auc), xytext=offset, textcoords="offset points", fontsize=9)
