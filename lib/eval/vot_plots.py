"""The VOT challenge's two pictures: expected average overlap by length of run, and accuracy against robustness."""

from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from lib.eval.figure import GREY, colour, dashes, new_figure, save, write_head
from lib.eval.published import PublishedTable
from lib.eval.vot_scores import VotAnalysis, VotExperiment


def plot_vot_analysis(analysis: VotAnalysis, published: tuple[PublishedTable, ...], folder: Path) -> list[Path]:
    """Draw both pictures of every experiment into a folder and return the files' paths.

    Published trackers are drawn, in grey, only where they ran on the same videos and by the same rules.
    """
    paths: list[Path] = []
    for experiment in analysis.experiments:
        others = published if analysis.genuine and experiment.name == "baseline" else ()
        subtitle = f"{analysis.title}, {experiment.name}"
        paths += save(partial(draw_eao, experiment, subtitle), folder, f"{experiment.name}_eao")
        paths += save(partial(draw_ar, experiment, others, subtitle), folder, f"{experiment.name}_ar")
    return paths


def draw_eao(experiment: VotExperiment, subtitle: str) -> Figure:
    """Draw the curves, and the interval whose mean is the EAO."""
    figure = new_figure(6.4, 4.8)
    plot = figure.add_subplot()
    low, high = experiment.interval
    plot.axvspan(low, high, color="#f0f0f0", zorder=0)
    handles = []
    for index, scores in sorted(enumerate(experiment.scores), key=lambda item: item[1].eao):
        # A run of no frames has no overlap.
        (handle,) = plot.plot(
            range(1, len(scores.curve)),
            scores.curve[1:],
            color=colour(index),
            linestyle=dashes(index),
            linewidth=2,
            label=f"{scores.eao:.3f}  {scores.tracker}",
            clip_on=False,
        )
        handles.append(handle)
    plot.set(xlim=(1, high), ylim=(0, 1), xlabel="length of the run [frames]", ylabel="expected average overlap")
    write_head(plot, "Expected average overlap", f"{subtitle}\nEAO: mean over the shaded lengths, {low} to {high}")
    plot.legend(handles=handles[::-1], title="EAO", alignment="left", fontsize=9, framealpha=0.9, edgecolor="none")
    return figure


def draw_ar(experiment: VotExperiment, published: tuple[PublishedTable, ...], subtitle: str) -> Figure:
    """Draw a point for each tracker; the best are at the top right."""
    figure = new_figure(6.4, 4.8)
    plot = figure.add_subplot()
    for table in published:
        for row in table.rows:
            at = row.value(table, "robustness"), row.value(table, "accuracy")
            plot.plot(*at, "o", color=GREY, markersize=5, markerfacecolor="none")
            plot.annotate(row.tracker, at, xytext=(5, 3), textcoords="offset points", fontsize=7, color=GREY)
    for index, scores in enumerate(experiment.scores):
        at = scores.robustness, scores.accuracy
        plot.plot(*at, "os^Dvp*"[index % 7], color=colour(index), markersize=9, label=scores.tracker, clip_on=False)
    plot.set(xlim=(0, 1), ylim=(0, 1), xlabel="robustness", ylabel="accuracy")
    note = "".join(f"\ngrey: {table.mark}" for table in published)
    write_head(plot, "Accuracy and robustness", subtitle + note)
    plot.legend(loc="upper left", fontsize=9, framealpha=0.9, edgecolor="none")
    return figure
