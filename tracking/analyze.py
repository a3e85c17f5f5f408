"""Score result files: tables, plots, CSV, LaTeX, JSON, and comparisons with each other and with the literature."""

import argparse
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_data_options, answer_habits, command_parser, refuse_options, run
from lib.eval.benchmarks import BENCHMARKS, Benchmark, find_benchmark
from lib.eval.record import read_record
from lib.eval.report.outputs import Outputs, write_ablations, write_outputs
from lib.eval.report.tables import format_masks, format_published, format_server_scores
from lib.eval.score.ablations import summarize_ablations
from lib.eval.score.analysis import Result, analyze, find_all_results, find_results
from lib.eval.score.comparison import find_compared
from lib.eval.score.mask_scores import score_masks
from lib.eval.score.metrics import PROTOCOLS
from lib.eval.score.published import PAPER, PublishedTable, read_published
from lib.eval.score.trackingnet import score_as_server

_PICTURES = 8
_HABITS = {
    "tracker_name": "results are named as they lie in the results folder: analyze.py lasot mmg/mmg_vitb",
    "tracker_param": "results are named as they lie in the results folder: analyze.py lasot mmg/mmg_vitb",
    "script": "results are named as they lie in the results folder: analyze.py lasot mmg/mmg_vitb",
    "dataset_name": "the benchmark is the first word: analyze.py lasot mmg/mmg_vitb",
    "dataset": "the benchmark is the first word: analyze.py lasot mmg/mmg_vitb",
}
_EXAMPLES = """examples:
  python tracking/analyze.py lasot                     every result on LaSOT that lies in the results folder
  python tracking/analyze.py synthetic mmg/mmg_tiny static/default
  python tracking/analyze.py folder results/mmg/mmg_tiny other_results --root ~/videos --json scores.json
  python tracking/analyze.py lasot mmg/mmg_vitb mmg/mmg_vits --published --csv lasot.csv --latex lasot.tex
  python tracking/analyze.py lasot mmg/mmg_vitb mmg/mmg_vits --compare mmg/mmg_vitb mmg/mmg_vits
  python tracking/analyze.py lasot mmg/mmg_vitb mmg/mmg_vits --report report/lasot
  python tracking/analyze.py lasot --ablations          the paper's Tables IV, V and VI beside what was measured here
  python tracking/analyze.py synthetic --ablations --csv ablations.csv --latex ablations.tex --out figures
  python tracking/analyze.py vot2020 --published        what the paper prints on a benchmark, alone
  python tracking/analyze.py got10k_test --published --rows server.yaml
  python tracking/analyze.py vot votwork               a workspace of the VOT toolkit, beside the paper's numbers

The numbers are those of one-pass evaluation: frame 1 is given, frames without the target count as misses.
  AUC      area under the success curve: share of frames with an overlap (IoU) above 0, .05 ... 1
  95 %     where the AUC would lie with other sequences of the same kind: bootstrap over sequences, seeded
  OP50     share of frames with an overlap above .5; OP75 above .75
  P        share of frames with a centre error of at most 20 pixels
  P_norm   the same with the error in units of the true box's sides, at most .2
  AO, SR   mean overlap, and share above .5 and .75, of the visible frames of all sequences together
  FPS      frames per second of the tracker alone
  J        mean overlap (IoU) of masks with the true masks, where both are there: see test.py --masks

A result file has a row x,y,w,h for every frame; commas, semicolons, tabs or spaces. Rows beyond the end of the
video are cut off first and count for nothing; fewer rows, a negative size or a number that is not finite are refused.

A file for --rows holds numbers from elsewhere, such as an evaluation server:
  source: GOT-10k server, 2026-01-31
  tables:
    - {benchmark: got10k_test, unit: percent, columns: [ao, sr50, sr75], rows: {our tracker: [70.1, 80.2, null]}}
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, analyse, print."""
    answer_habits(argv, _HABITS)
    arguments = _parser().parse_intermixed_args(argv)
    arguments.benchmark = _benchmark_name(arguments)
    if arguments.benchmark == "vot":
        return _analyze_vot(arguments)
    _check_options(arguments)
    published = _read_published(arguments)
    if not arguments.results and published and not arguments.ablations:
        print(format_published(published))
        return 0
    benchmark = find_benchmark(arguments.benchmark)
    if arguments.ablations:
        outputs = _outputs(arguments, ())
        outputs.check()
        summaries = summarize_ablations(
            benchmark,
            # The folder that the user names is that of the benchmark asked for, not of others shown beside it.
            lambda each: each.open(arguments.root if each is benchmark else None, arguments.paths),
            arguments.results_dir,
            protocol=arguments.protocol,
            allow_missing=arguments.allow_missing,
        )
        write_ablations(summaries, outputs)
        return 1 if any(summary.obstacle for summary in summaries) else 0
    return _analyze(arguments, benchmark, published)


