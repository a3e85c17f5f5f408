"""Archives for evaluation servers, read back."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import command, files_no_longer_than
from toys import Videos, video

from lib.data.images.frames import ArrayFrames
from lib.eval.record import RunRecord, claim_folder
from lib.eval.report.submit import SERVERS, Packed, find_submission, pack
from lib.eval.results import ResultFiles

GOT10K_NAMES = [f"GOT-10k_Test_{number:06d}" for number in range(1, 181)]
# A name with "all" in it: a packer that filters names must not lose it.
TRACKINGNET_NAMES = [f"{number:04d}all_0" for number in range(511)]


def held(names: Sequence[str]) -> Videos:
    """Return videos with the first box only; sequence i has 2 + i % 3 frames."""
    pictures = [ArrayFrames(np.zeros((2 + rest, 2, 2, 3), np.uint8)) for rest in range(3)]
    return Videos(tuple(video(name, [[1, 2, 3, 4]], pictures[index % 3]) for index, name in enumerate(names)))


def boxes_of(index: int) -> np.ndarray:
    return np.arange(4.0 * (2 + index % 3)).reshape(-1, 4) + index / 8


def write(folder: Path, names: Sequence[str]) -> Path:
    """Write a complete result: sequence i has its own boxes, and times of i + 1 milliseconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        boxes = boxes_of(index)
        lines = "".join(",".join(f"{value:.4f}" for value in box) + "\n" for box in boxes)
        ResultFiles(folder, name).boxes.write_text(lines)
        ResultFiles(folder, name).seconds.write_text(f"{(index + 1) / 1000:.8f}\n" * len(boxes))
    return folder


