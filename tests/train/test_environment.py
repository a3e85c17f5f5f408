"""The record of what a run was computed with, and what is said when it changes."""

import json
import subprocess

import numpy as np
import pytest
import torch

from lib.data.images.frames import ArrayFrames
from lib.data.sequence import Sequence, SequenceDataset
from lib.train import environment
from lib.train.environment import code_version, describe_environment, fingerprint, record_environment


class Videos(SequenceDataset):
    """A data set of drawn-up boxes."""

    def __init__(self, names: list[str], shift: float = 0.0) -> None:
        self.names = names
        self._shift = shift

    def __getitem__(self, index: int) -> Sequence:
        boxes = np.full((3, 4), index + self._shift)
        return Sequence(
            self.names[index],
            ArrayFrames([np.zeros((4, 4, 3), np.uint8)] * 3),
            boxes,
            np.ones(3, bool),
            np.zeros(3, bool),
        )


NAMES = [f"video-{number}" for number in range(100)]


def test_a_fingerprint_tells_data_sets_apart_by_names_and_boxes():
    whole = fingerprint(Videos(NAMES))
    assert whole.startswith("100 videos, ") and fingerprint(Videos(list(NAMES))) == whole
    others = [Videos(NAMES[:99]), Videos([*NAMES[:50], "other", *NAMES[51:]]), Videos(NAMES, shift=0.5)]
    assert len({whole, *map(fingerprint, others)}) == 4


def test_an_environment_is_recorded_once_and_each_change_said(tmp_path):
    found = describe_environment(torch.device("cpu"), {"folder:train": Videos(NAMES)})
    assert record_environment(tmp_path, 0, found) == []
    assert record_environment(tmp_path, 10, found) == []
    changed = {**found, "packages.torch": "9.9", "data.folder:train": "99 videos, 0123"}
    said = record_environment(tmp_path, 20, changed)
    assert said == [
        f"data.folder:train was {found['data.folder:train']}, and is 99 videos, 0123 now",
        f"packages.torch was {found['packages.torch']}, and is 9.9 now",
    ]
    starts = json.loads((tmp_path / "environment.json").read_text(encoding="utf-8"))
    assert [start["from_step"] for start in starts] == [0, 20]
    assert starts[0]["environment"]["code"] == code_version()
    assert record_environment(tmp_path, 30, changed) == []


@pytest.mark.parametrize("damaged", [b"\xff", b"[", b"{}", b"[]", b"[1]", b'[{"environment": {"a": [1]}}]'])
def test_a_damaged_record_is_set_aside(tmp_path, damaged):
    path = tmp_path / "environment.json"
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match="begun anew"):
        assert record_environment(tmp_path, 3, {"code": "a"}) == []
    assert json.loads(path.read_text(encoding="utf-8")) == [{"from_step": 3, "environment": {"code": "a"}}]
    assert (tmp_path / "environment.json.damaged").read_bytes() == damaged


def test_the_code_version_names_the_commit_and_says_when_files_differ(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert code_version().endswith("without git")
    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    commit = git("rev-parse", "--short", "HEAD")
    assert code_version() == commit
    (tmp_path / "file").write_text("two")
    assert code_version() == f"{commit}-dirty"
