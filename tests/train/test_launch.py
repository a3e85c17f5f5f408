"""Several processes on one machine: the same weights as one; ended together when one fails or is stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SMALL

from lib.train.launch import check

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

# Runs the command of this machine's launcher on itself; each process then trains, with something done to it.
DRIVER = """
import os, sys, time, signal
from pathlib import Path
import torch
from torch import nn
import lib.train.trainer
from lib.config.cli import run
from lib.train import distributed
from lib.train.launch import is_launched, launch, record
from lib.train.objectives import TrackingObjective
from lib.train.trainer import Trainer
import tracking.train

RANK, SCENARIO = os.environ.get("RANK", "0"), os.environ["SCENARIO"]
original_step, original_mode = Trainer.train_step, TrackingObjective.train

def step(self, *batches):
    if SCENARIO == "fail" and RANK == "1" and self.progress.step == 2:
        raise RuntimeError("a fault of rank one")
    if SCENARIO == "hang" and self.progress.step == 2:
        distributed._watch._timeout = 2.0
        if RANK == "1":
            time.sleep(600)
    if SCENARIO == "terminate" and RANK == "0" and self.progress.step == 3:
        os.kill(int(os.environ["LAUNCHER"]), signal.SIGTERM)
    return original_step(self, *batches)

def freeze_statistics(self):
    original_mode(self)
    for module in self.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()

Trainer.train_step = step
if SCENARIO == "frozen":
    TrackingObjective.train = freeze_statistics
    # AdamW moves a weight whose gradient is zero but for rounding as far as any other.
    lib.train.trainer.build_optimizer = lambda model, train: torch.optim.SGD(
        [{"params": [p for p in model.parameters() if p.requires_grad], "base_lr": 0.1}], lr=0.1)

@record
def main(argv):
    if not is_launched() and int(argv[0]) > 1:
        os.environ["LAUNCHER"] = str(os.getpid())
        return launch(int(argv[0]), "cpu", Path(__file__), argv)
    return tracking.train.main(argv[1:])

run(main)
"""


def drive(folder: Path, scenario: str, processes: int, *settings: str) -> subprocess.CompletedProcess[str]:
    script = folder / "driver.py"
    script.write_text(DRIVER, encoding="utf-8")
    words = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
    command = [sys.executable, str(script), str(processes), "--config", "mmg_tiny", "--device", "cpu", "--run",
               str(folder / f"run_{processes}"), *words]  # fmt: skip
    environment = {**os.environ, "SCENARIO": scenario, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=600, check=False)


def newest(folder: Path, processes: int) -> dict:
    return torch.load(folder / f"run_{processes}" / "latest.pth", weights_only=True)


TWO = ("train.batch_size=2", "model.encoder.drop_path=0.2")


def test_two_ranks_make_the_step_of_one_rank_with_twice_the_batch(tmp_path):
    """Up to the order of sums: masks, drop-path and samples are the same; BatchNorm is frozen."""
    for processes, batch_size in ((1, 4), (2, 2)):
        done = drive(tmp_path, "frozen", processes, f"train.batch_size={batch_size}", "model.encoder.drop_path=0.2")
        assert done.returncode == 0, done.stderr
    one, two = newest(tmp_path, 1), newest(tmp_path, 2)
    assert one["step"] == two["step"] == 8 and one["samples"] == two["samples"] == 32
    # On average: Adam makes a whole step of a gradient that is nothing but rounding.
    apart = torch.cat([(two["model"][name] - value).abs().float().flatten() for name, value in one["model"].items()])
    assert apart.mean() < 1e-6
    logs = [
        [json.loads(line) for line in (tmp_path / f"run_{n}" / "log.jsonl").read_text().splitlines()] for n in (1, 2)
    ]
    for alone, together in zip(*([line for line in log if line["kind"] == "train"] for log in logs), strict=True):
        assert together["total"] == pytest.approx(alone["total"], rel=1e-4)
        assert together["mean_iou"] == pytest.approx(alone["mean_iou"], abs=1e-4)


def test_a_rank_that_fails_ends_all_with_its_traceback(tmp_path):
    done = drive(tmp_path, "fail", 2, *TWO)
    assert done.returncode == 1
    assert "in step" in done.stderr and "RuntimeError: a fault of rank one" in done.stderr
    assert "rank 1 ended with exit code 1, and the others were ended: RuntimeError: a fault of rank one" in done.stderr


def test_a_rank_that_hangs_ends_all_and_is_named(tmp_path):
    done = drive(tmp_path, "hang", 2, *TWO)
    assert done.returncode == 75
    assert "rank 1 hung after 2 steps, loading data; the others wait for it" in done.stderr
    assert "rank 1 is here:" in done.stderr and "in step" in done.stderr and "rank 0 is here:" not in done.stderr


def test_sigterm_stops_all_ranks_at_one_step_and_the_run_continues_bit_for_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    assert drive(whole, "undisturbed", 2, *TWO).returncode == 0
    stopped = drive(parts, "terminate", 2, *TWO)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert "SIGTERM: saved" in stopped.stdout
    assert 4 <= newest(parts, 2)["step"] < 8
    continued = drive(parts, "undisturbed", 2, *TWO)
    assert continued.returncode == 0, continued.stderr
    one, other = newest(whole, 2)["model"], newest(parts, 2)["model"]
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    done = drive(tmp_path, "undisturbed", 2, *TWO, "train.accumulate_to=6")
    assert done.returncode == 2
    assert "accumulate_to: 6 is no multiple of the 4 samples" in done.stderr and "Traceback" not in done.stderr


def test_one_gpu_for_two_processes_is_refused():
    with pytest.raises(ValueError, match="names one GPU for 2 processes"):
        check(2, "cuda:1")
