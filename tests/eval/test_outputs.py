"""What an analysis is turned into: intervals, attributes, comparisons, CSV, LaTeX, published rows, ablations, plots."""

import csv
import dataclasses
import io
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from lib.eval.benchmarks import Benchmark
from lib.eval.report.files import to_csv, to_latex
from lib.eval.report.outputs import Outputs, write_outputs
from lib.eval.report.plots import draw_comparison, draw_radar, draw_speed
from lib.eval.report.table import Table, escape
from lib.eval.report.tables import (
    describe_with_names,
    format_attributes,
    format_comparison,
    format_published,
    format_table,
)
from lib.eval.score.analysis import Analysis, by_attribute
from lib.eval.score.bootstrap import ao_interval, auc_interval, mean_interval
from lib.eval.score.comparison import compare, find_compared
from lib.eval.score.published import MARK, PAPER, read_published
from lib.eval.score.scores import BenchmarkScores, PooledOverlap, SequenceScores

BENCHMARK = Benchmark("toys", "Toys", "toys", "test")
ATTRIBUTES = {"a": ("Fast Motion", "Occlusion"), "b": ("Occlusion",), "c": ()}


def sequence(name: str, auc: float, seconds: float = 0.5) -> SequenceScores:
    """Make the scores of a sequence of ten frames whose curves are flat."""
    return SequenceScores(
        name=name, num_frames=10, success_curve=np.full(21, auc), precision_curve=np.full(51, auc / 2),
        norm_precision_curve=np.full(51, auc / 4), pooled=PooledOverlap(9, 9 * auc, 5, 2), seconds=seconds,
        attributes=ATTRIBUTES.get(name, ()),
    )  # fmt: skip


def result(name: str, *aucs: float, seconds: float = 0.5) -> BenchmarkScores:
    return BenchmarkScores(name, tuple(sequence(*pair, seconds) for pair in zip("abcdefgh", aucs, strict=False)))


def analysis(*scores: BenchmarkScores, **missing: tuple[str, ...]) -> Analysis:
    return Analysis(BENCHMARK, "stark", 3, scores, missing)


TWO = analysis(result("one", 0.2, 0.4, 0.9), result("two", 0.3, 0.4, 0.5))


def own_rows(folder: Path, **changes: object) -> Path:
    """Write a file of published numbers."""
    entry = {"benchmark": "toys", "table": "Table 9", "unit": "percent", "columns": ["auc", "norm_precision"],
             "speeds": {"Others": {"fps": 30, "device": "an old card"}},
             "rows": {"Them": [61.5, None], "Others": [70, 80]}, **changes}  # fmt: skip
    document = {"source": "Some & al., 2020", "speeds": entry.pop("speeds"), "tables": [entry]}
    path = folder / "rows.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_interval_of_equal_values_is_a_point_and_of_two_values_their_range() -> None:
    constant = mean_interval([0.25] * 7)
    assert constant.low == constant.high == 0.25
    # Of two sequences a quarter of the draws take the first twice, a quarter the second twice.
    both = mean_interval([0.0, 1.0])
    assert (both.low, both.high) == (0, 1)


def test_interval_covers_the_mean_of_many_benchmarks_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for values in rng.normal(0.6, 0.2, (200, 80)):
        interval = mean_interval(values.tolist())
        covered += interval.low <= 0.6 <= interval.high
    assert 0.89 <= covered / 200 <= 0.99


def test_intervals_are_the_same_every_time_and_of_differences_paired() -> None:
    one, two = TWO.scores
    assert auc_interval(one) == auc_interval(result("other name", 0.2, 0.4, 0.9))
    # One is two plus a constant: unpaired intervals overlap, the paired one is a point.
    shifted = analysis(result("x", 0.2, 0.4, 0.9), result("y", 0.1, 0.3, 0.8))
    interval = compare(shifted, "x", "y").interval
    assert interval.low == pytest.approx(0.1) and interval.high == pytest.approx(0.1)
    assert auc_interval(two).high > auc_interval(one).low


