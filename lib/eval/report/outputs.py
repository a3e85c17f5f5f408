"""Everything that one analysis is turned into: what `tracking/analyze.py` prints and writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lib.eval.report.files import to_csv, to_latex
from lib.eval.report.tables import format_attributes, format_comparison, format_table, to_json
from lib.eval.results import check_writable, write_whole
from lib.eval.score.ablations import Ablations
from lib.eval.score.analysis import Analysis
from lib.eval.score.comparison import compare
from lib.eval.score.published import PublishedTable


@dataclass(frozen=True)
class Outputs:
    """What is wanted besides the tables in the terminal: files, folders for plots and for the report that
    `web.write_report` writes, and two results, by their names in the table, to compare sequence by sequence."""

    json: Path | None = None
    csv: Path | None = None
    latex: Path | None = None
    plots: Path | None = None
    report: Path | None = None
    compared: tuple[str, str] | None = None

    def check(self) -> None:
        """Raise ValueError or OSError when one of the paths cannot be written, before the work is done."""
        check_writable(
            {"--json": self.json, "--csv": self.csv, "--latex": self.latex},
            {"--out": self.plots, "--report": self.report},
        )

    def write_files(self, json: Callable[[], str], csv: Callable[[], str], latex: Callable[[], str]) -> None:
        """Write what the functions return into the files that are wanted."""
        for path, text in ((self.json, json), (self.csv, csv), (self.latex, latex)):
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, text())
                print(f"numbers in {path}")


def write_outputs(analysis: Analysis, published: tuple[PublishedTable, ...], outputs: Outputs) -> None:
    """Print the tables of an analysis and write the files that are wanted; OSError where one cannot be written."""
    comparison = compare(analysis, *outputs.compared) if outputs.compared else None
    print(format_table(analysis, published))
    if attributes := format_attributes(analysis):
        print(f"\n{attributes}")
    if comparison:
        print(f"\n{format_comparison(comparison)}")
    outputs.write_files(
        partial(to_json, analysis), partial(to_csv, analysis, published), partial(to_latex, analysis, published)
    )
    if outputs.plots:
        # matplotlib takes longer to import than most tables to compute
        from lib.eval.report.plots import plot_analysis

        plot_analysis(analysis, published, comparison, outputs.plots)
        print(f"plots in {outputs.plots}")


def write_ablations(summaries: Sequence[Ablations], outputs: Outputs) -> None:
    """Print the ablation tables and write the files that are wanted; OSError where one cannot be written."""
    from lib.eval.report import ablations  # draws with matplotlib, too

    print(ablations.format_ablations(summaries))
    outputs.write_files(
        partial(ablations.ablations_to_json, summaries),
        partial(ablations.ablations_to_csv, summaries),
        partial(ablations.ablations_to_latex, summaries),
    )
    if outputs.plots and any(summary.analysis for summary in summaries):
        ablations.plot_ablations(summaries, outputs.plots)
        print(f"plots in {outputs.plots}")
