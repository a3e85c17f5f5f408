"""What one training step does: passes, precisions, averages, and steps that are not finite."""

import warnings
from pathlib import Path

import pytest
import torch
from conftest import first_samples, is_same, weights_of
from torch import nn

from lib.data.samples.training_set import Batch
from lib.train.replay import replay
from lib.train.session import open_trainer
from lib.train.trainer import Trainer


def freeze_statistics(trainer: Trainer) -> None:
    trainer.objective.train()
    for module in trainer.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def set_scale(trainer: Trainer, scale: float) -> None:
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": scale})


def test_passes_add_up_to_the_step_of_one_large_batch(small_experiment, tmp_path):
    """Gradients are equal up to the order of sums; samples, masks and drop-path are the same, BatchNorm is frozen."""
    gradients = []
    for passes in (1, 3):
        settings = (f"train.batch_size={6 // passes}", "train.total_batch=6", "model.encoder.drop_path=0.5")
        experiment = small_experiment(*settings, "train.accumulate_to=6", "train.clip_norm=1000")
        trainer = open_trainer(experiment, tmp_path / str(passes), device="cpu")
        assert trainer.steps_per_epoch == 2
        freeze_statistics(trainer)
        size = 6 // passes
        losses, _ = trainer.train_step(*(first_samples(trainer, size, number * size) for number in range(passes)))
        found = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
        gradients.append((found, losses))
    (whole, loss), (parts, mean) = gradients
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    for name, gradient in whole.items():
        # That of the bias before a softmax is 0, but for the rounding of sums that cancel.
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-5 * largest, msg=name)
    assert mean.total.item() == pytest.approx(loss.total.item(), rel=1e-5)
    for name, term in loss.terms.items():
        assert mean.terms[name].item() == pytest.approx(term.item(), rel=1e-4)


def test_rates_scale_with_the_step_when_asked(small_experiment, tmp_path):
    with pytest.warns(UserWarning, match=r"train.scale_lr multiplies them by 0.5"):
        trainer = open_trainer(small_experiment("train.batch_size=2", "train.scale_lr=true"), tmp_path, device="cpu")
    trainer.objective.train()
    trainer.train_step(first_samples(trainer, 2))
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [5e-4, 5e-4]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_gradients_are_clipped_after_unscaling(small_experiment, tmp_path, precision):
    experiment = small_experiment("train.clip_norm=0.01", f"train.precision={precision}")
    trainer = open_trainer(experiment, tmp_path, device="cpu")
    trainer.objective.train()
    _, norm = trainer.train_step(first_samples(trainer, 4))
    clipped = torch.stack([p.grad.norm() for p in trainer.model.parameters() if p.grad is not None]).norm()
    assert 0.01 < norm < 1000  # and not 65536 times as large
    assert clipped.item() == pytest.approx(0.01, rel=1e-3)


def test_float16_and_average_resume_bit_for_bit(small_experiment, tmp_path):
    settings = ("train.precision=fp16", "train.ema_decay=0.9", "train.epochs=1")
    whole = open_trainer(small_experiment(*settings), tmp_path / "whole", device="cpu")
    first = open_trainer(small_experiment(*settings), tmp_path / "parts", device="cpu")
    for trainer in (whole, first):
        set_scale(trainer, 1024.0)  # another than a new scaler's
    whole.fit()
    first.objective.train()
    for step in range(2):
        first.train_step(first_samples(first, 4, 4 * step))
    first.save()
    second = open_trainer(small_experiment(*settings), tmp_path / "parts", device="cpu")
    assert second.scaler.get_scale() == 1024.0
    second.fit()
    assert second.average is not None and whole.average is not None
    assert is_same(weights_of(second), weights_of(whole))
    assert is_same(second.average.state, whole.average.state)
    stored = torch.load(tmp_path / "parts" / "latest.pth", weights_only=True)
    assert is_same(stored["average"], second.average.state) and not is_same(stored["average"], stored["model"])
    assert stored["scaler"]["scale"] == 1024.0


def test_float16_whose_scale_is_too_large_lowers_it_and_goes_on(small_experiment, tmp_path):
    trainer = open_trainer(small_experiment("train.precision=fp16"), tmp_path, device="cpu")
    trainer.objective.train()
    set_scale(trainer, 2.0**40)
    before = weights_of(trainer)
    trainer.train_step(first_samples(trainer, 4))
    assert trainer.scaler.get_scale() == 2.0**39 and trainer.progress.left_out == 0
    parameters = dict(trainer.model.named_parameters())
    assert all(torch.equal(before[name], value) for name, value in parameters.items())


def broken(trainer: Trainer) -> Batch:
    return first_samples(trainer, 4)._replace(search_crop_box_xyxy=torch.full((4, 4), float("nan")))


