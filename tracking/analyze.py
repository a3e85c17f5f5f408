"""Score result files: a table, curves, JSON."""

import argparse
import time
from pathlib import Path

from lib.config.cli import run
from lib.eval.analysis import analyze, find_results
from lib.eval.benchmarks import BENCHMARKS, find_benchmark
from lib.eval.metrics import PROTOCOLS
from lib.eval.tables import format_table, to_json

_EXAMPLES = """examples:
  python tracking/analyze.py synthetic mmg/mmg_tiny static/none
  python tracking/analyze.py folder results/mmg/mmg_tiny /tmp/other_tracker --root ~/videos --json scores.json

The numbers are those of one-pass evaluation: frame 1 is given, frames without the target count as misses.
  AUC      area under the success curve: share of frames with an overlap (IoU) above 0, .05 ... 1
  OP50     share of frames with an overlap above .5; OP75 above .75
  P        share of frames with a centre error of at most 20 pixels
  P_norm   the same with the error in units of the true box's sides, at most .2
  AO, SR   mean overlap, and share above .5 and .75, of the visible frames of all sequences together
  FPS      frames per second of the tracker alone
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, analyse, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", help=f"one of {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULT",
        help="tracker/config as found in the results folder, or any folder of result files",
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where the benchmark lies; default: its configured path"
    )
    parser.add_argument("--paths", type=Path, metavar="FILE", help="instead of experiments/paths.yaml")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="stark",
        help="stark (default) and pytracking follow the quirks of published numbers and differ in which true boxes are "
        "valid (w, h > 0; or all four numbers); strict never counts an invalid frame as a hit",
    )
    parser.add_argument("--allow-missing", action="store_true", help="score the sequences that every result has")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, in [0, 1] at full precision")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the curves (PNG and PDF); default: analysis/<benchmark>"
    )
    parser.add_argument("--no-plots", action="store_true", help="draw no curves")
    arguments = parser.parse_args(argv)

    benchmark = find_benchmark(arguments.benchmark)
    results = find_results(arguments.results, benchmark, arguments.results_dir)
    dataset = benchmark.open(arguments.root, arguments.paths)
    started = time.perf_counter()
    analysis = analyze(benchmark, dataset, results, protocol=arguments.protocol, allow_missing=arguments.allow_missing)
    seconds = time.perf_counter() - started
    print(format_table(analysis))
    print(f"\nscored {analysis.num_scored} sequences of {len(results)} results in {seconds:.2f} s")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(to_json(analysis), encoding="utf-8")
        print(f"numbers in {arguments.json}")
    if not arguments.no_plots:
        from lib.eval.plots import plot_curves  # matplotlib takes longer to import than most tables to compute

        folder = arguments.out or Path("analysis") / benchmark.name
        plot_curves(analysis, folder)
        print(f"curves in {folder}")
    return 0


if __name__ == "__main__":
    run(main)
