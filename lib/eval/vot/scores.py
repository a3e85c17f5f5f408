"""What `vot analysis` found in a workspace, beside the numbers that others published: as text and as plots."""

import shlex
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lib.config.text import check_name, is_a, parse_json, read_yaml_mapping
from lib.eval.report.figure import GREY, colour, draw_lines, new_figure, save, write_head
from lib.eval.report.table import Table
from lib.eval.score.published import PublishedTable
from lib.eval.vot.workspace import VOT2020, read_workspace_stack

# The toolkit's classes, as its files name them.
_EAO, _CURVE, _AVERAGE = (
    f"vot.analysis.multistart.{name}" for name in ("EAOScore", "EAOCurve", "AverageAccuracyRobustness")
)
_LONGEST = 10**6  # frames of a run


@dataclass(frozen=True)
class VotScores:
    """One tracker in one multi-start experiment; all in [0, 1].

    Attributes:
        eao: expected average overlap, the mean of the curve over the experiment's interval.
        accuracy: mean overlap until the failures.
        robustness: share of frames before the failures.
        curve: (N,) expected average overlap of runs of 0 to N - 1 frames.
    """

    tracker: str
    eao: float
    accuracy: float
    robustness: float
    curve: np.ndarray


@dataclass(frozen=True)
class VotExperiment:
    """The scores of one experiment: baseline, realtime ...

    `interval` are the shortest and longest run, in frames, that the EAO is the mean over.
    """

    name: str
    interval: tuple[int, int]
    scores: tuple[VotScores, ...]


@dataclass(frozen=True)
class VotAnalysis:
    """What one file of `vot analysis` says of the experiments that start several times in a video.

    `genuine` is True for VOT2020's own videos, so that published numbers can be compared.
    """

    file: Path
    title: str
    genuine: bool
    experiments: tuple[VotExperiment, ...]


def read_vot_analysis(workspace: Path) -> VotAnalysis:
    """Read the newest analysis of a workspace.

    Raises FileNotFoundError when it was not analysed, and ValueError for another layout.
    """
    config = workspace / "config.yaml"
    if not config.is_file():
        raise FileNotFoundError(f"{workspace} is no workspace of the VOT toolkit: there is no {config}")
    stack = read_workspace_stack(workspace)
    files = sorted((workspace / "analysis").glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not files:
        quoted = shlex.quote(str(workspace))
        raise FileNotFoundError(f"{workspace} was not analysed yet: vot evaluate --workspace {quoted} TRACKER, then "
                                f"vot analysis --workspace {quoted} --format json")  # fmt: skip
    try:
        document = parse_json(files[-1].read_bytes())
        trackers = list(document["trackers"])
        experiments = tuple(
            _read_experiment(check_name(name, str(files[-1])), entry, trackers)
            for name, entry in document["results"].items()
            if _EAO in _types(entry)
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{files[-1]} is not an analysis of the VOT toolkit 0.7.4: {error!r}") from error
    if not experiments:
        raise ValueError(f"{files[-1]} has no experiment with an expected average overlap")
    local, title = workspace / stack, stack
    with suppress(ValueError):  # a stack of any other form has no title
        title = str(read_yaml_mapping(local).get("title", stack) if local.is_file() else stack)
    return VotAnalysis(files[-1], " ".join(title.split()), stack == VOT2020, experiments)


def format_vot_analysis(analysis: VotAnalysis, published: tuple[PublishedTable, ...]) -> str:
    """Return a table for each experiment, best EAO first, with the published rows under their mark."""
    lines = [f"{analysis.title}, by the VOT toolkit: {analysis.file}"]
    for experiment in analysis.experiments:
        ranked = sorted(experiment.scores, key=lambda scores: -scores.eao)
        blocks = {"": [_row(each.tracker, each.eao, each.accuracy, each.robustness) for each in ranked]}
        if experiment.name == "baseline":  # which the papers print
            for table in published:
                mark = table.mark if analysis.genuine else f"{table.mark}; on VOT2020's videos, not on these"
                blocks[mark] = [
                    _row(row.tracker, *(row.value(table, key) for key in ("eao", "accuracy", "robustness")))
                    for row in table.ranked
                ]
        low, high = experiment.interval
        lines += ["", f"{experiment.name}; EAO over runs of {low} to {high} frames"]
        lines += Table(("tracker", "EAO", "A", "R"), blocks).lines()
    return "\n".join(lines)


def _row(tracker: str, *numbers: float) -> tuple[str, ...]:
    return (tracker, *(f"{number:.3f}" for number in numbers))


def _types(entry: dict[str, Any]) -> list[str]:
    return [analysis["type"] for analysis in entry["parameters"]["analyses"]]


def _read_experiment(name: str, entry: dict[str, Any], trackers: list[str]) -> VotExperiment:
    """Read an experiment: its results stand in the order of its analyses, in each those of the trackers."""
    types = _types(entry)
    eaos, curves, averages = (entry["results"][types.index(kind)] for kind in (_EAO, _CURVE, _AVERAGE))
    settings = entry["parameters"]["analyses"][types.index(_EAO)]
    scores = []
    for index, tracker in enumerate(trackers):
        numbers = [eaos[index][0], *averages[index][:2], *curves[index][0]]
        if not tracker.isprintable() or not is_a(numbers, list[float]):
            raise ValueError(f"the scores of {tracker!r} are no numbers, or its name cannot be printed")
        eao, accuracy, robustness, *curve = map(float, numbers)
        scores.append(VotScores(tracker, eao, accuracy, robustness, np.array(curve)))
    low, high = settings["low"], settings["high"]
    if not 0 <= low <= high <= _LONGEST:
        raise ValueError(f"EAO over runs of {low} to {high} frames")
    return VotExperiment(name, (int(low), int(high)), tuple(scores))


def plot_vot_analysis(analysis: VotAnalysis, published: tuple[PublishedTable, ...], folder: Path) -> None:
    """Draw both pictures of every experiment into a folder.

    Published trackers are drawn, in grey, only where they ran on the same videos and by the same rules.
    """
    for experiment in analysis.experiments:
        others = published if analysis.genuine and experiment.name == "baseline" else ()
        subtitle = f"{analysis.title}, {experiment.name}"
        save(partial(draw_eao, experiment, subtitle), folder, f"{experiment.name}_eao")
        save(partial(draw_ar, experiment, others, subtitle), folder, f"{experiment.name}_ar")


def draw_eao(experiment: VotExperiment, subtitle: str) -> Figure:
    """Draw the curves, and the interval whose mean is the EAO."""
    figure = new_figure(6.4, 4.8)
    plot = figure.add_subplot()
    low, high = experiment.interval
    plot.axvspan(low, high, color="#f0f0f0", zorder=0)
    # A run of no frames has no overlap.
    lines = [
        (scores.eao, f"{scores.eao:.3f}  {scores.tracker}", range(1, len(scores.curve)), scores.curve[1:])
        for scores in experiment.scores
    ]
    handles = draw_lines(plot, lines)
    plot.set(xlim=(1, high), ylim=(0, 1), xlabel="length of the run [frames]", ylabel="expected average overlap")
    write_head(plot, "Expected average overlap", f"{subtitle}\nEAO: mean over the shaded lengths, {low} to {high}")
    plot.legend(handles=handles, title="EAO", alignment="left", fontsize=9, framealpha=0.9, edgecolor="none")
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
