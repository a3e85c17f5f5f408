"""Everything that one analysis is turned into: what `tracking/analyze.py` prints and writes."""

from collections.abc import Sequence as Indexed
from dataclasses import dataclass
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
    """What is wanted besides the tables in the terminal.

    Attributes:
        json, csv, latex: files to write, or None.
        plots: folder for the plots, or None.
        report: folder for the web page, or None; `web.write_report` writes it.
        compared: two results, by their names in the table, to compare sequence by sequence, or None.
    """

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


def write_outputs(analysis: Analysis, published: tuple[PublishedTable, ...], outputs: Outputs) -> None:
    """Print the tables of an analysis and write the files that are wanted.

    Raises:
        ValueError: a result to compare is not in the analysis.
        OSError: a file cannot be written.
    """
    comparison = compare(analysis, *outputs.compared) if outputs.compared else None
    print(format_table(analysis, published))
    if attributes := format_attributes(analysis):
        print(f"\n{attributes}")
    if comparison:
        print(f"\n{format_comparison(comparison)}")
    if outputs.json:
        _write(outputs.json, to_json(analysis))
    if outputs.csv:
        _write(outputs.csv, to_csv(analysis, published))
    if outputs.latex:
        _write(outputs.latex, to_latex(analysis, published))
    if outputs.plots:
        # matplotlib takes longer to import than most tables to compute
        from lib.eval.report.plots import plot_comparison, plot_curves, plot_summaries

        plot_curves(analysis, outputs.plots)
        plot_summaries(analysis, published, outputs.plots)
        if comparison:
            plot_comparison(comparison, analysis, outputs.plots)
        print(f"plots in {outputs.plots}")


def write_ablations(summaries: Indexed[Ablations], outputs: Outputs) -> None:
    """Print the ablation tables and write the files that are wanted; errors as in `write_outputs`."""
    # draws with matplotlib, too, which takes longer to import than most tables to compute
    from lib.eval.report.ablations import (
        ablations_to_csv,
        ablations_to_json,
        ablations_to_latex,
        format_ablations,
        plot_ablations,
    )

    print(format_ablations(summaries))
    if outputs.json:
        _write(outputs.json, ablations_to_json(summaries))
    if outputs.csv:
        _write(outputs.csv, ablations_to_csv(summaries))
    if outputs.latex:
        _write(outputs.latex, ablations_to_latex(summaries))
    if outputs.plots and any(summary.analysis for summary in summaries):
        plot_ablations(summaries, outputs.plots)
        print(f"plots in {outputs.plots}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    print(f"numbers in {path}")
