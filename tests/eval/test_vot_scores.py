"""Reading the VOT toolkit's analyses: the right number under the right name, and published rows always marked."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import command

from lib.eval.score.published import PAPER, read_published
from lib.eval.vot.scores import format_vot_analysis, read_vot_analysis


def an_experiment(shift: float = 0.0) -> dict[str, Any]:
    """An experiment of two trackers as the toolkit 0.7.4 writes it, its analyses in another order than ours."""
    kinds = ("EAOCurve", "AverageAccuracyRobustness", "EAOScore")
    analyses = [{"type": f"vot.analysis.multistart.{kind}", "low": 2, "high": 4} for kind in kinds]
    curves = [[[0, 0.5, 0.4, 0.3]], [[0, 1.0, 1.0, 1.0]]]
    averages = [[0.25, 0.5 + shift, [0.5, 0.25], 30, 60], [0.975, 1.0, [1.0, 0.975], 60, 60]]
    eaos = [[0.35], [1.0]]
    return {"parameters": {"analyses": analyses}, "type": "x", "results": [curves, averages, eaos]}


def a_workspace(folder: Path, stack: str = "stack.yaml", **experiments: Any) -> Path:
    (folder / "analysis").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"registry:\n- ./trackers.ini\nstack: {stack}\n")
    if stack == "stack.yaml":
        (folder / stack).write_text("title: short videos\n")
    document = {"trackers": {"static": {}, "oracle": {}}, "results": experiments or {"baseline": an_experiment()}}
    (folder / "analysis" / "one.json").write_text(json.dumps(document))
    return folder


def test_every_number_stands_under_its_tracker(tmp_path: Path) -> None:
    (experiment,) = read_vot_analysis(a_workspace(tmp_path / "w")).experiments
    static, oracle = experiment.scores
    assert (static.tracker, static.eao, static.accuracy, static.robustness) == ("static", 0.35, 0.25, 0.5)
    assert (oracle.tracker, oracle.eao, oracle.accuracy, oracle.robustness) == ("oracle", 1.0, 0.975, 1.0)
    assert static.curve.tolist() == [0, 0.5, 0.4, 0.3]
    assert experiment.interval == (2, 4)


def test_the_newest_analysis_counts_and_other_experiments_are_passed_over(tmp_path: Path) -> None:
    other = {"parameters": {"analyses": [{"type": "vot.analysis.accuracy.AverageAccuracy"}]}, "results": [[]]}
    folder = a_workspace(tmp_path / "w", baseline=an_experiment(), realtime=an_experiment(0.1), unsupervised=other)
    old = folder / "analysis" / "old.json"
    old.write_text("{}")
    os.utime(old, (0, 0))
    (folder / "stack.yaml").write_text("title: !!bool maybe")
    analysis = read_vot_analysis(folder)
    assert (analysis.file.name, analysis.title) == ("one.json", "stack.yaml")
    assert [experiment.name for experiment in analysis.experiments] == ["baseline", "realtime"]
    assert analysis.experiments[1].scores[0].robustness == 0.6


def test_published_rows_stand_under_their_mark_and_only_beside_the_baseline(tmp_path: Path) -> None:
    folder = a_workspace(tmp_path / "w", "vot2020/shortterm", baseline=an_experiment(), realtime=an_experiment())
    text = format_vot_analysis(read_vot_analysis(folder), read_published(PAPER, "vot2020"))
    lines = [line.split() for line in text.splitlines()]
    assert lines.count(["MMG", "0.541", "0.778", "0.840"]) == 1
    mark = next(index for index, line in enumerate(lines) if line[:3] == ["published,", "not", "measured"])
    assert (
        lines.index(["oracle", "1.000", "0.975", "1.000"]) < lines.index(["static", "0.350", "0.250", "0.500"]) < mark
    )
    assert mark < lines.index(["MMG", "0.541", "0.778", "0.840"])
    assert "not on these" not in text


def test_other_videos_are_never_compared_with_published_numbers_unsaid(tmp_path: Path) -> None:
    analysis = read_vot_analysis(a_workspace(tmp_path / "w"))
    published = read_published(PAPER, "vot2020")
    assert "Table III; on VOT2020's videos, not on these" in format_vot_analysis(analysis, published)
    assert analysis.title == "short videos"


def test_what_is_missing_is_named_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no workspace of the VOT toolkit"):
        read_vot_analysis(tmp_path)
    folder = a_workspace(tmp_path / "w")
    good = (folder / "analysis" / "one.json").read_text()
    hostile = [("0.35", "1" * 400), ("0.35", '"1_0"'), ('"low": 2', '"low": 1e999'), ("static", "a\\nb"), (good, "{}")]
    for before, after in hostile:
        (folder / "analysis" / "one.json").write_text(good.replace(before, after))
        with pytest.raises(ValueError, match=r"one\.json is not an analysis of the VOT toolkit"):
            read_vot_analysis(folder)
    (folder / "analysis" / "one.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"was not analysed yet: vot evaluate .* vot analysis"):
        read_vot_analysis(folder)


def test_the_command_prints_the_table_draws_its_pictures_and_refuses_what_it_would_ignore(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, analyze = str(a_workspace(tmp_path / "w")), command("analyze")
    assert analyze(["vot", folder, "--out", str(tmp_path / "out")]) == 0
    assert "MMG" in capsys.readouterr().out
    names = [*("baseline_ar.pdf", "baseline_ar.png"), *("baseline_eao.pdf", "baseline_eao.png")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    with pytest.raises(ValueError, match="--protocol means nothing for vot"):
        analyze(["vot", folder, "--protocol", "strict"])
    with pytest.raises(ValueError, match="name one workspace"):
        analyze(["vot"])
