"""The fault drill: training killed at twenty random moments ends with the weights of a run that nobody disturbed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SMALL

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

SETTINGS = (*SMALL, "data.samples_per_epoch=8", "data.validation_samples=4", "train.epochs=6",
            "train.keep_checkpoints=2", "train.ema_decay=0.9", "model.encoder.drop_path=0.2")  # fmt: skip

# One process imports everything once; each life of the training is a fork of it.
DRILL = '''
import io, os, random, signal, sys, time
from pathlib import Path
import cv2, torch
torch.set_num_threads(1)
cv2.setNumThreads(0)
from lib.config.load import load
from lib.train import checkpoint
from lib.train.session import train
from lib.train.trainer import Trainer

folder, settings = Path(sys.argv[1]), sys.argv[2:]
experiment = load("mmg_tiny", settings)
rng = random.Random(7)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_at_event(number):
    """Kill this process at event `number`: the start of a step, or a call that changes the folder of the run."""
    count = 0
    def counted(function, halfway=None):
        def call(*arguments, **keywords):
            nonlocal count
            count += 1
            if count == number:
                if halfway is not None:
                    halfway(*arguments)
                die()
            return function(*arguments, **keywords)
        return call
    save = torch.save
    def save_half(state, file):
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: rng.randrange(1, len(whole.getvalue()))])
        file.flush()
    Trainer.train_step = counted(Trainer.train_step)
    torch.save = counted(save, save_half)
    for owner, name in ((os, "fsync"), (os, "link"), (Path, "replace"), (Path, "unlink")):
        setattr(owner, name, counted(getattr(owner, name)))

def live(run, event=None, seconds=None):
    """Train in a fork; kill it at an event, or from outside after some seconds. Return how it ended."""
    child = os.fork()
    if child == 0:
        if event is not None:
            die_at_event(event)
        code = train(experiment, run, device="cpu")
        sys.stdout.flush()
        os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("life ended by", status, "event", event, "seconds", seconds, flush=True)
    return status

started = time.monotonic()
assert live(folder / "whole") == 0
whole_life = time.monotonic() - started
killed = 0
for number in range(20):
    if number % 3 == 2:
        killed += live(folder / "drilled", seconds=rng.uniform(0, whole_life / 2)) == -signal.SIGKILL
    else:
        killed += live(folder / "drilled", event=rng.randrange(2, 14)) == -signal.SIGKILL
assert live(folder / "drilled") == 0
print("killed", killed, "times")
'''


def test_twenty_kills_change_nothing(tmp_path):
    command = [sys.executable, "-c", DRILL, str(tmp_path), *SETTINGS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    killed = int(done.stdout.split("killed ")[-1].split()[0])
    assert killed >= 12, done.stdout  # the others had finished before their moment came
    whole, drilled = (torch.load(tmp_path / run / "latest.pth", weights_only=True) for run in ("whole", "drilled"))
    assert whole["step"] == drilled["step"] == 12
    for part in ("model", "average"):
        assert all(torch.equal(value, drilled[part][name]) for name, value in whole[part].items())
    logs = [(tmp_path / run / "log.jsonl").read_text(encoding="utf-8").splitlines() for run in ("whole", "drilled")]
    assert len(logs[0]) == len(logs[1])  # no step shows twice, and none is missing
    assert not list((tmp_path / "drilled").glob(".*.pth.*"))  # no remains of torn files
