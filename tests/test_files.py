import errno
from pathlib import Path

import pytest

from lib.files import whole_file


def test_the_old_file_is_there_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "boxes.txt"
    path.write_text("old")
    with whole_file(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
        assert aside.parent == tmp_path
        assert list(tmp_path.glob("*.txt")) == [path]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), OSError("no reason")])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "boxes.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as raised, whole_file(path) as aside:
        aside.write_text("ne")
        raise error
    assert raised.value is error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "boxes.txt"
    with pytest.raises(OSError, match=r"boxes\.txt") as raised, whole_file(path) as aside:
        aside.symlink_to("/dev/full")
        aside.write_text("text")
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"frame\.jpg"), whole_file(tmp_path / "boxes.txt"):
        (tmp_path / "frame.jpg").read_bytes()


def test_a_missing_folder_names_the_file(tmp_path):
    path = tmp_path / "none" / "boxes.txt"
    with pytest.raises(FileNotFoundError) as raised, whole_file(path) as aside:
        aside.write_text("text")
    assert raised.value.filename == str(path)


def test_a_writer_that_goes_by_the_ending_gets_it(tmp_path):
    with whole_file(tmp_path / "film.mp4", ending=".mp4") as aside:
        assert aside.suffix == ".mp4"
        aside.write_bytes(b"")