def test_ao_interval_pools_frames() -> None:
    # A sequence of one frame weighs little beside one of 99.
    long, short = sequence("a", 0.5), sequence("b", 0.5)
    pooled = (PooledOverlap(99, 99 * 0.5, 0, 0), PooledOverlap(1, 1.0, 1, 1))
    scores = BenchmarkScores(
        "x", (dataclasses.replace(long, pooled=pooled[0]), dataclasses.replace(short, pooled=pooled[1]))
    )
    interval = ao_interval(scores)
    assert interval.low == pytest.approx(0.5) and interval.high == pytest.approx(1.0)
    nothing = PooledOverlap(0, 0.0, 0, 0)
    no_frames = BenchmarkScores("x", (dataclasses.replace(long, pooled=nothing),))
    assert math.isnan(ao_interval(no_frames).low)


def test_attributes_are_means_over_their_sequences() -> None:
    assert [line.split() for line in format_attributes(TWO).splitlines()[1:]] == [
        ["attribute", "sequences", "one", "two"],
        ["Fast", "Motion", "1", "20.0", "30.0"],
        ["Occlusion", "2", "30.0", "35.0"],
        ["all", "3", "50.0", "40.0"],
    ]
    plain = analysis(BenchmarkScores("x", (sequence("z", 0.5),)))
    assert by_attribute(plain) == {} and format_attributes(plain) == ""


def test_comparison_orders_by_gain_and_counts() -> None:
    comparison = compare(TWO, "one", "two")
    assert [each.sequence for each in comparison.differences] == ["c", "b", "a"]
    assert comparison.gain == pytest.approx(0.1)
    text = format_comparison(comparison)
    assert "AUC +10.0 points" in text and "holds 0" in text
    assert "better on 1, worse on 1, equal on 1" in text
    gains, losses = text.split("largest losses")
    assert re.search(r"c +90\.0 +50\.0 +\+40\.0", gains) and re.search(r"a +20\.0 +30\.0 +-10\.0", losses)
    reverse = compare(TWO, "two", "one")
    assert reverse.gain == -comparison.gain
    assert (reverse.interval.low, reverse.interval.high) == pytest.approx(
        (-comparison.interval.high, -comparison.interval.low)
    )
    with pytest.raises(ValueError, match=r"no result 'on' \(did you mean 'one'\?\)"):
        find_compared({"one": "one", "two": "two"}, "on", "two")


def test_csv_has_every_scope_and_reads_back_exactly(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(TWO, read_published(own_rows(tmp_path), "toys")))))
    assert [row["scope"] for row in rows] == ["overall"] * 2 + ["attribute"] * 4 + ["sequence"] * 6 + ["overall"] * 2
    one = rows[0]
    assert (one["benchmark"], one["protocol"], one["result"], one["source"]) == ("toys", "stark", "one", "measured")
    assert float(one["auc"]) == TWO.scores[0].auc and float(one["ao"]) == TWO.scores[0].ao
    assert float(one["auc_low"]) == auc_interval(TWO.scores[0]).low
    assert (one["sequences_scored"], one["sequences_missing"]) == ("3", "0")
    (row,) = [row for row in rows if (row["scope"], row["name"], row["result"]) == ("attribute", "Occlusion", "two")]
    assert float(row["auc"]) == pytest.approx(0.35) and row["auc_low"] == ""
    (row,) = [row for row in rows if (row["scope"], row["name"], row["result"]) == ("sequence", "c", "one")]
    assert float(row["precision"]) == pytest.approx(0.45)
    them, others = rows[-2:]
    assert them["source"].startswith(MARK) and "Some & al., 2020, Table 9" in them["source"]
    assert float(them["auc"]) == pytest.approx(0.615) and them["norm_precision"] == them["fps"] == ""
    assert others["fps"] == "30.0"


def test_latex_is_booktabs_with_the_best_in_bold(tmp_path: Path) -> None:
    scores = (result("my_tracker 100%", 0.2, 0.4, 0.9), result("two", 0.3, 0.4, 0.5, seconds=0.01))
    text = to_latex(analysis(*scores), read_published(own_rows(tmp_path), "toys"))
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\end{table}") == 2
    assert r"my\_tracker 100\% & \textbf{50.0} & \textbf{12.5} & \textbf{25.0} & 20.0 \\" in text
    assert r"two & 40.0 & 10.0 & 20.0 & \textbf{1000} \\" in text
    assert rf"\multicolumn{{5}}{{l}}{{\emph{{{MARK}: Some \& al., 2020, Table 9}}}} \\" in text
    # Published rows: dashes where nothing is printed, and never bold, though higher.
    assert r"Others & 70.0 & 80.0 & -- & 30.0 \\" in text and r"Them & 61.5 & -- & -- & -- \\" in text
    assert r"Occlusion & 2 & 30.0 & \textbf{35.0} \\" in text
    for line in text.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert line.count(" & ") in {3, 4}
    assert escape(r"a\b{c}~^<&") == r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\textless{}\&"


