"""The ablation tables: what the paper prints, what was measured here, and runs that differ in their seed."""

import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from toys import Videos, video

from lib.config.load import experiment_to_dict, flatten, load
from lib.config.text import read_yaml_mapping
from lib.eval.benchmarks import BENCHMARKS, Benchmark
from lib.eval.report.ablations import (
    ablations_to_csv,
    ablations_to_json,
    ablations_to_latex,
    draw_ablations,
    format_ablations,
    plot_ablations,
)
from lib.eval.results import ResultFiles
from lib.eval.score.ablations import Ablations, summarize_ablations
from lib.eval.score.published import MARK, PAPER
from lib.eval.score.scores import MEASURES, BenchmarkScores, PooledOverlap, SequenceScores
from lib.eval.score.seeds import Spread, average_runs, group_runs

BENCHMARK = Benchmark("toys", "Toys", "toys", "test")
# The second frame is given, or has an IoU of 1/3 (above 7 of 21 thresholds), or none; frame 1 is above 20.
PERFECT, THIRD, LOST = 40 / 42, 27 / 42, 20 / 42


def test_every_ablation_row_is_an_experiment_and_the_whole_method_is_the_base() -> None:
    document = read_yaml_mapping(PAPER)
    for family in document["families"]:
        base = flatten(experiment_to_dict(load(family["base"])))
        for table in document["ablations"]:
            for row in table["rows"]:
                settings = flatten(experiment_to_dict(load(family["prefix"] + row["config"])))
                differing = {key for key in base if settings[key] != base[key]} - {"name"}
                sections = {"Table IV": "model.", "Table V": "model.", "Table VI": "track."}
                assert all(key.startswith(sections[table["table"]]) for key in differing), (row, differing)
                if family["base"] == "mmg_vitb":  # the paper's own: its best row is the whole method
                    assert (not differing) == (row["lasot"] == 70.3), (row, differing)


VIDEOS = Videos(tuple(video(name, np.tile([1.0, 1.0, 8.0, 8.0], (2, 1))) for name in "ab"))


def write_results(results_dir: Path, config: str, offset: float) -> None:
    """Write results that are `offset` pixels off in the second frame."""
    folder = results_dir / "mmg" / config / "toys"
    folder.mkdir(parents=True)
    for name in "ab":
        boxes = np.array([[1.0, 1, 8, 8], [1 + offset, 1, 8, 8]])
        ResultFiles(folder, name).write(boxes, np.ones(2), 0)


def summarize(
    results_dir: Path, benchmark: Benchmark = BENCHMARK, allow_missing: bool = False
) -> tuple[Ablations, ...]:
    return summarize_ablations(benchmark, lambda each: VIDEOS, results_dir, allow_missing=allow_missing)


def test_a_seed_is_told_from_the_config() -> None:
    assert group_runs(["a.seed", "tiny_4.seed10"]) == {"a.seed": ["a.seed"], "tiny_4": ["tiny_4.seed10"]}
    assert group_runs(["b.seed1", "a", "b.seed2", "b"]) == {"b": ["b.seed1", "b.seed2", "b"], "a": ["a"]}


def test_spread_is_that_of_a_sample() -> None:
    spread = Spread((0.1, 0.2, 0.6))
    assert spread.mean == pytest.approx(0.3) and spread.std == pytest.approx(math.sqrt((0.04 + 0.01 + 0.09) / 2))
    assert math.isnan(Spread((0.1,)).std)


def test_the_mean_of_runs_has_the_mean_of_their_scores() -> None:
    def run(name: str, share: float) -> BenchmarkScores:
        curves = (np.full(21, share), np.full(51, share / 2), np.full(51, share / 4))
        pooled = PooledOverlap(num_frames=9, iou_sum=9 * share, num_over_50=round(10 * share), num_over_75=1)
        return BenchmarkScores(name, (SequenceScores("a", 10, *curves, pooled, seconds=10 * share),))

    average = average_runs("mean", [run("x", 0.2), run("y", 0.4)])
    assert (average.auc, average.precision, average.norm_precision) == pytest.approx((0.3, 0.15, 0.075))
    assert (average.ao, MEASURES["sr50"].read(average)) == pytest.approx((0.3, 6 / 18))
    assert average.fps == pytest.approx(10 / 3)


def test_published_and_measured_stand_side_by_side(tmp_path: Path) -> None:
    write_results(tmp_path, "mmg_tiny", 0)
    write_results(tmp_path, "tiny_table5_mask25", 80)
    write_results(tmp_path, "tiny_table4_none", 4)
    write_results(tmp_path, "somebody_elses", 4)
    (summary,) = summarize(tmp_path)
    assert summary.base == "mmg_tiny" and len(summary.rows) == 13
    rows = {row.config: row for row in summary.rows}
    measured = {config: row.measured.spread.mean for config, row in rows.items() if row.measured}
    assert measured == pytest.approx({"mmg_tiny": PERFECT, "tiny_table5_mask25": LOST, "tiny_table4_none": THIRD})
    assert (rows["tiny_table5_mask25"].lasot, rows["tiny_table5_mask25"].got10k_test) == pytest.approx((0.694, 0.726))
    # The base's results stand in all three tables, for the rows with its settings.
    assert [row.table[:8] for row in summary.rows if row.config == "mmg_tiny"] == ["Table IV", "Table V:", "Table VI"]
    text = format_ablations([summary])
    assert MARK in text and "Here: AUC of configs based on mmg_tiny; Toys, 2 sequences" in text
    assert re.search(r"25 % +69\.4 +72\.6 +47\.6 +- +1 +47\.6-47\.6 +tiny_table5_mask25", text)
    assert re.search(r"none +69\.9 +72\.8 +not run here +- +- +- +tiny_table6_none", text)


