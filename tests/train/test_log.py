"""The log and its numbers: means of what was finite, and a record that cannot be written ends nothing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.train.log import Meter, RunLog

CPU = torch.device("cpu")


def test_means_are_those_of_finite_values():
    meter = Meter()
    for total, norm in ((1.0, 2.0), (float("nan"), float("inf")), (3.0, 4.0)):
        meter.add({"total": torch.tensor(total), "gradient_norm": torch.tensor(norm)}, waited=0.0, samples=8)
    values = meter.read_and_reset(CPU)
    assert (values["total"], values["gradient_norm"]) == (2.0, 3.0)
    assert values["samples_per_second"] > 0 and values["memory_gb"] > 0.01
    meter.add({"total": torch.tensor(5.0), "gradient_norm": torch.tensor(1.0)}, waited=0.0, samples=8)
    assert meter.read_and_reset(CPU)["total"] == 5.0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full, a disk without space")
def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path, capsys):
    log = RunLog(tmp_path, start_step=0, enabled=True)
    log.scalars("train", 1, {"total": 1.0})
    log._file = Path("/dev/full").open("a", encoding="utf-8")  # noqa: SIM115 - the log closes it
    for step in (2, 3):
        log.scalars("train", step, {"total": 1.0})
    log.close()
    said = capsys.readouterr().err
    assert said.count("the log of this run cannot be written, training goes on") == 1
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1]


def test_a_damaged_log_is_set_aside_and_what_is_whole_stays(tmp_path):
    """Found: a line without a step ended a resume by KeyError, and one that is no UTF-8 by UnicodeDecodeError."""
    path = tmp_path / "log.jsonl"
    damaged = b'{"kind": "train", "step": 1}\n{"kind": "train"}\n\xff\xfe\n[1]\n{"kind": "train", "step": 2}\n{"st'
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match="3 of its lines are damaged"):
        RunLog(tmp_path, start_step=1, enabled=True).close()
    assert path.read_text(encoding="utf-8") == '{"kind": "train", "step": 1}\n'
    assert (tmp_path / "log.jsonl.damaged").read_bytes() == damaged


def test_weights_and_biases_gets_scalars_and_pictures_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log = RunLog(tmp_path, start_step=0, enabled=True)
    log.add_wandb(tmp_path, "mmg_tiny", {"train": {"lr": 0.1}})
    log.scalars("train", 3, {"total": 0.625})
    log.picture("boxes", 3, np.zeros((8, 8, 3), np.uint8))
    log.close()
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"train/total" in record.read_bytes() and b"0.625" in record.read_bytes()
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/boxes*.png"))


def test_weights_and_biases_without_an_account_is_refused_in_a_line(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in (("WANDB_MODE", "online"), ("HOME", str(tmp_path))):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    log = RunLog(tmp_path, start_step=0, enabled=True)
    with pytest.raises(ValueError, match=r"--wandb: .*API key.*; WANDB_MODE=offline keeps the record here"):
        log.add_wandb(tmp_path, "mmg_tiny", {})
    log.close()