def _analyze(arguments: argparse.Namespace, benchmark: Benchmark, published: tuple[PublishedTable, ...]) -> int:
    dataset = None
    if arguments.results:
        results = find_results(arguments.results, benchmark, arguments.results_dir)
    else:
        dataset = benchmark.open(arguments.root, arguments.paths)
        allow_missing = arguments.allow_missing
        results, remarks = find_all_results(benchmark, dataset, arguments.results_dir, allow_missing=allow_missing)
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
    for result in results:
        if (record := read_record(result.folder)) and record.earlier:
            changes = "; ".join(record.earlier)
            print(f"note: {result.folder} holds results of changed code or packages: {changes}", file=sys.stderr)
    outputs = _outputs(arguments, results)
    outputs.check()
    if outputs.report:
        from lib.eval.report.web import check_report_folder  # draws frames, which a table does not need

        check_report_folder(outputs.report)
    if dataset is None:
        dataset = benchmark.open(arguments.root, arguments.paths)
    started = time.perf_counter()
    analysis = analyze(benchmark, dataset, results, protocol=arguments.protocol, allow_missing=arguments.allow_missing)
    seconds = time.perf_counter() - started
    write_outputs(analysis, published, outputs)
    if mask_scores := score_masks(dataset, results):
        print(f"\n{format_masks(mask_scores)}")
    if outputs.report:
        from lib.eval.report.web import write_report

        num_pictures = _PICTURES if arguments.pictures is None else arguments.pictures
        print(f"report in {write_report(analysis, dataset, results, outputs.report, num_pictures, published)}")
    if arguments.trackingnet_formulas:
        names = [sequence.name for sequence in analysis.scores[0].sequences]
        print(f"\n{format_server_scores(results, score_as_server(dataset, names, results))}")
    print(f"scored {analysis.num_scored} sequences of {len(results)} results in {seconds:.2f} s")
    return 0


def _analyze_vot(arguments: argparse.Namespace) -> int:
    if len(arguments.results) != 1:
        raise ValueError("name one workspace of the VOT toolkit: python tracking/analyze.py vot WORKSPACE")
    allowed = {"benchmark", "results", "rows", "published", "out", "no_plots"}
    refuse_options(_parser(), arguments, allowed, arguments.benchmark)
    # draws with matplotlib, too, which is slow to import
    from lib.eval.vot.scores import format_vot_analysis, plot_vot_analysis, read_vot_analysis

    workspace = Path(arguments.results[0])
    analysis = read_vot_analysis(workspace)
    published = tuple(table for file in (PAPER, *arguments.rows) for table in read_published(file, "vot2020"))
    print(format_vot_analysis(analysis, published))
    if not arguments.no_plots:
        folder = arguments.out or Path("analysis") / "vot" / workspace.resolve().name
        plot_vot_analysis(analysis, published, folder)
        print(f"\nplots in {folder}")
    return 0