def test_a_step_that_is_left_out_changes_nothing_but_the_count(small_experiment, tmp_path, capsys):
    experiment = small_experiment("train.on_nonfinite=skip", "train.max_nonfinite=2", "train.ema_decay=0.9")
    trainer = open_trainer(experiment, tmp_path, device="cpu")
    trainer.objective.train()
    trainer.train_step(first_samples(trainer, 4, 4))
    before = weights_of(trainer)  # BatchNorm's statistics among them
    for number in (1, 2):
        trainer.train_step(broken(trainer))
        assert (trainer.progress.step, trainer.progress.left_out) == (1 + number, number)
    assert is_same(before, weights_of(trainer))
    said = capsys.readouterr().err
    assert "step 1 is left out: loss terms ['l1', 'complete_iou'] are not finite" in said
    assert f"--replay {tmp_path / 'nonfinite_step_00000001.pth'}" in said
    with pytest.raises(FloatingPointError, match=r"step 3: .* after 2 others that were left out"):
        trainer.train_step(broken(trainer))
    assert is_same(before, weights_of(trainer))


def test_a_batch_that_is_not_finite_is_kept_and_can_be_replayed(small_experiment, tmp_path, capsys):
    trainer = open_trainer(small_experiment("model.encoder.drop_path=0.3"), tmp_path, device="cpu")
    trainer.objective.train()
    with torch.no_grad():
        trainer.model.get_parameter("encoder.blocks.1.mlp.fc2.bias")[3] = float("inf")
    with pytest.raises(FloatingPointError, match=r"--replay .*nonfinite_step_00000000\.pth.*on_nonfinite=skip"):
        trainer.train_step(first_samples(trainer, 4))
    path = tmp_path / "nonfinite_step_00000000.pth"
    kept = torch.load(path, weights_only=True)
    assert torch.equal(kept["batches"][0]["search"], first_samples(trainer, 4).search)
    assert replay(path, device="cpu") == 1
    said = capsys.readouterr().out
    assert "step 0 of mmg_tiny, 1 passes" in said
    assert "not finite: first layer encoder.blocks.1.mlp.fc2 (Linear)" in said
    assert "not finite: loss terms" in said and "not finite: gradients" in said


def dump_of_a_finite_step(trainer: Trainer, batch: Batch) -> Path:
    """Let the trainer dump a broken step, put a sound batch in the dump, and return its file."""
    with pytest.raises(FloatingPointError):
        trainer.train_step(batch._replace(search_crop_box_xyxy=torch.full((4, 4), float("nan"))))
    path = trainer.run / "nonfinite_step_00000000.pth"
    content = torch.load(path, weights_only=True)
    content["batches"] = [batch._asdict()]
    torch.save(content, path)
    return path


def test_a_finite_step_is_replayed_to_the_same_losses(small_experiment, tmp_path, capsys):
    trainer = open_trainer(small_experiment("model.encoder.drop_path=0.3"), tmp_path, device="cpu")
    trainer.objective.train()
    batch = first_samples(trainer, 4)
    path = dump_of_a_finite_step(trainer, batch)
    losses = trainer.forward(batch, 0, 0)
    capsys.readouterr()
    assert replay(path, device="cpu") == 0
    said = capsys.readouterr().out
    assert f"total {float(losses.total.detach()):.6g}" in said and "all is finite here" in said


def test_what_is_no_dump_is_refused(tmp_path):
    torch.save({"model": {}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no dump of a step"):
        replay(tmp_path / "other.pth")


def test_a_run_may_go_on_with_other_processes_but_not_with_other_steps(small_experiment, tmp_path):
    trainer = open_trainer(small_experiment("train.batch_size=4"), tmp_path, device="cpu")
    trainer.objective.train()
    trainer.train_step(first_samples(trainer, 4))
    trainer.save()
    same = open_trainer(small_experiment("train.accumulate_to=4"), tmp_path, device="cpu")
    assert same.progress.step == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"4 samples a step, and there would be 8 now.*accumulate_to=4"):
            open_trainer(small_experiment("train.accumulate_to=8"), tmp_path, device="cpu")


def test_a_checkpoint_of_before_a_key_existed_is_continued(small_experiment, tmp_path):
    trainer = open_trainer(small_experiment(), tmp_path, device="cpu")
    trainer.save()
    for path in tmp_path.glob("*.pth"):
        content = torch.load(path, weights_only=True)
        for key in ("ema_decay", "accumulate_to", "timeout_minutes"):
            content["config"]["train"].pop(key, None)  # latest.pth is the same file as the newest checkpoint
        for key in ("epochs", "left_out", "total", "scaler"):
            content.pop(key, None)
        torch.save(content, path)
    assert open_trainer(small_experiment(), tmp_path, device="cpu").progress.step == 0


def test_a_replayed_float16_step_has_the_gradient_scale_of_the_run(small_experiment, tmp_path, capsys):
    trainer = open_trainer(small_experiment("train.precision=fp16"), tmp_path, device="cpu")
    trainer.objective.train()
    set_scale(trainer, 2.0**40)  # far more than a new scaler's, which makes no gradient of this step overflow
    batch = first_samples(trainer, 4)
    path = dump_of_a_finite_step(trainer, batch)
    assert replay(path, device="cpu") == 1
    assert "not finite: gradients" in capsys.readouterr().out
