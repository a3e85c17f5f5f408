"""The watch names the process that the others wait for, and ends them all."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from lib.train.distributed import Position, explain, late_ranks

ROOT = Path(__file__).resolve().parents[2]
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


RANK = """import os, sys, time
from torch.distributed import TCPStore
from lib.train.distributed import RankWatch
rank = int(sys.argv[1])
watch = RankWatch(rank, 2, timeout=600)
watch.report(3, "waiting for the other ranks" if rank == 0 else "loading data")
while not watch._store.check(["0", "1"]): time.sleep(0.05)
watch._timeout = 1.0
time.sleep(600)
"""


@pytest.mark.slow
def test_a_rank_that_hangs_ends_all_and_is_named_with_its_place_in_the_code():
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    environment = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port), "PYTHONPATH": str(ROOT)}
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank)], stderr=subprocess.PIPE, text=True, env=environment)
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [75, 75]
    assert "rank 1 hung" in said[0] and "rank 0 is here" not in said[0]
    assert "rank 1 hung" in said[1] and "rank 1 is here" in said[1] and 'File "<string>", line 9' in said[1]
