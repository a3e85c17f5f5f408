"""What is written to disk reads back as it was, and interrupted writing resumes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import command

from lib.data.datasets import open_dataset
from lib.data.datasets.folder import FolderDataset
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.images.frames import ArrayFrames
from lib.data.render import open_drawn, render_dataset
from lib.data.sequence import Sequence, SequenceDataset
from lib.data.synthetic import SceneStyle

STYLE = SceneStyle(leaving_probability=1.0, occlusion_probability=1.0)


@pytest.fixture(scope="module")
def dataset() -> SyntheticDataset:
    return SyntheticDataset("test", num_sequences=2, num_frames=60, style=STYLE)


class _Single(SequenceDataset):
    """A data set of one sequence, with boxes that need all their digits."""

    names = ("odd",)

    def __init__(self) -> None:
        boxes_xywh = np.array([[1 / 3, 1e-7, 123456.789, 2e5], [np.nan] * 4, [-0.1, 0.1 + 0.2, 1e16, 7.0]])
        absent = np.array([False, True, False])
        self.sequence = Sequence("odd", ArrayFrames(np.zeros((3, 4, 5, 3), np.uint8)), boxes_xywh, ~absent, absent)

    def __getitem__(self, index: int) -> Sequence:
        return self.sequence


def test_reads_back_identically(dataset: SyntheticDataset, tmp_path: Path) -> None:
    assert render_dataset(dataset, tmp_path, "png", progress=False) == 2
    stored = FolderDataset(tmp_path)
    assert list(stored.names) == list(dataset.names)
    num_absent = 0
    for index in range(len(dataset)):
        drawn, read = dataset[index], stored[index]
        np.testing.assert_array_equal(read.boxes_xywh, drawn.boxes_xywh)
        np.testing.assert_array_equal(read.absent, drawn.absent)
        num_absent += int(drawn.absent.sum())
        assert len(read) == len(drawn) and read.masks is not None and drawn.masks is not None
        for frame in (0, 7, 31, 59):
            np.testing.assert_array_equal(read.frames[frame], drawn.frames[frame])
            np.testing.assert_array_equal(read.masks[frame], drawn.masks[frame])
    assert num_absent > 0  # or absence was not tested


def test_boxes_keep_every_digit(tmp_path: Path) -> None:
    single = _Single()
    render_dataset(single, tmp_path, progress=False)
    read = FolderDataset(tmp_path)[0]
    np.testing.assert_array_equal(read.boxes_xywh, single.sequence.boxes_xywh)
    np.testing.assert_array_equal(read.absent, single.sequence.absent)
    assert read.masks is None


def test_jpeg_is_close(dataset: SyntheticDataset, tmp_path: Path) -> None:
    render_dataset(dataset, tmp_path, progress=False)
    assert (tmp_path / "test-0001" / "img" / "00000008.jpg").is_file()
    picture, drawn = FolderDataset(tmp_path)[1].frames[7], dataset[1].frames[7]
    assert 0 < np.abs(picture.astype(int) - drawn).mean() < 4


def test_resumes_where_it_stopped(dataset: SyntheticDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    write_bytes = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        nonlocal written
        written += 1
        if written == 150:  # in the second sequence
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        render_dataset(dataset, tmp_path, "png", progress=False)
    monkeypatch.undo()
    assert list(FolderDataset(tmp_path).names) == ["test-0000"]  # what is incomplete is not seen
    before = (tmp_path / "test-0000" / "img" / "00000001.png").stat().st_mtime_ns
    assert render_dataset(dataset, tmp_path, "png", progress=False) == 1
    assert (tmp_path / "test-0000" / "img" / "00000001.png").stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test-0000", "test-0001"]
    assert len(FolderDataset(tmp_path)[1]) == 60


def test_another_sequence_of_the_same_name_is_kept(dataset: SyntheticDataset, tmp_path: Path) -> None:
    render_dataset(SyntheticDataset("test", 1, 5), tmp_path, progress=False)
    with pytest.raises(ValueError, match="test-0000 holds another sequence"):
        render_dataset(dataset, tmp_path, progress=False)
    assert len(FolderDataset(tmp_path)[0]) == 5


def test_photographs_become_own_videos_with_masks(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    for number, noise in enumerate(np.random.default_rng(0).integers(0, 255, (60, 6, 8, 3), dtype=np.uint8)):
        cv2.imwrite(str(tmp_path / "photographs" / f"{number:04d}.jpg"), cv2.resize(noise, (288, 216)))
    drawn = open_drawn("stills", "test", 2, 12, root=tmp_path / "photographs")
    assert render_dataset(drawn, tmp_path / "out", "png", progress=False) == 2
    read = FolderDataset(tmp_path / "out")[1]
    np.testing.assert_array_equal(read.boxes_xywh, drawn[1].boxes_xywh)
    np.testing.assert_array_equal(read.frames[11], drawn[1].frames[11])
    assert read.masks is not None and len(read) == 12 and read.masks[0].any()


def test_what_is_drawn_from_nothing_takes_no_folder_and_stills_need_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--root .* means nothing to it"):
        open_drawn("synthetic", "test", 1, 5, root=tmp_path)
    with pytest.raises(ValueError, match=r"synthetic is drawn.*--root .* means nothing to it.*`folder`"):
        open_dataset("synthetic", "test", tmp_path)
    with pytest.raises(FileNotFoundError, match="where are the photographs"):
        open_drawn("stills", "test", 1, 5)
    with pytest.raises(FileNotFoundError, match="nowhere, does not exist"):
        open_drawn("stills", "test", 1, 5, root=tmp_path / "nowhere")


def test_the_command_renders_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = command("prepare")
    arguments = ["--out", str(tmp_path / "a"), "--split", "val", "--sequences", "2", "--frames", "3"]
    for count in (2, 0):
        assert main(["render", "synthetic", *arguments]) == 0
        assert f"wrote {count} sequences" in capsys.readouterr().out
    stored = FolderDataset(tmp_path / "a")
    assert list(stored.names) == ["val-0000", "val-0001"]
    np.testing.assert_array_equal(stored[1].boxes_xywh, SyntheticDataset("val", 2, 3)[1].boxes_xywh)

    with pytest.raises(ValueError, match="difficulty = 7"):
        main(["render", "synthetic", *arguments, "--difficulty", "7"])
