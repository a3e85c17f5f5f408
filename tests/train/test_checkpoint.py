"""A checkpoint that exists is complete, and what went wrong later does not touch it."""

import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import files_no_longer_than

from lib.models.pretrained import read_checkpoint
from lib.train.checkpoint import (
    checkpoints,
    is_begun,
    load_newest,
    lock_run,
    remove_remains,
    save_checkpoint,
)


def state(step: int, size: int = 10) -> dict:
    return {"step": step, "model": {"weight": torch.full((size,), float(step))}}


def step_of_newest(run: Path) -> int | None:
    state = load_newest(run)
    return None if state is None else state["step"]


def test_the_newest_stay_and_latest_is_one_of_them(tmp_path):
    for step in range(1, 6):
        save_checkpoint(tmp_path, step, state(step), keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000005.pth", "step_00000004.pth"]
    assert read_checkpoint(tmp_path / "latest.pth")["step"] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.pth", "step_00000004.pth", "step_00000005.pth"]


def test_a_full_disk_leaves_the_old_checkpoint_intact(tmp_path):
    """The process may write no file beyond 64 KiB, so the larger save fails in its middle."""
    save_checkpoint(tmp_path, 1, state(1), keep=3)
    before = (tmp_path / "latest.pth").read_bytes()
    with files_no_longer_than(65536), pytest.raises(OSError):
        save_checkpoint(tmp_path, 2, state(2, size=200_000), keep=3)
    assert (tmp_path / "latest.pth").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.pth", "step_00000001.pth"]
    assert step_of_newest(tmp_path) == 1


def test_a_disk_that_fills_between_the_two_files_leaves_the_old_ones(tmp_path, monkeypatch):
    """Without hard links `latest.pth` is a copy, which may fail when the checkpoint itself just fitted."""
    save_checkpoint(tmp_path, 1, state(1), keep=1)

    def refuse(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("shutil.copyfile", refuse)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 2, state(2), keep=1)
    assert read_checkpoint(tmp_path / "latest.pth")["step"] == 1
    assert step_of_newest(tmp_path) == 1
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("dies_at", ["os.link", "pathlib.Path.replace"])
def test_a_process_killed_while_saving_leaves_latest_no_older_than_what_is_continued(tmp_path, monkeypatch, dies_at):
    """A run killed there and continued may have no step left to take, and would never save again."""

    class Killed(BaseException):
        pass

    save_checkpoint(tmp_path, 1, state(1), keep=1)
    replace = Path.replace
    renamed: list[Path] = []

    def die(*paths: Path) -> Path:
        if dies_at == "os.link" or renamed:
            raise Killed
        renamed.append(paths[1])
        return replace(*paths)

    monkeypatch.setattr(dies_at, die)
    with pytest.raises(Killed):
        save_checkpoint(tmp_path, 2, state(2), keep=1)
    monkeypatch.undo()
    reached = 1 if dies_at == "os.link" else 2
    assert read_checkpoint(tmp_path / "latest.pth")["step"] == reached
    assert step_of_newest(tmp_path) == reached
    remove_remains(tmp_path)
    save_checkpoint(tmp_path, 2, state(2), keep=1)
    assert read_checkpoint(tmp_path / "latest.pth")["step"] == 2


def test_a_truncated_newest_checkpoint_falls_back_with_a_warning(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state(step), keep=3)
    newest = checkpoints(tmp_path)[0]
    newest.unlink()
    newest.write_bytes((tmp_path / "latest.pth").read_bytes()[:500])
    (tmp_path / "latest.pth").unlink()
    os.link(newest, tmp_path / "latest.pth")
    with pytest.warns(UserWarning, match="step_00000002.*trying the checkpoint before it"):
        found = load_newest(tmp_path)
    assert found is not None and found["step"] == 1


def test_latest_alone_is_continued(tmp_path):
    """A download, or numbered files that were removed to save space, must not be trained anew and replaced."""
    save_checkpoint(tmp_path, 7, state(7), keep=1)
    checkpoints(tmp_path)[0].unlink()
    assert is_begun(tmp_path)
    assert step_of_newest(tmp_path) == 7


def test_the_newest_is_that_of_the_highest_number(tmp_path):
    for step in (99_999_999, 100_000_000):
        save_checkpoint(tmp_path, step, state(step), keep=2)
    (tmp_path / "latest.pth").unlink()
    (tmp_path / "step_best.pth").write_bytes(b"a user's")
    assert [path.stem for path in checkpoints(tmp_path)] == ["step_100000000", "step_99999999"]
    assert step_of_newest(tmp_path) == 100_000_000
    save_checkpoint(tmp_path, 100_000_001, state(100_000_001), keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.pth", "step_100000001.pth", "step_best.pth"]


def test_a_run_folder_has_one_training_at_a_time(tmp_path):
    reading, writing = os.pipe()
    if (holder := os.fork()) == 0:
        try:
            held = lock_run(tmp_path)  # noqa: F841 - until this process is killed
            os.write(writing, b"held")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    assert os.read(reading, 4) == b"held"
    with pytest.raises(ValueError, match=f"in use: process {holder} on .* trains there"):
        lock_run(tmp_path)
    os.kill(holder, signal.SIGKILL)  # which leaves its name in the file
    os.waitpid(holder, 0)
    os.close(reading)
    assert str(holder) in (tmp_path / ".lock").read_text(encoding="utf-8")
    lock_run(tmp_path).close()


def test_only_broken_checkpoints_are_an_error_not_a_fresh_start(tmp_path):
    (tmp_path / "step_00000001.pth").write_bytes(b"broken")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="none of the 1 checkpoints"):
        load_newest(tmp_path)
