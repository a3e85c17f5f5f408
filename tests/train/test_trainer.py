"""Training: learns, resumes bit for bit, refuses another run's folder, records what it does."""

import json
import signal

import pytest
import torch
from conftest import SMALL, files_no_longer_than, first_samples, is_same, weights_of

from lib.config.load import load
from lib.train.distributed import Interrupted
from lib.train.session import open_trainer


def raise_here(number: int) -> None:
    """Deliver a signal to this very thread, at once; sent to the process, another thread may take it later."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # a thread may have inherited a mask
    signal.raise_signal(number)


class StopAt:
    """Sends this process a signal once a step is reached, as a cluster or a user would."""

    def __init__(self, trainer, step: int, number: int = signal.SIGTERM) -> None:
        self._original, self._trainer, self._step, self._number = trainer.train_step, trainer, step, number

    def __call__(self, batch):
        result = self._original(batch)
        if self._trainer.progress.step == self._step:
            raise_here(self._number)
        return result


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a trainer after eight steps without an interruption, with drop-path."""
    experiment = load("mmg_tiny", (*SMALL, "model.encoder.drop_path=0.2"))
    trainer = open_trainer(experiment, tmp_path_factory.mktemp("whole"), device="cpu")
    trainer.fit()
    return trainer


@pytest.mark.parametrize(("stop", "workers"), [(1, 0), (4, 1), (6, 0)])
def test_resume_equals_uninterrupted_bit_for_bit(whole, small_experiment, tmp_path, monkeypatch, stop, workers):
    """Stopped in an epoch's middle or at its end, with drop-path, masks, augmentation and optimiser state."""
    settings = ("model.encoder.drop_path=0.2", f"data.workers={workers}")
    first = open_trainer(small_experiment(*settings), tmp_path / "parts", device="cpu")
    monkeypatch.setattr(first, "train_step", StopAt(first, stop))
    with pytest.raises(Interrupted, match="SIGTERM"):
        first.fit()
    assert first.progress.step == stop

    second = open_trainer(small_experiment(*settings), tmp_path / "parts", device="cpu")
    assert second.progress.step == stop
    second.fit()
    assert second.progress.step == whole.progress.step == 8
    assert is_same(weights_of(whole), weights_of(second))
    stored = [torch.load(run / "latest.pth", weights_only=True) for run in (whole.run, tmp_path / "parts")]
    for one, other in zip(*(list(state["optimizer"]["state"].values()) for state in stored), strict=True):
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one)


