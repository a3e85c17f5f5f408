"""Where data sets lie: environment, paths file, and errors that say what to write."""

from pathlib import Path

import pytest
import yaml

from lib.config import paths
from lib.config.load import EXPERIMENTS
from lib.config.paths import dataset_root
from lib.data.datasets import DATASETS, open_dataset

KNOWN = ["lasot", "got10k"]


@pytest.fixture
def paths_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in KNOWN:
        monkeypatch.delenv(f"MMG_{name.upper()}", raising=False)
    return tmp_path / "paths.yaml"


def test_the_environment_wins_over_the_file(paths_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths_file.write_text("lasot: /from/file\ngot10k: /other\n")
    assert dataset_root("lasot", KNOWN, paths_file) == Path("/from/file")
    monkeypatch.setenv("MMG_LASOT", "/from/environment")
    assert dataset_root("lasot", KNOWN, paths_file) == Path("/from/environment")
    assert dataset_root("got10k", KNOWN, paths_file) == Path("/other")


def test_home_and_variables_are_filled_in(paths_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "/big/disk")
    monkeypatch.setenv("HOME", "/somewhere")
    paths_file.write_text("lasot: $DATA/lasot\ngot10k: ~/got\n")
    assert dataset_root("lasot", KNOWN, paths_file) == Path("/big/disk/lasot")
    assert dataset_root("got10k", KNOWN, paths_file) == Path("/somewhere/got")


def test_a_file_of_another_encoding_is_named_and_a_byte_order_mark_is_not_in_the_way(paths_file: Path) -> None:
    paths_file.write_bytes("lasot: /données\n".encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{paths_file.name} is not UTF-8 text \(byte 12\)"):
        dataset_root("lasot", KNOWN, paths_file)
    paths_file.write_bytes("lasot: /données\n".encode("utf-8-sig"))
    assert dataset_root("lasot", KNOWN, paths_file) == Path("/données")


def test_an_empty_entry_states_nothing(paths_file: Path) -> None:
    paths_file.write_text("lasot:\n")
    assert dataset_root("lasot", KNOWN, paths_file) is None
    assert dataset_root("got10k", KNOWN, paths_file) is None


def test_the_default_file_need_not_exist(paths_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PATHS_FILE", paths_file)
    assert dataset_root("lasot", KNOWN) is None
    paths_file.write_text("lasot: /data/lasot\n")
    assert dataset_root("lasot", KNOWN) == Path("/data/lasot")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lasott: /data", "unknown data set 'lasott'.*did you mean 'lasot'"),
        ("lasot: [/data]", "lasot: the folder must be text"),
        ("lasot: 3", "lasot: the folder must be text"),
        ("/data/lasot", "needs a mapping"),
        ("lasot: {", "not valid YAML"),
        ("lasot: $NOT_SET_ANYWHERE/x", "names an environment variable that is not set"),
    ],
)
def test_errors_name_file_key_and_cure(paths_file: Path, text: str, message: str) -> None:
    paths_file.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        dataset_root("lasot", KNOWN, paths_file)
    assert str(paths_file) in str(raised.value)


def test_a_paths_file_that_is_named_must_exist(paths_file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"paths\.example\.yaml"):
        dataset_root("lasot", KNOWN, paths_file)


def test_the_example_names_every_stored_data_set_and_no_folder() -> None:
    example = yaml.safe_load((EXPERIMENTS / "paths.example.yaml").read_text())
    assert set(example) == {name for name, entry in DATASETS.items() if entry.stored}
    assert not any(example.values())


def test_three_ways_to_state_a_folder_are_said(paths_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PATHS_FILE", paths_file)
    with pytest.raises(FileNotFoundError, match="where is lasot") as raised:
        open_dataset("lasot", "test")
    assert all(way in str(raised.value) for way in ("--root DIR", "MMG_LASOT", "paths.yaml"))
    with pytest.raises(ValueError, match=r"no split 'tset'.*did you mean 'test'"):
        open_dataset("lasot", "tset")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_dataset("lasot", "test", paths_file.parent / "nowhere")
    with pytest.raises(FileNotFoundError, match="is a file"):
        open_dataset("lasot", "test", Path(__file__))
