"""Learning curves: a figure with mean, spread and every run, the same as a table and as CSV."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lib.eval.report.figure import colour, dashes, new_figure, write_head
from lib.eval.report.table import Cell, Table
from lib.eval.score.learning_curves import Axis, LearningCurve

_X_LABELS: dict[Axis, str] = {"samples": "training samples seen", "step": "training steps"}


def draw_learning_curves(curves: Sequence[LearningCurve], key: str, kind: str, axis: Axis) -> Figure:
    """Draw one line a config, named with its last mean; a band of one standard deviation where it has several runs."""
    figure = new_figure(7.6, 4.8)
    plot = figure.add_subplot()
    handles = []
    for index, curve in enumerate(curves):
        marker = "o" if max(len(run.places) for run in curve.runs) <= 30 else None
        look = {"color": colour(index), "linestyle": dashes(index)}
        if len(curve.runs) > 1 or not curve.places:
            for run in curve.runs:
                plot.plot(run.places, run.values, **look, linewidth=0.8, alpha=0.45)
        means = np.array([spread.mean for spread in curve.spreads])
        (line,) = plot.plot(
            curve.places, means, **look, linewidth=2, marker=marker, markersize=4, label=_name(curve), zorder=3
        )
        if len(curve.runs) > 1 and curve.places:
            spread = np.array([each.std for each in curve.spreads])
            plot.fill_between(
                curve.places, means - spread, means + spread, color=colour(index), alpha=0.15, linewidth=0
            )
        handles.append((line, means[-1] if len(means) else -np.inf))
    plot.set(xlabel=_X_LABELS[axis], ylabel=f"{kind} {key}")
    plot.set_xlim(left=0)
    plot.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
    several = max(len(curve.runs) for curve in curves) > 1
    note = "thick: mean of the runs, band: their standard deviation, thin: each run" if several else "one run each"
    write_head(plot, f"{kind.capitalize()} {key}", note)
    handles.sort(key=lambda item: -item[1])
    title = "last mean ± std (runs)" if several else "last"
    plot.legend(
        handles=[line for line, _ in handles], title=title, loc="best", alignment="left", fontsize=8, edgecolor="none"
    )
    return figure


def _name(curve: LearningCurve) -> str:
    if not curve.places:
        return f"-  {curve.config}"
    last = curve.spreads[-1]
    if len(last.values) == 1:
        return f"{last.mean:.3f}  {curve.config}"
    return f"{last.mean:.3f} ± {last.std:.3f} ({len(last.values)})  {curve.config}"


def format_curves(curves: Sequence[LearningCurve], key: str, kind: str, axis: Axis) -> str:
    """Return a table of the last values: at the last place that all runs of a config have reached."""
    rows: list[tuple[str, ...]] = []
    remarks = []
    for curve in curves:
        if not curve.places:
            rows.append((curve.config, str(len(curve.runs)), "-", "-", "-"))
            remarks.append(f"{curve.config}: its runs were logged at different {axis}, so they have no common mean")
            continue
        last = curve.spreads[-1]
        std = "-" if math.isnan(last.std) else f"{last.std:.4f}"
        rows.append((curve.config, str(len(curve.runs)), f"{curve.places[-1]:,.0f}", f"{last.mean:.4f}", std))
        further = [run.run for run in curve.runs if run.places[-1] > curve.places[-1]]
        if further:
            remarks.append(f"{curve.config}: not all runs are as far as {', '.join(further)}")
    head = ("config", "runs", axis, f"{kind} {key}", "std")
    return "\n".join((*Table(head, {"": rows}).lines(), *remarks))


def curves_to_csv(curves: Sequence[LearningCurve], key: str, kind: str, axis: Axis) -> str:
    """Return every value that was read: rows of the scope "run", and means over the runs of a config."""
    rows: list[tuple[Cell, ...]] = []
    for curve in curves:
        for run in curve.runs:
            for place, value in zip(run.places, run.values, strict=True):
                rows.append(("run", curve.config, run.run, place, kind, key, value, "", 1))
        for place, spread in zip(curve.places, curve.spreads, strict=True):
            rows.append(("mean", curve.config, "", place, kind, key, spread.mean, spread.std, len(spread.values)))
    return Table(("scope", "config", "run", axis, "kind", "key", "value", "std", "runs"), {"": rows}).csv()
