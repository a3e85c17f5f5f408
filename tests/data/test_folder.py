"""Own data: every layout that is promised, and errors that say where to look."""

import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data.datasets import open_dataset
from lib.data.datasets.folder import FolderDataset, LeftOutWarning, natural_key

REAL = Path(__file__).resolve().parents[2] / "shared" / "real" / "sequences"
MakeSequence = Callable[..., Path]


@pytest.fixture
def make_sequence(tmp_path: Path) -> MakeSequence:
    def make(
        boxes: str = "1,2,3,4\n5,6,7,8\n",
        names: tuple[str, ...] = ("img/1.png", "img/2.png"),
        absent: str | None = None,
        name: str = "walk",
    ) -> Path:
        folder = tmp_path / name
        for value, file in enumerate(names):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / file), np.full((20, 30, 3), 10 * value, np.uint8))
        (folder / "groundtruth.txt").write_text(boxes)
        if absent is not None:
            (folder / "absent.txt").write_text(absent)
        return folder

    return make


@pytest.mark.parametrize(
    "names",
    [
        ("img/1.jpg", "img/2.jpg", "img/10.jpg"),
        ("1.jpg", "2.jpg", "10.jpg"),
        ("frame_1.png", "frame_2.png", "frame_10.png"),
        ("img/a01.PNG", "img/a02.PNG", "img/a003.PNG"),
    ],
)
def test_pictures_are_found_and_ordered_by_number(make_sequence: MakeSequence, names: tuple[str, ...]) -> None:
    folder = make_sequence("1,1,5,5\n" * 3, names)
    sequence = FolderDataset(folder.parent)[0]
    assert sequence.name == "walk"
    assert [int(sequence.frames[index].mean().round()) for index in range(len(sequence))] == [0, 10, 20]


