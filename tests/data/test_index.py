"""Indexes: fast the second time, never stale, never in the way; and names that cost little memory."""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lib.data.datasets import open_dataset, trackingnet
from lib.data.datasets.index import cache_folder, cached_arrays
from lib.data.images.frames import NumberedFiles
from lib.data.sequence import Names

MONDAY, TUESDAY = (1,), (2,)  # times of change, long ago


class Builder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"numbers": np.arange(self.calls), "names": np.array([b"a", b"bc"])}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_index_is_made_once_and_again_when_the_place_has_changed() -> None:
    build = Builder()
    first = cached_arrays("x", "/place", MONDAY, build)
    second = cached_arrays("x", "/place", MONDAY, build)
    assert build.calls == 1
    assert second["names"].tolist() == first["names"].tolist() == [b"a", b"bc"]
    assert len(cached_arrays("x", "/place", TUESDAY, build)["numbers"]) == 2
    assert len(cached_arrays("x", "/elsewhere", TUESDAY, build)["numbers"]) == 3
    assert len(cached_arrays("x", "/place", TUESDAY, build)["numbers"]) == 2


def test_a_deleted_or_damaged_index_is_made_anew(cache: Path) -> None:
    build = Builder()
    for damage in (b"", b"not an index", None):
        cached_arrays("x", "/place", MONDAY, build)
        (file,) = cache.iterdir()  # and no temporary file beside it
        if damage is None:
            file.write_bytes(file.read_bytes()[:100])
        else:
            file.write_bytes(damage)
    cached_arrays("x", "/place", MONDAY, build)
    (file,) = cache.iterdir()
    file.unlink()
    cached_arrays("x", "/place", MONDAY, build)
    assert build.calls == 5


def test_a_cache_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="cannot keep the index of /place.*MMG_CACHE"):
        arrays = cached_arrays("x", "/place", MONDAY, Builder())
    assert len(arrays["numbers"]) == 1


def test_the_cache_lies_in_the_home_folder_unless_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMG_CACHE")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/.cache/mmg")


def test_what_has_just_changed_is_not_kept_yet(cache: Path) -> None:
    # A second change within the same tick of the file system's clock would leave the same time behind.
    build = Builder()
    for _ in range(2):
        cached_arrays("x", "/place", (1, time.time_ns() - 10**9), build)
    assert build.calls == 2
    assert not cache.exists()


def test_a_place_is_the_same_by_any_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Builder()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    cached_arrays("x", "data", MONDAY, build)
    cached_arrays("x", str(tmp_path / "data"), MONDAY, build)
    assert build.calls == 1
    monkeypatch.chdir(tmp_path / "other")
    cached_arrays("x", "data", MONDAY, build)
    assert build.calls == 2


def test_processes_may_index_the_same_place_at_once(cache: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        for sums in pool.map(_index_again_and_again, range(4)):
            assert sums == [4950] * 20
    (file,) = cache.iterdir()  # a whole one, and nothing half written beside it
    assert cached_arrays("x", "/place", (19,), Builder())["numbers"].sum() == 4950
    assert file.suffix == ".npz"


def _index_again_and_again(worker: int) -> list[int]:
    """Each time stands for a change: every process then builds and writes, and reads what others write."""
    return [
        int(cached_arrays("x", "/place", (time,), lambda: {"numbers": np.arange(100)})["numbers"].sum())
        for time in range(20)
    ]


def make_video(shard: Path, name: str, num_frames: int) -> None:
    (shard / "frames" / name).mkdir(parents=True)
    for number in range(num_frames):
        (shard / "frames" / name / f"{number}.jpg").touch()
    (shard / "anno").mkdir(exist_ok=True)
    (shard / "anno" / f"{name}.txt").write_text("1,2,3,4\n" * 3)


def make_old(root: Path) -> None:
    """Let folders look as if they had not changed for days, so that their index is kept."""
    for index, folder in enumerate(path for path in root.rglob("*") if path.is_dir()):
        os.utime(folder, ns=(0, 10**18 + index))


def test_trackingnet_notices_what_has_changed_since_it_was_indexed(tmp_path: Path, cache: Path) -> None:
    shard = tmp_path / "data" / "TRAIN_0"
    make_video(shard, "a", 3)
    make_video(shard, "b", 3)
    make_old(tmp_path / "data")

    def visible() -> dict[str, list[bool]]:
        dataset = open_dataset("trackingnet", "train", tmp_path / "data")
        return {name: dataset[index].visible.tolist() for index, name in enumerate(dataset.names)}

    before = sorted(tmp_path.joinpath("data").rglob("*"))
    assert visible() == {"a": [True] * 3, "b": [True] * 3}
    assert len(list(cache.iterdir())) == 1 and sorted(tmp_path.joinpath("data").rglob("*")) == before
    (shard / "frames" / "b" / "0.jpg").unlink()  # changes the video's folder, not the shard's
    assert visible() == {"a": [True] * 3, "b": [False, True, True]}
    (shard / "frames" / "b" / "0.jpg").touch()
    make_video(shard, "c", 3)  # added
    assert visible() == {name: [True] * 3 for name in "abc"}
    (shard / "anno" / "a.txt").unlink()  # removed
    assert visible() == {name: [True] * 3 for name in "bc"}
    (shard / "anno" / "b.txt").write_text("1,2,3,4\n0,0,0,0\n")  # annotated anew; boxes are in no index
    assert visible() == {"b": [True, False], "c": [True] * 3}


def test_the_second_opening_lists_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "data" / "TRAIN_0", "a", 3)
    make_old(tmp_path / "data")
    counted: list[Path] = []

    def count(folder: Path) -> int:
        counted.append(folder)
        return 3

    monkeypatch.setattr(trackingnet, "count_frames", count)
    for _ in range(2):
        assert len(open_dataset("trackingnet", "train", tmp_path / "data")) == 1
    assert len(counted) == 1


def test_names_are_a_sequence_of_text() -> None:
    names = Names(["a", "bc", "Zürich"])
    assert list(names) == ["a", "bc", "Zürich"]
    assert names[-1] == "Zürich"
    assert "bc" in names
    assert len(Names([])) == 0
    with pytest.raises(IndexError):
        names[3]


def test_numbered_files_are_named_without_looking(tmp_path: Path) -> None:
    files = NumberedFiles(tmp_path, first=9, num_files=3, digits=4)
    assert [path.name for path in (files[0], files[1], files[-1])] == ["0009.jpg", "0010.jpg", "0011.jpg"]
    assert files[0].parent == tmp_path
    with pytest.raises(IndexError, match="frame 3 of 3"):
        files[3]
    assert NumberedFiles(tmp_path, 0, 12, digits=1)[11] == tmp_path / "11.jpg"
    assert not list(tmp_path.iterdir())