def test_missing_sequences_are_told_in_every_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    incomplete = analysis(result("x", 0.5, 0.6), x=("c_1",))
    write_outputs(
        incomplete, (), Outputs(json=tmp_path / "x.json", csv=tmp_path / "x.csv", latex=tmp_path / "deep" / "x.tex")
    )
    out = capsys.readouterr().out
    assert "2 of 3 sequences" in out and "INCOMPLETE: x lacks 1 sequences: c_1" in out
    assert json.loads((tmp_path / "x.json").read_text())["missing"] == {"x": ["c_1"]}
    rows = list(csv.DictReader((tmp_path / "x.csv").open()))
    assert {row["sequences_missing"] for row in rows} == {"1"}
    assert [(row["result"], row["name"], row["auc"]) for row in rows if row["scope"] == "missing"] == [("x", "c_1", "")]
    assert (
        r"2 of 3 sequences, protocol stark; INCOMPLETE: x lacks 1 sequences: c\_1"
        in (tmp_path / "deep" / "x.tex").read_text()
    )
    assert "% INCOMPLETE: x lacks 1 sequences: c_1\n" in (tmp_path / "deep" / "x.tex").read_text()
    drawn = "".join(text.get_text() for text in draw_speed(incomplete).axes[0].texts)
    assert "2 of 3 sequences, protocol stark\nINCOMPLETE, without c_1" in drawn
    text = describe_with_names(analysis(result("x", 0.5), x=("c", "d", "e"), y=("d", "f", "g")))
    assert text.endswith("\nINCOMPLETE, without c, d, e and 2 more")


def test_the_papers_file_is_read_and_marked() -> None:
    (lasot,) = read_published(PAPER, "lasot")
    assert len(lasot.rows) == 23 and "Table I" in lasot.mark and lasot.mark.startswith(MARK)
    rows = {row.tracker: row for row in lasot.rows}
    assert rows["MMG"].values == pytest.approx((0.703, 0.801, 0.762)) and rows["MMG"].fps == 95
    assert math.isnan(rows["PrDiMP"].value(lasot, "norm_precision"))
    (got10k,) = read_published(PAPER, "got10k_test")
    assert {row.tracker: row for row in got10k.rows}["MMG"].values == pytest.approx((0.735, 0.83, 0.702))
    for benchmark in ("trackingnet", "lasot_ext", "uav123", "vot2020", "got10k_test", "lasot"):
        (table,) = read_published(PAPER, benchmark)
        text = format_published([table])
        assert MARK in text
        # In every table of the paper its own tracker leads by the first number.
        assert max(table.rows, key=lambda row: row.values[0]).values[0] == pytest.approx(
            next(row.values[0] for row in table.rows if row.tracker == "MMG")
        )
    (vot,) = read_published(PAPER, "vot2020")
    assert re.search(r"MMG +0\.541 +0\.778 +0\.840", format_published([vot]))
    # SR at .75 is never above SR at .5: a swapped column would be.
    for row in got10k.rows:
        assert not row.values[2] > row.values[1]


def test_published_rows_stand_below_the_measured_ones(tmp_path: Path) -> None:
    lines = format_table(TWO, read_published(own_rows(tmp_path), "toys")).splitlines()
    mark = lines.index(f"{MARK}: Some & al., 2020, Table 9")
    assert [line.split()[0] for line in lines[3:5]] == ["one", "two"]
    assert lines[mark + 1].split() == ["Others", "70.0", *["-"] * 4, "80.0", *["-"] * 3, "30.0"]
    assert lines[mark + 2].split()[:2] == ["Them", "61.5"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "percentage"}, "unit: percent | fraction"),
        ({"columns": ["auc", "norm_prec"]}, r"unknown column 'norm_prec' \(did you mean 'norm_precision'\?\)"),
        ({"rows": {"Them": [1]}}, r"Them: expected 2 numbers, found \[1\]"),
        ({"rows": {"Them": [1, "x"]}}, "expected `source: TEXT`"),
        ({"rows": {"Them": [1, 101]}}, "Them: 101 is not a number of the stated unit"),
        ({"rows": {"Them": [1, True]}}, "expected `source: TEXT`"),
        ({"rows": {}}, "expected `source: TEXT`"),
        ({"columns": "auc"}, "expected `source: TEXT`"),
        ({"columns": ["auc", "auc"]}, "the column 'auc' is there twice"),
        ({"benchmark": "toy"}, r"no numbers on 'toys' \(did you mean 'toy'\?\)"),
        ({"speeds": [3]}, "speeds: expected"),
        ({"speeds": {"Them": {"fps": "fast"}}}, "speeds: expected"),
    ],
)
def test_mistakes_in_a_file_of_rows_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=rf"rows\.yaml:? .*{message}"):
        read_published(own_rows(tmp_path, **changes), "toys")