def _outputs(arguments: argparse.Namespace, results: tuple[Result, ...]) -> Outputs:
    compared = None
    if arguments.compare:
        texts = arguments.results or [result.name for result in results]
        names = {text: result.name for text, result in zip(texts, results, strict=True)}
        compared = find_compared(names, *arguments.compare)
    return Outputs(
        json=arguments.json,
        csv=arguments.csv,
        latex=arguments.latex,
        plots=None if arguments.no_plots else arguments.out or Path("analysis") / arguments.benchmark,
        report=arguments.report,
        compared=compared,
    )


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other or would do nothing."""
    about_results: tuple[str, ...] = ()
    if arguments.ablations:
        if arguments.results:
            raise ValueError("--ablations finds the results of the ablation configs itself: leave out the RESULTs")
        about_results = ("compare", "report", "trackingnet_formulas", "published", "rows")
    elif not arguments.results and (arguments.published or arguments.rows):
        about_results = ("compare", "report", "trackingnet_formulas", "json", "csv", "latex", "out")
    for name in about_results:
        if vars(arguments)[name]:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} is about results: name at least one, such as mmg/mmg_vitb, without --ablations")
    if arguments.pictures is not None and not arguments.report:
        raise ValueError("--pictures is about the report: give --report DIR")
    if arguments.pictures is not None and arguments.pictures < 0:
        raise ValueError(f"--pictures {arguments.pictures}: give 0 for none")
    if arguments.no_plots and arguments.out:
        raise ValueError(f"--out {arguments.out} is where the plots go, and --no-plots draws none: leave one out")


def _benchmark_name(arguments: argparse.Namespace) -> str:
    """Return the benchmark as its files call it; raise ValueError where it stands among the results."""
    name = arguments.benchmark.lower()
    later = [text for text in arguments.results if text.lower() in BENCHMARKS and not Path(text).exists()]
    if name not in BENCHMARKS and later:
        raise ValueError(f"the benchmark comes first, then results as they lie in the results folder: "
                         f"python tracking/analyze.py {later[0]} mmg/mmg_vitb")  # fmt: skip
    return name


def _read_published(arguments: argparse.Namespace) -> tuple[PublishedTable, ...]:
    files = [*([PAPER] if arguments.published else []), *arguments.rows]
    return tuple(table for file in files for table in read_published(file, arguments.benchmark))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__, _EXAMPLES)
    parser.add_argument("benchmark", help=f"one of {', '.join(BENCHMARKS)}; or vot, of a workspace")
    parser.add_argument(
        "results",
        nargs="*",
        metavar="RESULT",
        help="tracker/config as found in the results folder, or any folder of result files; default: all there are",
    )
    add_data_options(parser)
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="stark",
        help="stark (default) and pytracking follow the quirks of published numbers and differ in which true boxes are "
        "valid (w, h > 0; or all four numbers); strict never counts an invalid frame as a hit",
    )
    parser.add_argument(
        "--trackingnet-formulas", action="store_true", help="also score as TrackingNet's server does, for a local check"
    )
    parser.add_argument("--allow-missing", action="store_true", help="score the sequences that every result has")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, in [0, 1] at full precision")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write them overall, by attribute and by sequence")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="write tables in the booktabs style")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the plots (PNG and PDF); default: analysis/<benchmark>; or analysis/vot/<workspace>",
    )
    parser.add_argument("--no-plots", action="store_true", help="draw nothing")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write a web page with every sequence; opens from disk"
    )
    parser.add_argument(
        "--pictures", type=int, metavar="N", help=f"of each sequence in the report (default: {_PICTURES})"
    )
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="compare two of the results sequence by sequence"
    )
    parser.add_argument(
        "--published", action="store_true", help="add the paper's rows on this benchmark, marked as not measured here"
    )
    parser.add_argument(
        "--rows", type=Path, action="append", default=[], metavar="FILE", help="add rows from a file of your own"
    )
    parser.add_argument(
        "--ablations",
        action="store_true",
        help="the paper's ablation tables with what was measured here; runs <config>.seed1, .seed2 ... are averaged",
    )
    return parser


if __name__ == "__main__":
    run(main)