def test_root_may_be_one_sequence(make_sequence: MakeSequence, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sequence()
    assert list(FolderDataset(folder).names) == ["walk"]
    monkeypatch.chdir(folder)
    assert list(FolderDataset(Path()).names) == ["walk"]


def test_folders_of_splits_are_found(make_sequence: MakeSequence, tmp_path: Path) -> None:
    make_sequence(name="train/one")
    make_sequence(name="val/two")
    assert open_dataset("folder", "train", tmp_path).names == ("one",)
    assert open_dataset("folder", "val", tmp_path).names == ("two",)


def test_sequences_are_sorted_and_hidden_ones_left_out(make_sequence: MakeSequence) -> None:
    for name in ("clip10", "clip9", ".clip11.partial"):
        folder = make_sequence(name=name)
    assert list(FolderDataset(folder.parent).names) == ["clip9", "clip10"]


def test_folders_without_boxes_are_named(make_sequence: MakeSequence) -> None:
    root = make_sequence().parent
    for name in ("mask", ".hidden"):
        (root / name).mkdir()
    (root / "notes.txt").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FolderDataset(root)
    for number in (1, 2, 10, 9):
        (root / f"clip{number}").mkdir()
    with pytest.warns(LeftOutWarning, match=r"4 folders without groundtruth\.txt in .* clip1, clip2, clip9, \.\.\.$"):
        assert list(FolderDataset(root).names) == ["walk"]


def test_video_file_instead_of_pictures(make_sequence: MakeSequence) -> None:
    folder = make_sequence("1,2,3,4\n" * 3, names=("notes/sketch.png",))
    writer = cv2.VideoWriter(str(folder / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 32))
    for value in (0, 100, 200):
        writer.write(np.full((32, 64, 3), value, np.uint8))
    writer.release()
    sequence = FolderDataset(folder)[0]
    assert len(sequence) == 3
    assert abs(float(sequence.frames[1].mean()) - 100) < 5


@pytest.mark.parametrize(
    ("line", "said"),
    [("1,2,3", ""), ("1,2,inf,4", ""), ("5,6,-7,8", ".*-7.* negative width or height; a row is x,y,w,h")],
)
def test_a_box_that_cannot_be_meant_names_file_and_row(make_sequence: MakeSequence, line: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"groundtruth\.txt, row 2: {said}"):
        FolderDataset(make_sequence(f"1,2,3,4\n{line}\n"))[0]


def test_rows_may_end_in_a_comma(make_sequence: MakeSequence) -> None:
    sequence = FolderDataset(make_sequence("1,2,3,4,\n5,6,7,8,\n", absent="0,\n1,\n"))[0]
    assert sequence.boxes_xywh.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert sequence.absent.tolist() == [False, True]


def test_what_is_visible_and_what_is_absent(make_sequence: MakeSequence) -> None:
    names = tuple(f"{number}.png" for number in range(5))
    folder = make_sequence("1,1,5,5\nnan,nan,nan,nan\n1,1,0,5\n1,1,5,5\n1,1,5,nan\n", names, absent="0\n0\n0\n1\n0\n")
    sequence = FolderDataset(folder)[0]
    assert sequence.absent.tolist() == [False, False, False, True, False]
    assert sequence.visible.tolist() == [True, False, False, False, False]
    assert np.isnan(sequence.boxes_xywh[1]).all()


def test_one_row_is_enough_for_testing(make_sequence: MakeSequence) -> None:
    sequence = FolderDataset(make_sequence("1,2,3,4"))[0]
    assert sequence.boxes_xywh.shape == (1, 4)
    assert len(sequence) == 2


def test_contradicting_counts_say_both_numbers(make_sequence: MakeSequence) -> None:
    with pytest.raises(ValueError, match="has 3 rows, but there are 2 frames"):
        FolderDataset(make_sequence("1,2,3,4\n" * 3))[0]
    with pytest.raises(ValueError, match=r"absent\.txt has 1 rows, but .*groundtruth\.txt has 2"):
        FolderDataset(make_sequence(absent="0\n"))[0]
    with pytest.raises(ValueError, match=r"absent\.txt, row 2: expected 1 number, found 'no'"):
        FolderDataset(make_sequence(absent="0\nno\n"))[0]
    folder = make_sequence(absent="0\n0\n")
    (folder / "mask").mkdir()
    with pytest.raises(ValueError, match="0 masks, but there are 2 frames"):
        FolderDataset(folder)[0]


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_found_shows_the_layout(tmp_path: Path, exists: bool) -> None:
    root = tmp_path if exists else tmp_path / "gone"
    with pytest.raises(FileNotFoundError, match=r"ROOT/<sequence>/groundtruth\.txt") as caught:
        FolderDataset(root)
    assert str(root) in str(caught.value)


def test_sequence_without_pictures_and_with_two_videos(make_sequence: MakeSequence) -> None:
    folder = make_sequence(names=("other/1.png",))
    with pytest.raises(FileNotFoundError, match="no pictures and no video"):
        FolderDataset(folder)[0]
    for name in ("a.mp4", "b.avi"):
        (folder / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 videos \(a\.mp4, b\.avi"):
        FolderDataset(folder)[0]


def test_natural_order() -> None:
    names = ["10", "9", "a10", "a2", "a2b", "b1", "a02", ""]
    assert sorted(names, key=natural_key) == ["", "9", "10", "a02", "a2", "a2b", "a10", "b1"]


def test_real_sequences_open() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no real sequences in {REAL}")
    dataset = FolderDataset(REAL)
    assert len(dataset) == 26
    for index in range(len(dataset)):
        sequence = dataset[index]
        height, width = sequence.frames[0].shape[:2]
        left, top, box_width, box_height = sequence.boxes_xywh[0]
        assert len(sequence) == len(sequence.boxes_xywh) and sequence.visible[0]
        assert 0 <= left < left + box_width <= width + 1 and 0 <= top < top + box_height <= height + 1
    pedestrian = dataset[list(dataset.names).index("tld_pedestrian2")]
    assert pedestrian.absent.sum() == 19
    swan = dataset[list(dataset.names).index("davis_blackswan")]
    assert swan.masks is not None
    rows, columns = np.nonzero(swan.masks[0])
    box_xywh = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    np.testing.assert_allclose(swan.boxes_xywh[0], box_xywh, atol=2)
