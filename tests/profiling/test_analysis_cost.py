"""The files that the cost of an analysis is measured on."""

import json
from pathlib import Path

import pytest

from lib.eval.results import read_boxes
from lib.profiling.analysis import analyse_here, make_files, measure_analysis


def test_made_files_are_those_of_lasot_and_can_be_analysed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    num_frames = make_files(tmp_path, num_results=2, num_frames=5600)
    truths = sorted((tmp_path / "lasot").rglob("groundtruth.txt"))
    assert len(truths) == 280
    lengths = {path.parent.name: len(read_boxes(path)) for path in truths}
    assert sum(lengths.values()) == num_frames and 5000 < num_frames < 6200
    assert len(set(lengths.values())) > 20, "sequences differ in length"
    for folder in (tmp_path / "results").iterdir():
        assert {path.stem: len(read_boxes(path)) for path in folder.iterdir()} == lengths
    analyse_here(str(tmp_path))
    cost = json.loads(capsys.readouterr().out)
    assert len(cost["seconds"]) == len(cost["cpu_seconds"]) == 3 and min(cost["seconds"]) > 0
    assert 10e6 < cost["peak_bytes"] < 10e9


@pytest.mark.slow
def test_memory_of_an_analysis_of_lasots_size_stays_under_300_mb() -> None:
    *_, memory = measure_analysis().splitlines()
    assert int(memory.split()[-2]) < 300
