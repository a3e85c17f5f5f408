"""Training on a CUDA device: it learns, resumes bit for bit, runs on one rank and compiled, in the memory computed."""

import json
import os
import signal
import subprocess
import sys
from functools import partialmethod
from pathlib import Path

import pytest
import torch

from lib.data.samples.mixture import sample_id
from lib.data.samples.training_set import TrainingSet
from lib.profiling.memory import compute_memory
from lib.profiling.training import measure_training
from lib.train.session import open_trainer
from lib.train.trainer import Interrupted

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("data.samples_per_epoch=40", "train.batch_size=4", "train.total_batch=4", "train.epochs=2",
         "train.log_every=1", "data.validation_samples=0", "train.picture_every=0", "data.curriculum_epochs=0",
         "data.workers=0")  # fmt: skip


def test_the_time_of_a_step_adds_up_and_its_memory_is_the_computed_one(device, gpu_experiment):
    wanted = gpu_experiment("train.precision=bf16") if device.type == "cuda" else gpu_experiment()
    cost = measure_training(wanted, device, steps=5)
    assert sum(cost.stage_seconds.values()) == pytest.approx(cost.step_seconds, rel=0.2)
    assert cost.utilisation > 0
    if device.type == "cuda":  # a CPU's peak is another one while others compute
        assert cost.utilisation < 1
        assert cost.memory == pytest.approx(compute_memory(wanted, device).total, rel=0.15)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_twenty_steps_lower_the_loss_of_one_batch(precision, device, small_experiment, tmp_path):
    if device.type == "cpu" and precision == "fp16":
        precision = "bf16"  # the gradient scaler is a GPU's
    settings = (*STEPS, f"train.precision={precision}", "train.lr=3e-3", "train.encoder_lr=3e-3")
    trainer = open_trainer(small_experiment(*settings), tmp_path, device=device.type)
    batch = TrainingSet.collate([trainer._training_set[sample_id(0, index)] for index in range(4)]).to(device)  # pyright: ignore[reportArgumentType]
    trainer.objective.train()
    losses = [trainer.train_step(batch)[0].total.item() for _ in range(20)]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_twenty_steps_resume_bit_for_bit_on_the_same_card(device, small_experiment, tmp_path, monkeypatch):
    settings = (*STEPS, "model.encoder.drop_path=0.2", "train.precision=auto")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        whole = open_trainer(small_experiment(*settings), tmp_path / "whole", device=device.type)
        whole.fit()
        first = open_trainer(small_experiment(*settings), tmp_path / "parts", device=device.type)
        take = first.train_step

        def stop_after_13(*batches):
            result = take(*batches)
            if first.progress.step == 13:
                signal.raise_signal(signal.SIGTERM)
            return result

        monkeypatch.setattr(first, "train_step", stop_after_13)
        with pytest.raises(Interrupted, match="SIGTERM"):
            first.fit()
        second = open_trainer(small_experiment(*settings), tmp_path / "parts", device=device.type)
        assert second.progress.step == 13
        second.fit()
    finally:
        torch.use_deterministic_algorithms(False)
    assert second.progress.step == whole.progress.step == 20
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name


def test_a_step_on_one_nccl_rank(device, only_cuda, tmp_path):
    """NCCL."""
    # torchrun would take --run for one of its own options, but for the dashes.
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "1", "--standalone", "--"]
    command += ["tracking/train.py", "--config", "mmg_tiny", "--run", str(tmp_path / "run"), "--device", device.type]
    changes = (*STEPS, "train.epochs=1", "train.precision=bf16")
    command += [word for change in changes for word in ("--set", change)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines][-1] == 10


def test_a_compiled_step_is_the_plain_one(device, small_experiment, tmp_path, monkeypatch):
    if device.type == "cpu":  # whose own compiler takes minutes, and has a slow test of the trainer
        monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
    losses = []
    for compiled in (False, True):
        settings = (*STEPS, f"train.compile={str(compiled).lower()}", "model.encoder.depth=1", "train.precision=fp32",
                    "model.decoder.online_to_search=false", "model.decoder.search_to_online=false")  # fmt: skip
        trainer = open_trainer(small_experiment(*settings), tmp_path / str(compiled), device=device.type)
        batch = TrainingSet.collate([trainer._training_set[sample_id(0, index)] for index in range(4)]).to(device)  # pyright: ignore[reportArgumentType]
        trainer.objective.train()
        losses.append([trainer.train_step(batch)[0].total.item() for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