def test_radar_joins_each_result_around_all_attributes() -> None:
    attributes = by_attribute(TWO)
    (plot,) = draw_radar(attributes, "Toys").axes
    np.testing.assert_allclose(np.asarray(plot.lines[0].get_ydata(), float), [20, 30, 20])
    assert plot.get_xticklabels()[1].get_text() == "Occlusion\n(30.0 to 35.0)"


def test_speed_plot_keeps_published_points_hollow(tmp_path: Path) -> None:
    figure = draw_speed(TWO, read_published(own_rows(tmp_path), "toys"))
    figure.draw_without_rendering()
    (plot,) = figure.axes
    points = [tuple(np.asarray(points.get_offsets(), float)[0]) for points in plot.collections]
    assert points == [(20.0, pytest.approx(50)), (20.0, pytest.approx(40)), (30.0, pytest.approx(70))]
    assert [len(points.get_facecolor()) for points in plot.collections] == [1, 1, 0]
    ticks = [label.get_text() for label in plot.get_xticklabels(which="both")]
    assert {"10", "20", "50"} <= set(ticks) and not any("$" in tick for tick in ticks)
    texts = [text.get_text() for text in plot.texts]
    assert "Others (an old card)" in texts and any(MARK in text for text in texts)


def test_speeds_far_apart_have_ticks_that_do_not_touch() -> None:
    both = [BenchmarkScores(name, (sequence("a", 0.5, seconds),)) for name, seconds in (("x", 0.0005), ("y", 2.5))]
    figure = draw_speed(analysis(*both))
    figure.draw_without_rendering()
    labels = [label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert len(labels) > 2 and all(left.x1 < right.x0 for left, right in itertools.pairwise(labels))


def test_comparison_plot_shows_the_extremes_of_many_and_no_ties() -> None:
    names = [f"s{index:03d}" for index in range(100)]
    first = BenchmarkScores("x", tuple(sequence(name, 0.5 + index / 1000) for index, name in enumerate(names)))
    second = BenchmarkScores("y", tuple(sequence(name, 0.5495) for name in names))
    (plot,) = draw_comparison(compare(analysis(first, second), "x", "y"), "Toys").axes
    assert [label.get_text() for label in plot.get_yticklabels()] == names[:-31:-1] + names[29::-1]
    first = BenchmarkScores("x", tuple(sequence(name, 0.5) for name in names))
    second = BenchmarkScores("y", tuple(sequence(name, 0.5 + 0.1 * (name == "s007")) for name in names))
    figure = draw_comparison(compare(analysis(first, second), "x", "y"), "Toys")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["s007"]
    assert "99 sequences on which both are equal" in figure.get_suptitle()
    figure = draw_comparison(compare(analysis(first, dataclasses.replace(first, name="z")), "x", "z"), "Toys")
    assert not figure.axes[0].patches and "equal on every sequence" in figure.axes[0].texts[0].get_text()


def test_no_name_is_a_command_in_a_table() -> None:
    names = ["=HYPERLINK(1)", "+1", "-1+2", "@SUM(A1)", "two\nlines", "\x1b[2Jred"]
    table = Table(("name", "AUC"), {"": [(name, math.nan) for name in names], "a\nmark": [("-", -0.5)]})
    cells = [row[0] for row in csv.reader(io.StringIO(table.csv()))]
    assert cells == ["name", *(f"'{name}" for name in names[:4]), *names[4:], "'-"]
    assert table.csv().splitlines()[-1] == "'-,-0.5"  # a number stays one
    assert len(table.lines()) == len(names) + 4 and "\x1b" not in "".join(table.lines())
    latex = table.latex("a\ncaption", "tab:a\nb")
    assert latex.count("\n") == 14 + len(names) and r"two lines & nan \\" in latex
