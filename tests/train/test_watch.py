"""The watch names the process that the others wait for, and ends them all."""

import pytest

from lib.train.distributed import Position, explain, late_ranks

WAITING, LOADING = "waiting for the other ranks", "loading data"


@pytest.mark.parametrize(
    ("positions", "late"),
    [
        ([Position(4, WAITING), Position(4, LOADING), Position(4, WAITING)], [1]),
        ([Position(4, "recording"), Position(3, WAITING), Position(4, LOADING)], [1]),
        ([Position(4, LOADING), Position(4, "recording")], [1]),
        ([Position(0, "starting"), Position(0, LOADING), Position(0, "starting")], [0, 2]),
        ([Position(7, WAITING)] * 3, [0, 1, 2]),
    ],
)
def test_who_is_late(positions, late):
    assert late_ranks(dict(enumerate(positions))) == late


def test_the_explanation_names_rank_place_and_key():
    said = explain({0: Position(12, WAITING), 1: Position(12, LOADING)}, 90)
    assert said == (
        "no rank has moved for 90 s (train.timeout_minutes): rank 1 hung after 12 steps, loading data; "
        "the others wait for it"
    )
    assert "all are after 12 steps, computing" in explain(
        {0: Position(12, "computing"), 1: Position(12, "computing")}, 1
    )