def test_seeds_become_mean_and_spread_in_every_output(tmp_path: Path) -> None:
    for seed, offset in ((1, 0), (2, 4), (10, 80)):
        write_results(tmp_path, f"tiny_table4_all.seed{seed}", offset)
    write_results(tmp_path, "tiny_table4_none.seed1", 4)
    (summary,) = summarize(tmp_path)
    (whole,) = [row for row in summary.rows if row.label == "all"]
    mean, std = np.mean([PERFECT, THIRD, LOST]), np.std([PERFECT, THIRD, LOST], ddof=1)
    assert whole.measured and whole.measured.runs == tuple(f"tiny_table4_all.seed{seed}" for seed in (1, 2, 10))
    assert (whole.measured.spread.mean, whole.measured.spread.std) == pytest.approx((mean, std))
    # Both sequences have the same mean over the runs, so other sequences of the kind would change nothing.
    assert (whole.measured.interval.low, whole.measured.interval.high) == pytest.approx((mean, mean))

    shown = f"{100 * mean:.1f} +{100 * std:.1f} +3 +{100 * mean:.1f}-{100 * mean:.1f} +tiny_table4_all"
    assert re.search(rf"\nall +70\.3 +73\.5 +{shown}\n", format_ablations([summary]))
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(ablations_to_csv([summary])))}
    assert (float(lines["all"]["mean"]), float(lines["all"]["std"])) == pytest.approx((mean, std))
    assert [float(value) for value in lines["all"]["values"].split()] == pytest.approx([PERFECT, THIRD, LOST])
    assert (lines["self"]["mean"], lines["self"]["runs"], lines["self"]["published_lasot_auc"]) == ("", "0", "0.691")
    latex = ablations_to_latex([summary])
    assert rf"all & 70.3 & 73.5 & {100 * mean:.1f} $\pm$ {100 * std:.1f} & 3 \\" in latex
    assert r"none & 68.7 & 70.8 & 64.3 & 1 \\" in latex and r"self & 69.1 & 72.2 & -- & -- \\" in latex
    assert MARK in latex
    document = json.loads(ablations_to_json([summary]))
    rows = {row["row"]: row for row in document["ablations"][0]["rows"] if row["table"].startswith("Table IV")}
    assert rows["all"]["measured"]["runs"]["tiny_table4_all.seed10"] == pytest.approx(LOST)
    assert rows["none"]["measured"]["std"] is None and rows["self"]["measured"] is None


def test_the_figure_shows_every_run_and_what_is_not_there(tmp_path: Path) -> None:
    for seed, offset in ((1, 0), (2, 4)):
        write_results(tmp_path, f"tiny_table4_all.seed{seed}", offset)
    (summary,) = summarize(tmp_path)
    panels = draw_ablations(summary).axes
    assert len(panels) == 9
    lasot, _, here = panels[:3]
    published = np.asarray(lasot.collections[0].get_offsets(), float)[:, 0]
    np.testing.assert_allclose(published, [68.7, 69.1, 70.0, 69.5, 69.7, 70.3])
    assert not len(lasot.collections[0].get_facecolor()), "hollow: not measured here"
    points = np.concatenate(
        [np.asarray(dots.get_offsets(), float) for dots in here.collections if isinstance(dots, PathCollection)]
    )
    assert {round(x, 6) for x, _ in points} >= {round(100 * value, 6) for value in (PERFECT, THIRD)}
    assert {y for _, y in points} == {5.0}, "the row `all` is the sixth"
    assert [text.get_text() for text in here.texts] == ["not run here"] * 5
    assert MARK in panels[-3].get_xlabel() and "standard deviation" in panels[-1].get_xlabel()
    plot_ablations([summary], tmp_path / "plots")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["ablations_mmg_tiny_toys.pdf", "ablations_mmg_tiny_toys.png"]


def test_the_small_models_results_stand_below_those_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "mmg" / "tiny_table4_none.seed1"
    write_results(tmp_path, "tiny_table4_none.seed1", 4)
    (folder / "toys").rename(folder / "synthetic")
    asked, small = summarize(tmp_path, BENCHMARKS["lasot"])
    assert (asked.base, asked.benchmark.name, asked.analysis) == ("mmg_vitb", "lasot", None)
    assert (small.base, small.benchmark.name) == ("mmg_tiny", "synthetic")
    text = format_ablations([asked, small])
    assert text.index("no results of mmg_vitb") < text.index("configs based on mmg_tiny; synthetic")
    (alone,) = summarize(tmp_path, BENCHMARKS["synthetic"])
    assert alone.rows == small.rows


def test_missing_sequences_are_told(tmp_path: Path) -> None:
    write_results(tmp_path, "tiny_table4_none", 4)
    write_results(tmp_path, "tiny_table4_all", 4)
    ResultFiles(tmp_path / "mmg" / "tiny_table4_all" / "toys", "b").boxes.unlink()
    (summary,) = summarize(tmp_path)
    assert summary.obstacle.startswith("2 results on Toys cannot be scored: tiny_table4_all lacks 1 sequences: b;")
    summaries = summarize(tmp_path, allow_missing=True)
    assert "INCOMPLETE: tiny_table4_all lacks 1 sequences: b" in format_ablations(summaries)
    assert "tiny\\_table4\\_all lacks 1 sequences: b" in ablations_to_latex(summaries)
    assert {line["missing_sequences"] for line in csv.DictReader(io.StringIO(ablations_to_csv(summaries)))} == {"", "b"}