def test_the_log_of_a_resumed_run_has_every_step_once(small_experiment, tmp_path, monkeypatch):
    experiment = small_experiment("train.log_every=1")
    first = open_trainer(experiment, tmp_path, device="cpu")
    monkeypatch.setattr(first, "train_step", StopAt(first, 3, signal.SIGINT))
    with pytest.raises(Interrupted, match="SIGINT"):
        first.fit()
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "train", "step": 99}\n{"kind": "tr')  # computed after the checkpoint, then cut off
    open_trainer(experiment, tmp_path, device="cpu").fit()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    train = [record for record in records if record["kind"] == "train"]
    assert [record["step"] for record in train] == list(range(1, 9))
    names = {"l1", "complete_iou", "coarse_online", "coarse_search", "fine_online", "fine_search", "reconstruction",
             "total", "mean_iou", "gradient_norm", "lr", "samples_per_second", "data_wait"}  # fmt: skip
    assert names <= train[0].keys()
    assert [record["epoch"] for record in records if record["kind"] == "validation"] == [1, 2]


@pytest.mark.parametrize(
    ("head", "channels", "steps"), [("corner", 16, 60), pytest.param("center", 64, 900, marks=pytest.mark.slow)]
)
def test_one_tiny_model_overfits_one_batch(small_experiment, tmp_path, head, channels, steps):
    experiment = small_experiment(
        f"model.head.kind={head}",
        f"model.head.channels={channels}",
        "model.encoder.dim=64", "train.lr=3e-3", "train.encoder_lr=3e-3", f"train.epochs={steps}",
        "train.schedule=step", f"train.drop_epoch={2 * steps // 3}", "train.clip_norm=1", "train.weight_decay=0",
        "model.encoder.drop_path=0", "data.samples_per_epoch=4", "train.loss.reconstruction=0.1",
    )  # fmt: skip
    trainer = open_trainer(experiment, tmp_path, device="cpu")
    batch = first_samples(trainer, 4)
    trainer.model.train()
    overlaps = (trainer.train_step(batch)[0].measures["mean_iou"].item() for _ in range(steps))
    assert any(overlap > 0.9 for overlap in overlaps)  # how soon depends on the CPU and the versions


def test_a_folder_of_another_config_is_refused_and_free_keys_may_change(small_experiment, tmp_path):
    trainer = open_trainer(small_experiment(), tmp_path, device="cpu")
    trainer.save()
    with pytest.raises(ValueError, match=r"another config; these keys differ: train\.lr"):
        open_trainer(small_experiment("train.lr=0.5"), tmp_path, device="cpu")
    open_trainer(small_experiment("train.log_every=7", "track.update=none"), tmp_path, device="cpu")


def test_a_full_disk_in_between_is_said_and_at_the_end_is_an_error(small_experiment, tmp_path, capsys):
    """Files may not grow beyond 64 KiB: the checkpoints cannot be written, and the one of before stays."""
    experiment = small_experiment()
    open_trainer(experiment, tmp_path, device="cpu").save()
    before = (tmp_path / "latest.pth").read_bytes()
    assert len(before) > 65536
    trainer = open_trainer(experiment, tmp_path, device="cpu")
    with files_no_longer_than(65536), pytest.raises(OSError, match="could not write"):
        trainer.fit()
    assert trainer.progress.step == 8
    assert "the checkpoint of epoch 1 could not be written, training goes on" in capsys.readouterr().err
    assert (tmp_path / "latest.pth").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".*")] == [".lock"]
    again = open_trainer(experiment, tmp_path, device="cpu")
    again.fit()
    assert is_same(weights_of(trainer), weights_of(again))


def test_a_signal_during_validation_saves_and_the_validation_is_done_again(small_experiment, tmp_path, monkeypatch):
    experiment = small_experiment("data.validation_samples=12")
    first = open_trainer(experiment, tmp_path, device="cpu")
    losses = first.objective.losses

    def stop_while_validating(network, batch, generator):
        if not network.training:
            raise_here(signal.SIGTERM)
        return losses(network, batch, generator)

    monkeypatch.setattr(first.objective, "losses", stop_while_validating)
    with pytest.raises(Interrupted):
        first.fit()
    assert (first.progress.step, first.progress.epochs) == (4, 0)
    second = open_trainer(experiment, tmp_path, device="cpu")
    second.fit()
    assert (second.progress.step, second.progress.epochs) == (8, 2)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(r["kind"], r["step"]) for r in records if r["kind"] == "validation"] == [
        ("validation", 4),
        ("validation", 8),
    ]


def test_every_nth_epoch_is_kept_although_checkpoints_are_rarer(small_experiment, tmp_path):
    settings = ("train.epochs=7", "data.samples_per_epoch=4", "train.keep_every=3", "train.checkpoint_every=5",
                "train.keep_checkpoints=1", "train.validate_every=100",
                "data.validation_samples=0")  # fmt: skip
    open_trainer(small_experiment(*settings), tmp_path, device="cpu").fit()
    assert sorted(path.name for path in tmp_path.glob("step_*")) == [
        "step_00000003.pth",
        "step_00000006.pth",
        "step_00000007.pth",
    ]


@pytest.mark.slow
def test_a_compiled_model_takes_the_step_of_the_plain_one(small_experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    losses = []
    for compiled in (False, True):
        settings = (f"train.compile={str(compiled).lower()}", "model.encoder.drop_path=0", "model.encoder.depth=1",
                    "model.decoder.online_to_search=false", "model.decoder.search_to_online=false")  # fmt: skip
        trainer = open_trainer(small_experiment(*settings), tmp_path / str(compiled), device="cpu")
        batch = first_samples(trainer, 4)
        trainer.objective.train()
        losses.append([trainer.train_step(batch)[0].total.item() for _ in range(3)])
        assert all("_orig_mod" not in name for name in trainer.model.state_dict())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
