"""Result folders, missing sequences, tables and JSON."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from toys import Videos, video

from lib.data.images.frames import ArrayFrames
from lib.eval.benchmarks import BENCHMARKS, Benchmark, choose_sequences, find_benchmark
from lib.eval.record import RunRecord, claim_folder
from lib.eval.report.plots import draw_curve
from lib.eval.report.tables import format_table, to_json
from lib.eval.results import ResultFiles
from lib.eval.score.analysis import Analysis, Result, analyze, find_results
from lib.eval.score.metrics import CURVES, LABEL_RULES
from lib.eval.score.scores import BenchmarkScores, PooledOverlap, SequenceScores

BENCHMARK = Benchmark("toys", "Toys", "toys", "test")
TRUE = np.tile([10.0, 10.0, 32.0, 16.0], (4, 1))
SECONDS = np.full(4, 0.25)


def toys(names: Iterable[str] = "abc", num_boxes: int = 4, **labels: np.ndarray) -> Videos:
    """Return annotated videos of four frames."""
    frames = ArrayFrames(np.zeros((4, 2, 2, 3), np.uint8))
    return Videos(tuple(video(name, TRUE[:num_boxes], frames, labels=labels) for name in names))


def write(folder: Path, names: str = "abc", offset: float = 0.0) -> Path:
    """Write results that are `offset` pixels off along x after the first frame."""
    folder.mkdir(parents=True, exist_ok=True)
    boxes = TRUE + np.array([offset, 0, 0, 0])
    boxes[0] = TRUE[0]
    for name in names:
        ResultFiles(folder, name).write(boxes, SECONDS, 0)
    return folder


def run(*results: Result, allow_missing: bool = False) -> Analysis:
    return analyze(BENCHMARK, toys(), results, allow_missing=allow_missing)


def test_json_holds_every_number_at_full_precision(tmp_path: Path) -> None:
    result = Result("perfect", write(tmp_path / "perfect"))
    other = Result("off", write(tmp_path / "off", offset=16))
    for name in "abc":
        ResultFiles(other.folder, name).seconds.unlink()
    document = json.loads(to_json(run(result, other)))
    assert (document["benchmark"], document["protocol"]) == ("toys", "stark")
    assert list(document) == ["benchmark", "protocol", "results"] and list(document["results"]) == ["perfect", "off"]
    assert document["results"]["perfect"] == {
        "auc": pytest.approx(20 / 21, abs=1e-15),
        **dict.fromkeys(("op50", "op75", "precision", "norm_precision", "ao", "sr50", "sr75"), 1.0),
        "fps": 4.0,
        # Equal sequences leave nothing to resample.
        "auc_interval": [pytest.approx(20 / 21), pytest.approx(20 / 21)],
        "ao_interval": [1.0, 1.0],
        "sequences": {
            name: {"auc": pytest.approx(20 / 21, abs=1e-15), "precision": 1.0, "norm_precision": 1.0} for name in "abc"
        },
    }
    # Half a width off: an IoU of 1/3, above 7 thresholds; 16 px; half a side.
    off = document["results"]["off"]
    assert off["auc"] == pytest.approx((20 + 3 * 7) / 21 / 4, abs=1e-15) and off["fps"] is None
    assert (off["op50"], off["precision"], off["norm_precision"]) == (0.25, 1.0, 0.25)
    assert off["ao"] == pytest.approx(1 / 3, abs=1e-15) and off["sr50"] == 0


def test_table_ranks_and_rounds(tmp_path: Path) -> None:
    off, perfect = Result("off", write(tmp_path / "off", offset=16)), Result("perfect", write(tmp_path / "perfect"))
    lines = format_table(run(off, perfect)).splitlines()
    assert lines[0] == "Toys, 3 sequences, protocol stark"
    assert " ".join(lines[2].split()) == "result AUC 95 % OP50 OP75 P P_norm AO SR0.5 SR0.75 FPS"
    assert lines[3].split() == ["perfect", "95.2", "95.2-95.2", *["100.0"] * 7, "4.0"]
    assert " ".join(lines[4].split()) == "off 48.8 48.8-48.8 25.0 25.0 100.0 25.0 33.3 0.0 0.0 4.0"
    assert len(lines) == 5 and len({len(line) for line in lines[2:]}) == 1


def test_non_finite_boxes_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "x")
    ResultFiles(folder, "b").write(TRUE, SECONDS, 3)
    assert "NOT FINITE: 3 boxes of x" in format_table(run(Result("x", folder)))


def test_missing_sequences_are_refused_or_left_out_for_all(tmp_path: Path) -> None:
    whole, partial = Result("whole", write(tmp_path / "whole")), Result("partial", write(tmp_path / "partial", "ac"))
    with pytest.raises(ValueError, match="partial lacks 1 sequences: b; --allow-missing"):
        run(whole, partial)
    analysis = run(whole, partial, allow_missing=True)
    for scores in analysis.scores:
        assert [sequence.name for sequence in scores.sequences] == ["a", "c"]


def test_a_folder_without_or_with_other_results_is_refused(tmp_path: Path) -> None:
    one, other = Result("one", write(tmp_path / "one", "a")), Result("other", write(tmp_path / "bc", "bc"))
    with pytest.raises(ValueError, match="nothing to score"):
        run(one, other, allow_missing=True)
    with pytest.raises(ValueError, match=r"holds no result files; toys needs a\.txt"):
        run(Result("x", write(tmp_path / "empty", "")), allow_missing=True)
    with pytest.raises(ValueError, match=r"files of other sequences, such as x\.txt"):
        run(Result("x", write(tmp_path / "other", "xyz")), allow_missing=True)


def test_a_row_that_cannot_be_scored_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "x")
    for text, found in (("1,2,3,4\n1,2,nan,4\n", "row 2"), ("1,2,3,4\n1,2,3,-4\n", "row 2"), ("1,2,3,4\n", "1 rows")):
        (folder / "b.txt").write_text(text)
        with pytest.raises(ValueError, match=rf"b\.txt.*{found}"):
            run(Result("x", folder))


def test_a_benchmark_that_hides_its_boxes_cannot_be_scored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="publishes 1 of the 4 boxes of a; it can only be scored by its server"):
        analyze(BENCHMARK, toys(num_boxes=1), [Result("x", write(tmp_path / "x"))])


def test_got10k_pools_by_its_own_rule(tmp_path: Path) -> None:
    benchmark = Benchmark("got10k_val", "GOT-10k", "got10k", "val", pooling="got10k")
    folder = write(tmp_path / "x", offset=16)
    videos = toys(cover=np.array([8, 8, 0, 8]), frame_size=np.array([100, 40]))
    (scores,) = analyze(benchmark, videos, [Result("x", folder)]).scores
    # Frames 2 and 4 count. In a frame 40 px wide the true box becomes 30, the predicted one 14 wide, all inside it.
    assert [sequence.pooled.num_frames for sequence in scores.sequences] == [2, 2, 2]
    assert scores.ao == pytest.approx(14 / 30)


def test_a_result_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    results_dir = tmp_path / "results"
    by_name = write(results_dir / "mmg" / "tiny" / "toys")
    assert find_results(["mmg/tiny"], BENCHMARK, results_dir) == (Result("mmg/tiny", by_name),)
    with pytest.raises(FileNotFoundError, match=r"did you mean 'mmg/tiny'"):
        find_results(["mmg/tinny"], BENCHMARK, results_dir)
    elsewhere = write(tmp_path / "published" / "ATOM")
    (result,) = find_results([f"{elsewhere}/"], BENCHMARK, results_dir)
    assert (result.name, result.folder) == ("ATOM", elsewhere)
    (result,) = find_results([str(results_dir / "mmg" / "tiny")], BENCHMARK, Path("nowhere"))
    assert result.folder == by_name
    claim_folder(elsewhere, RunRecord("mmg", "big", "toys", None, None, {}), overwrite=True)
    assert find_results([str(elsewhere)], BENCHMARK, results_dir)[0].name == "mmg/big"


def test_results_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    one, other = write(tmp_path / "1" / "x"), write(tmp_path / "2" / "x")
    names = [result.name for result in find_results([str(one), str(other)], BENCHMARK, tmp_path)]
    assert names == [str(one), str(other)]
    with pytest.raises(ValueError, match="named twice"):
        find_results([str(one), str(one)], BENCHMARK, tmp_path)


def test_results_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    claim_folder(tmp_path / "x", RunRecord("mmg", "big", "lasot", None, None, {}), overwrite=False)
    with pytest.raises(ValueError, match="results on lasot, not on toys"):
        find_results([str(tmp_path / "x")], BENCHMARK, tmp_path)


def test_results_that_a_run_made_of_other_videos_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "x")
    ResultFiles(folder, "b").write(TRUE + np.array([2.0, 0, 0, 0]), SECONDS, 0)
    ResultFiles(folder, "c").write(np.vstack((TRUE, TRUE[:1])), np.full(5, 0.25), 0)
    (published,) = run(Result("x", folder)).scores
    assert len(published.sequences) == 3, "nobody knows where results without a record come from"
    (folder / "run.json").write_text(json.dumps(dataclasses.asdict(RunRecord("mmg", "x", "toys", None, None, {}))))
    with pytest.raises(ValueError, match=r"x holds results of other videos .*: b \(first box 12,10,32,16, here "
                       r"10,10,32,16\), c \(5 rows for 4 frames\); give the --root .*test\.py anew"):  # fmt: skip
        run(Result("x", folder))
    write(folder, offset=16)
    assert len(run(Result("x", folder)).scores[0].sequences) == 3


def test_benchmarks_are_well_formed_and_found_by_name() -> None:
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name and benchmark.label in LABEL_RULES
        assert find_benchmark(name) is benchmark
    with pytest.raises(ValueError, match=r"unknown benchmark 'synthetik' \(did you mean 'synthetic'\?\)"):
        find_benchmark("synthetik")


def test_sequences_are_chosen_by_name_index_and_range() -> None:
    dataset = toys(("car-1", "car-2", "dog", "7", "cat"))
    assert choose_sequences(dataset, []) == [0, 1, 2, 3, 4]
    assert choose_sequences(dataset, ["dog", "0"]) == [0, 2]
    assert choose_sequences(dataset, ["1-3"]) == [1, 2, 3]
    assert choose_sequences(dataset, ["7"]) == [3], "a name wins over an index"
    assert choose_sequences(dataset, ["car-2", "1-2"]) == [1, 2]
    with pytest.raises(ValueError, match=r"no sequence 'dogs' \(did you mean 'dog'\?\)"):
        choose_sequences(dataset, ["dogs"])
    for choice, message in (("5", "run from 0 to 4"), ("3-5", "run from 0 to 4"), ("3-1", "ends before it begins")):
        with pytest.raises(ValueError, match=message):
            choose_sequences(dataset, [choice])


def flat(name: str, share: float) -> BenchmarkScores:
    """Make the scores of a tracker whose success curve is the same everywhere."""
    curves = (np.full(21, share), np.zeros(51), np.zeros(51))
    return BenchmarkScores(name, (SequenceScores("a", 1, *curves, PooledOverlap(0, 0, 0, 0)),))


def test_legend_is_sorted_by_score_and_the_best_curve_lies_on_top() -> None:
    results = [flat("b", 0.5), flat("c", 0.1234), flat("a", 0.75)]
    (plot,) = draw_curve(CURVES[0], results, "Toys").axes
    legend = plot.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["75.0  a", "50.0  b", "12.3  c"]
    np.testing.assert_array_equal(plot.lines[-1].get_ydata(), np.full(21, 75))
    # A tracker keeps its colour whatever its rank: the first result is the first colour.
    colours = {line.get_label(): line.get_color() for line in plot.lines}
    (alone,) = draw_curve(CURVES[0], results[:1], "Toys").axes
    assert alone.lines[0].get_color() == colours["50.0  b"]


def test_a_long_legend_stands_beside_the_curves() -> None:
    for number, beside in ((6, False), (7, True)):
        figure = draw_curve(CURVES[0], [flat(f"a tracker {index}", 0.5) for index in range(number)], "Toys")
        figure.draw_without_rendering()
        (plot,) = figure.axes
        legend = plot.get_legend()
        assert legend is not None
        box, frame = legend.get_window_extent(), plot.get_window_extent()
        assert (box.x0 > frame.x1) == beside and box.x1 <= figure.bbox.x1
