"""The measures that tables, files and plots show: their names in every medium, and where they are read."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lib.eval.scores import BenchmarkScores


@dataclass(frozen=True)
class Measure:
    """One column of a table; all but the speed are shares in [0, 1].

    Attributes:
        key: in JSON, CSV and files of published numbers.
        title: in the terminal and in plots.
        latex: in LaTeX.
        read: takes it from the scores of a result; nan where it cannot be said.
    """

    key: str
    title: str
    latex: str
    read: Callable[[BenchmarkScores], float]


MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure("auc", "AUC", "AUC", lambda scores: scores.auc),
        Measure("op50", "OP50", "OP$_{50}$", lambda scores: scores.op50),
        Measure("op75", "OP75", "OP$_{75}$", lambda scores: scores.op75),
        Measure("precision", "P", "P", lambda scores: scores.precision),
        Measure("norm_precision", "P_norm", "P$_{\\mathrm{norm}}$", lambda scores: scores.norm_precision),
        Measure("ao", "AO", "AO", lambda scores: scores.ao),
        Measure("sr50", "SR0.5", "SR$_{0.5}$", lambda scores: scores.sr50),
        Measure("sr75", "SR0.75", "SR$_{0.75}$", lambda scores: scores.sr75),
    )
}


def percent(share: float) -> str:
    """Write a share in percent with one decimal; a dash for nan."""
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def frames_per_second(fps: float) -> str:
    """Write a speed with three digits or so; a dash for nan."""
    return "-" if math.isnan(fps) else f"{fps:.1f}" if fps < 100 else f"{fps:.0f}"
