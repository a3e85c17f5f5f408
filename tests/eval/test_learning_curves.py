"""Learning curves: reading logs, samples seen, seeds as mean and spread, the figure, and the command."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import command

from lib.eval.report.learning import curves_to_csv, draw_learning_curves, format_curves
from lib.eval.score.learning_curves import read_learning_curves


def write_run(folder: Path, ious: list[float], config: str = "data: {samples_per_epoch: 3200}") -> str:
    """Write a run of 50 steps an epoch, one `mean_iou` for each validation; return its folder."""
    folder.mkdir(parents=True)
    lines: list[dict[str, object]] = []
    for epoch, iou in enumerate(ious, start=1):
        lines += [{"kind": "train", "step": 50 * epoch - back, "epoch": epoch, "total": iou / 2} for back in (25, 0)]
        lines.append({"kind": "validation", "step": 50 * epoch, "epoch": epoch, "mean_iou": iou, "l1": 1 - iou})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(config + "\ntrain: {batch_size: 16}\n")
    return str(folder)


def test_runs_of_a_config_become_mean_and_spread_against_samples(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"tiny.seed{seed}", ious) for seed, ious in enumerate(([0.2, 0.5], [0.4, 0.7], [0.3]))]
    tiny, other = read_learning_curves([*runs, write_run(tmp_path / "other", [0.1, 0.2])])
    assert (tiny.config, [run.run for run in tiny.runs]) == ("tiny", ["tiny.seed0", "tiny.seed1", "tiny.seed2"])
    # An epoch of 50 steps is 3200 samples, whatever the batch of one process; only the first is common to all runs.
    assert tiny.runs[0].places == (3200, 6400) and tiny.places == (3200,)
    assert (tiny.spreads[0].mean, tiny.spreads[0].std) == pytest.approx((0.3, 0.1))
    assert other.places == (3200, 6400) and [spread.mean for spread in other.spreads] == [0.1, 0.2]
    table = format_curves([tiny, other], "mean_iou", "validation", "samples").splitlines()
    assert [line.split() for line in table] == [
        ["config", "runs", "samples", "validation", "mean_iou", "std"],
        ["tiny", "3", "3,200", "0.3000", "0.1000"],
        ["other", "1", "6,400", "0.2000", "-"],
        ["tiny:", "not", "all", "runs", "are", "as", "far", "as", "tiny.seed0,", "tiny.seed1"],
    ]
    rows = list(csv.DictReader(io.StringIO(curves_to_csv([tiny, other], "mean_iou", "validation", "samples"))))
    assert len([row for row in rows if row["scope"] == "run"]) == 7
    (mean,) = [row for row in rows if row["scope"] == "mean" and row["config"] == "tiny"]
    assert (float(mean["value"]), float(mean["std"]), mean["runs"], mean["samples"]) == (
        pytest.approx(0.3), pytest.approx(0.1), "3", "3200.0"
    )  # fmt: skip


def test_any_logged_value_can_be_read_and_against_steps(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [0.2, 0.6])
    (losses,) = read_learning_curves([run], "total", kind="train", axis="step")
    assert losses.places == (25, 50, 75, 100) and losses.runs[0].values == (0.1, 0.1, 0.3, 0.3)
    (validation,) = read_learning_curves([f"{run}/log.jsonl"], "l1")
    assert validation.runs[0].values == pytest.approx((0.8, 0.4))


def test_a_run_within_its_first_epoch_counts_its_batches(tmp_path: Path) -> None:
    run = Path(write_run(tmp_path / "a", [0.2]))
    first = (run / "log.jsonl").read_text().splitlines()[0]
    (run / "log.jsonl").write_text(first + "\n" + '{"kind": "train", "st')  # and a line that is being written
    assert read_learning_curves([str(run)], "total", kind="train")[0].places == (25 * 16,)


def test_of_a_step_that_was_logged_twice_the_last_counts(tmp_path: Path) -> None:
    run = Path(write_run(tmp_path / "a", [0.2, 0.3]))
    with (run / "log.jsonl").open("a") as log:
        log.write('{"kind": "validation", "step": 50, "epoch": 1, "mean_iou": 0.9}\n')
    assert read_learning_curves([str(run)])[0].runs[0].values == (0.9, 0.3)


def test_mistakes_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "tiny", [0.2])
    with pytest.raises(FileNotFoundError, match=r"no run '.*tinny'.*did you mean '.*tiny'"):
        read_learning_curves([str(tmp_path / "tinny")])
    with pytest.raises(
        ValueError, match=r"no validation value 'mean_io' \(did you mean 'mean_iou'\?\); it has l1, mean_iou"
    ):
        read_learning_curves([run], "mean_io")
    with pytest.raises(ValueError, match="named twice"):
        read_learning_curves([run, f"{run}/"])
    log = Path(run) / "log.jsonl"
    good = log.read_text()
    for damaged, said in (("not json", "not JSON: 'not json'"), (good.replace("25", "9" * 400), "expected kind, step")):
        log.write_text(f"{damaged}\n{good}")
        with pytest.raises(ValueError, match=rf"log\.jsonl, row 1: {said}"):
            read_learning_curves([run])
    log.write_text(good.splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="no lines of the kind 'validation'"):
        read_learning_curves([run])
    log.write_text(good)
    for samples in ("3", "{samples_per_epoch: .inf}", "!!bool maybe", "!!int ''", "!!timestamp x"):
        (Path(run) / "config.yaml").write_text(f"data: {samples}\ntrain: {{batch_size: 16}}")
        with pytest.raises(ValueError, match=r"config\.yaml .*give --against step"):
            read_learning_curves([run])
    assert read_learning_curves([run], axis="step")[0].places == (50,)


def test_runs_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / parent / "tiny", [0.2]) for parent in ("a", "b")]
    assert [curve.config for curve in read_learning_curves(runs)] == runs


def test_the_figure_draws_mean_band_and_every_run(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"tiny.seed{seed}", [0.2 + seed / 10, 0.5]) for seed in range(3)]
    curves = read_learning_curves([*runs, write_run(tmp_path / "other", [0.1, 0.7])])
    (plot,) = draw_learning_curves(curves, "mean_iou", "validation", "samples").axes
    drawn = [np.asarray(line.get_ydata(), float).round(6).tolist() for line in plot.lines]
    assert drawn == [[0.2, 0.5], [0.3, 0.5], [0.4, 0.5], [0.3, 0.5], [0.1, 0.7]]
    band = plot.collections[0].get_paths()[0].vertices
    assert np.asarray(band)[:, 1].max() == pytest.approx(0.5) and np.asarray(band)[:, 1].min() == pytest.approx(0.2)
    legend = plot.get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["0.700  other", "0.500 ± 0.000 (3)  tiny"], "the best first"


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = write_run(tmp_path / "tiny.seed1", [0.2, 0.5]), tmp_path / "new" / "curves.pdf"
    visualize = command("visualize")
    assert visualize(["curves", run, "--out", str(out), "--csv", str(tmp_path / "curves.csv")]) == 0
    assert out.read_bytes().startswith(b"%PDF") and (tmp_path / "curves.csv").read_text().count("\n") == 5
    assert "0.5000" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"a figure is written as \.png, \.pdf, \.svg"):
        visualize(["curves", run, "--out", str(tmp_path / "curves.bmp")])
    with pytest.raises(ValueError, match=r"--csv .* is a folder"):
        visualize(["curves", run, "--csv", str(tmp_path), "--out", str(tmp_path / "x.png")])
    assert not (tmp_path / "x.png").exists()