@pytest.fixture(scope="module")
def got10k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a complete result, only to be read."""
    return write(tmp_path_factory.mktemp("got10k"), GOT10K_NAMES)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table(opened: zipfile.ZipFile, name: str) -> np.ndarray:
    text = opened.read(name).decode()
    assert text.endswith("\n") and " " not in text
    return np.array([[float(cell) for cell in line.split(",")] for line in text.splitlines()])


def test_got10k_layout(got10k: Path, tmp_path: Path) -> None:
    before, archive = snapshot(got10k), tmp_path / "out" / "got.zip"
    packed = pack(SERVERS["got10k"], got10k, archive, held(GOT10K_NAMES))
    assert packed == Packed(180, sum(2 + index % 3 for index in range(180)), 0, 0)
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert sorted(opened.namelist()) == sorted(
            f"{name}/{name}_{kind}.txt" for name in GOT10K_NAMES for kind in ("001", "time")
        )
        for index, name in enumerate(GOT10K_NAMES):
            np.testing.assert_array_equal(table(opened, f"{name}/{name}_001.txt"), boxes_of(index))
            seconds = table(opened, f"{name}/{name}_time.txt")
            np.testing.assert_array_equal(seconds, np.full((2 + index % 3, 1), (index + 1) / 1000))
    assert snapshot(got10k) == before, "raw results stay as they are"
    assert [path.name for path in archive.parent.iterdir()] == ["got.zip"]


def test_trackingnet_layout(tmp_path: Path) -> None:
    folder, archive = write(tmp_path / "raw", TRACKINGNET_NAMES), tmp_path / "net.zip"
    # Whatever separates the numbers in the raw files, the server gets commas.
    (folder / "0000all_0.txt").write_bytes(b"0\t1\t2\t3\r\n4 5 6 7\r\n")
    assert pack(SERVERS["trackingnet"], folder, archive, held(TRACKINGNET_NAMES)).num_sequences == 511
    with zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == [f"{name}.txt" for name in TRACKINGNET_NAMES]
        for index, name in enumerate(TRACKINGNET_NAMES):
            np.testing.assert_array_equal(table(opened, f"{name}.txt"), boxes_of(index))


def test_the_same_results_give_the_same_archive(got10k: Path, tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        assert pack(SERVERS["got10k"], got10k, tmp_path / name).num_unchecked == 180, "the data set is not at hand"
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_missing_sequences_are_listed(tmp_path: Path) -> None:
    folder = write(tmp_path / "raw", GOT10K_NAMES)
    for name in (GOT10K_NAMES[4], GOT10K_NAMES[179]):
        (folder / f"{name}.txt").unlink()
    with pytest.raises(ValueError, match="lacks 2 of 180 sequences: GOT-10k_Test_000005, GOT-10k_Test_000180"):
        pack(SERVERS["got10k"], folder, tmp_path / "x.zip")
    folder = write(tmp_path / "net", TRACKINGNET_NAMES[1:])
    with pytest.raises(ValueError, match="results of 510 sequences, trackingnet has 511; give the --root of all"):
        pack(SERVERS["trackingnet"], folder, tmp_path / "x.zip")
    with pytest.raises(ValueError, match="lacks 1 of 511 sequences: 0000all_0;"):
        pack(SERVERS["trackingnet"], folder, tmp_path / "x.zip", held(TRACKINGNET_NAMES))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no result files"):
        pack(SERVERS["got10k"], tmp_path / "empty", tmp_path / "x.zip")
    assert not list(tmp_path.glob("x.zip*"))


def test_every_unusable_file_is_named_and_an_older_archive_kept(tmp_path: Path) -> None:
    folder, archive = write(tmp_path / "raw", GOT10K_NAMES), tmp_path / "x.zip"
    archive.write_bytes(b"yesterday's")
    bad = {1: "1,2,3,4\n1,2,nan,4\n1,2,3,4\n", 2: "1,2,3,4\n", 3: "1,2,3,4\n" * 3, 4: "1,2,3,4\n1,2,3,x\n1,2,3,4\n"}
    for index, text in bad.items():
        (folder / f"{GOT10K_NAMES[index]}.txt").write_text(text)
    (folder / f"{GOT10K_NAMES[9]}_time.txt").write_text("0.1\n")
    (folder / f"{GOT10K_NAMES[10]}_time.txt").unlink()
    (folder / f"{GOT10K_NAMES[12]}_time.txt").write_text("0.1\n-0.1\n")
    with pytest.raises(ValueError, match="7 of 180 sequences cannot be handed in") as caught:
        pack(SERVERS["got10k"], folder, archive, held(GOT10K_NAMES))
    lines = str(caught.value).splitlines()[1:]
    found = ("02.txt, row 2", "03.txt: 1 rows", "04.txt: 3 rows", "05.txt, row 2", "10_time", "11_time",
             "13_time.txt: expected 2 times in seconds, found 1")  # fmt: skip
    assert all(f"0000{pattern}" in line for line, pattern in zip(lines, found, strict=True)), lines
    assert archive.read_bytes() == b"yesterday's"
    assert not list(tmp_path.glob("*.tmp"))


def test_a_full_disk_names_the_archive_and_keeps_the_older_one(got10k: Path, tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(b"yesterday's")
    with files_no_longer_than(20_000), pytest.raises(OSError, match=r"could not write: .*x\.zip"):
        pack(SERVERS["got10k"], got10k, archive)
    assert archive.read_bytes() == b"yesterday's" and not list(tmp_path.glob("*.tmp"))


def test_results_that_a_run_made_of_other_videos_are_not_packed(tmp_path: Path) -> None:
    folder, dataset = write(tmp_path / "raw", GOT10K_NAMES), held(GOT10K_NAMES)
    for index, name in enumerate(GOT10K_NAMES):
        boxes = boxes_of(index)
        boxes[0] = dataset[index].boxes_xywh[0] + (index == 2)
        ResultFiles(folder, name).write(boxes, np.ones(len(boxes)), 0)
    pack(SERVERS["got10k"], folder, tmp_path / "stranger.zip", dataset)
    (folder / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other videos .*: GOT-10k_Test_000003 \(first box 2,3,4,5, here 1,2,3,4\); "):
        pack(SERVERS["got10k"], folder, tmp_path / "x.zip", dataset)
    assert not list(tmp_path.glob("x.zip*"))


def test_results_of_another_benchmark_and_other_mistakes_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mmg" / "x" / "lasot"
    claim_folder(folder, RunRecord("mmg", "x", "lasot", None, None, {}), overwrite=False)
    with pytest.raises(ValueError, match="holds results on lasot, not on got10k_test"):
        find_submission("got10k", str(folder), tmp_path)
    with pytest.raises(ValueError, match=r"unknown server 'got10' \(did you mean 'got10k'\?\)"):
        find_submission("got10", str(folder), tmp_path)
    with pytest.raises(ValueError, match=r"call it x\.tar\.zip"):
        pack(SERVERS["got10k"], folder, tmp_path / "x.tar")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MMG_GOT10K", raising=False)
    (tmp_path / "paths.yaml").write_text("got10k:\n")
    folder = write(tmp_path / "results" / "mmg" / "tiny" / "got10k_test", GOT10K_NAMES)
    (folder / f"{GOT10K_NAMES[0]}_nonfinite.txt").write_text("2\n")
    assert command("submit")(["got10k", "mmg/tiny", "--out", "got.zip", "--paths", "paths.yaml"]) == 0
    captured = capsys.readouterr()
    assert "180 sequences" in captured.out and "180 sequences are not at hand" in captured.out
    assert "NOT FINITE: 2 boxes" in captured.err
    assert zipfile.is_zipfile("got.zip")
