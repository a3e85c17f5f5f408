"""Success, precision and normalised-precision plots, as PNG and PDF."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lib.eval.analysis import Analysis
from lib.eval.figure import colour, dashes, new_figure, save, write_head
from lib.eval.metrics import NORM_PRECISION_THRESHOLDS, PRECISION_THRESHOLDS, SUCCESS_THRESHOLDS
from lib.eval.tables import describe_with_names

_MOST_INSIDE = 6  # names in a legend that leaves the curves free; more stand beside the plot


@dataclass(frozen=True)
class Line:
    """One tracker's curve, a share for each threshold, and the score read from it."""

    name: str
    score: float
    curve: np.ndarray


@dataclass(frozen=True)
class Axes:
    """What a plot's axes say, and where on the x axis the score is read; None where it is the area."""

    title: str
    x_label: str
    y_label: str
    thresholds: np.ndarray
    score_label: str
    score_at: float | None


def plot_curves(analysis: Analysis, folder: Path) -> list[Path]:
    """Draw the three plots of an analysis into a folder and return the files' paths."""
    plots = {
        "success": (
            Axes("Success", "overlap threshold", "share of frames [%]", SUCCESS_THRESHOLDS, "AUC", None),
            [Line(scores.name, scores.auc, scores.success_curve) for scores in analysis.scores],
        ),
        "precision": (
            Axes("Precision", "centre error threshold [px]", "share of frames [%]", PRECISION_THRESHOLDS, "P", 20),
            [Line(scores.name, scores.precision, scores.precision_curve) for scores in analysis.scores],
        ),
        "norm_precision": (
            Axes(
                "Normalised precision",
                "centre error threshold [sides of the true box]",
                "share of frames [%]",
                NORM_PRECISION_THRESHOLDS,
                "P_norm",
                0.2,
            ),
            [Line(scores.name, scores.norm_precision, scores.norm_precision_curve) for scores in analysis.scores],
        ),
    }
    paths: list[Path] = []
    for name, (axes, lines) in plots.items():
        paths += save(partial(draw_plot, axes, lines, describe_with_names(analysis)), folder, name)
    return paths


def draw_plot(axes: Axes, lines: list[Line], subtitle: str) -> Figure:
    """Draw one plot; colours follow the order of the results, the legend their scores."""
    outside = len(lines) > _MOST_INSIDE
    figure = new_figure(8.4 if outside else 6.4, 4.8)
    plot = figure.add_subplot()
    if axes.score_at is not None:
        plot.axvline(axes.score_at, color="#999999", linewidth=0.8, linestyle=(0, (3, 3)))
    handles = []
    for index, line in sorted(enumerate(lines), key=lambda item: item[1].score):  # the best is drawn on top
        (handle,) = plot.plot(
            axes.thresholds,
            100 * line.curve,
            color=colour(index),
            linestyle=dashes(index),
            linewidth=2,
            label=f"{100 * line.score:.1f}  {line.name}",
            clip_on=False,
        )
        handles.append(handle)
    plot.set(xlim=(axes.thresholds[0], axes.thresholds[-1]), ylim=(0, 100), xlabel=axes.x_label, ylabel=axes.y_label)
    write_head(plot, axes.title, subtitle)
    # Success curves fall to the right, precision curves rise: the free corner differs.
    place = "upper left" if outside else "upper right" if axes.score_at is None else "lower right"
    plot.legend(
        handles=handles[::-1],
        title=axes.score_label,
        loc=place,
        bbox_to_anchor=(1.01, 1) if outside else None,
        alignment="left",
        fontsize=9,
        framealpha=0.9,
        edgecolor="none",
    )
    return figure
