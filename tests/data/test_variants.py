"""The layouts that users meet besides the one in the documentation: other folders, other tools' copies, archives."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from lib.data.datasets import open_dataset
from lib.data.images.frames import ImageFiles
from lib.data.sequence import Sequence
from lib.data.storage.lmdb_writer import write_lmdb


@pytest.fixture(autouse=True)
def partial_trees_and_an_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees here have few of the published sequences, which readers warn of."""
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    warnings.filterwarnings("ignore", message=".*sequences are missing")
    warnings.filterwarnings("ignore", message=".*have no frames")


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names_of(name: str, split: str, root: Path) -> list[str]:
    return list(open_dataset(name, split, root).names)


def first(name: str, split: str, root: Path) -> Sequence:
    return open_dataset(name, split, root)[0]


def picture(sequence: Sequence, index: int) -> Path:
    """Return the file of frame `index`."""
    assert isinstance(sequence.frames, ImageFiles)
    path = sequence.frames.paths[index]
    assert isinstance(path, Path)
    return path


def make_lasot_sequence(folder: Path) -> None:
    write(folder / "groundtruth.txt", "1,2,3,4\n5,6,7,8\n")
    write(folder / "full_occlusion.txt", "0,1")
    write(folder / "out_of_view.txt", "0,0")


@pytest.mark.parametrize(
    "place",
    [
        "airplane-1",
        "airplane/airplane-1",
        "airplane/airplane/airplane-1",  # airplane.zip unpacked into a folder airplane
        "LaSOTBenchmark/airplane/airplane-1",
        "LaSOTBenchmark/airplane/airplane/airplane-1",
        "LaSOTTesting/airplane-1",
    ],
)
def test_lasot_is_found_wherever_its_archives_were_unpacked(tmp_path: Path, place: str) -> None:
    make_lasot_sequence(tmp_path / place)
    write(tmp_path / "airplane.zip")
    write(tmp_path / "training_set.txt")
    sequence = first("lasot", "test", tmp_path)
    assert sequence.name == "airplane-1"
    assert picture(sequence, 0) == tmp_path / place / "img" / "00000001.jpg"
    assert sequence.visible.tolist() == [True, False]


def test_classes_with_and_without_a_folder_of_their_own_mix(tmp_path: Path) -> None:
    for place in ("airplane-1", "bird/bird-17", "airplane/airplane-9"):
        make_lasot_sequence(tmp_path / place)
    assert names_of("lasot", "test", tmp_path) == ["airplane-1", "airplane-9", "bird-17"]


@pytest.mark.parametrize(
    "place",
    [
        "train/GOT-10k_Train_000003",
        "train/GOT-10k_Train_split_01/GOT-10k_Train_000003",
        "train_data/GOT-10k_Train_split_01/GOT-10k_Train_000003",
    ],
)
def test_got10k_is_read_from_the_parts_of_its_download(tmp_path: Path, place: str) -> None:
    write(tmp_path / place / "groundtruth.txt", "1,2,3,4\n5,6,7,8\n")
    write(tmp_path / place / "absence.label", "0\n0\n")
    write(tmp_path / place / "cover.label", "8\n0\n")
    write(tmp_path / "train" / "list.txt", "GOT-10k_Train_000003\n")
    sequence = first("got10k", "train", tmp_path)
    assert picture(sequence, 1) == tmp_path / place / "00000002.jpg"
    assert sequence.visible.tolist() == [True, False]


def test_trackingnet_shards_may_be_spelled_as_its_download_script_does(tmp_path: Path) -> None:
    for shard in ("Train_2", "TRAIN_10", "Test"):
        write(tmp_path / shard / "anno" / "a_0.txt", "1,2,3,4\n")
        write(tmp_path / shard / "frames" / "a_0" / "0.jpg")
    assert len(names_of("trackingnet", "train", tmp_path)) == 2
    sequence = first("trackingnet", "train_2", tmp_path)
    assert picture(sequence, 0) == tmp_path / "Train_2" / "frames" / "a_0" / "0.jpg"
    assert len(names_of("trackingnet", "test", tmp_path)) == 1


def test_archives_that_were_not_unpacked_are_spoken_of(tmp_path: Path) -> None:
    write(tmp_path / "lasot" / "airplane.zip")
    write(tmp_path / "lasot" / "bear.tar.xz")
    with pytest.raises(FileNotFoundError, match=r"holds archives \(airplane\.zip, 2 in all\): unpack them"):
        open_dataset("lasot", "test", tmp_path / "lasot")
    shard = tmp_path / "trackingnet" / "TRAIN_0"
    write(shard / "anno" / "a_0.txt", "1,2,3,4\n")
    write(shard / "zips" / "a_0.zip")
    with pytest.warns(UserWarning, match=r"1 of 1 videos .* have no frames; .*zips holds archives \(a_0\.zip"):
        open_dataset("trackingnet", "train", tmp_path / "trackingnet")


@pytest.mark.parametrize("around", ["", "UAV123"])
def test_uav123_with_the_folder_of_its_archive(tmp_path: Path, around: str) -> None:
    root = tmp_path / around
    write(root / "anno" / "UAV123" / "bird1_2.txt", "1,2,3,4\n" * 703)
    write(root / "data_seq" / "UAV123" / "bird1" / "000775.jpg")
    sequence = first("uav123", "test", tmp_path)
    # The second of three parts of one folder of frames.
    assert (sequence.name, len(sequence)) == ("bird1_2", 703)
    assert picture(sequence, 0) == root / "data_seq" / "UAV123" / "bird1" / "000775.jpg"
    assert picture(sequence, 702).name == "001477.jpg"


@pytest.mark.parametrize(
    ("name", "folder", "boxes", "num_frames"),
    [
        ("Jogging_1", "Jogging", "groundtruth_rect.1.txt", 307),
        ("Jogging_2", "Jogging-2", "groundtruth_rect.2.txt", 307),
        ("Jogging_2", "Jogging.2", "groundtruth_rect.txt", 307),
        ("Skating2_1", "Skating2-1", "groundtruth_rect.txt", 473),
        ("Human4_2", "Human4", "groundtruth_rect.2.txt", 667),
        ("Human4_2", "Human4-2", "groundtruth_rect.2.txt", 667),
    ],
)
def test_otb100_targets_that_share_a_video(tmp_path: Path, name: str, folder: str, boxes: str, num_frames: int) -> None:
    write(tmp_path / folder / boxes, "1\t2\t3\t4\n" * num_frames)
    dataset = open_dataset("otb100", "test", tmp_path)
    sequence = dataset[list(dataset.names).index(name)]
    assert len(sequence.boxes_xywh) == len(sequence) == num_frames
    assert picture(sequence, 0) == tmp_path / folder / "img" / "0001.jpg"
    others = {"Jogging": ["Jogging_1", "Jogging_2"]}.get(folder, [name])
    assert list(dataset.names) == others


def test_otb100_rows_with_another_separator_than_the_rest(tmp_path: Path) -> None:
    # As BlurCar1 is published; its frames begin at 247.
    rows = ["1\t2\t3\t4"] * 742
    rows[495] = "5 6 7 8"
    write(tmp_path / "BlurCar1" / "groundtruth_rect.txt", "\r\n".join(rows))
    sequence = first("otb100", "test", tmp_path)
    assert sequence.boxes_xywh[495].tolist() == [5, 6, 7, 8]
    assert picture(sequence, 0).name == "0247.jpg"


def vatic_row(frame: int, left: float, lost: int = 0) -> str:
    return f'0 {left} 20 {left + 30} 60 {frame} {lost} 0 1 "a person"'


def test_nfs_as_published_takes_every_eighth_row(tmp_path: Path) -> None:
    # The annotation in the folder of 30 frames per second is the one of 240.
    file = tmp_path / "bee" / "30" / "bee.txt"
    write(file, "\n".join(vatic_row(row + 1, left=row, lost=int(row == 16)) for row in range(8 * 45)))
    sequence = first("nfs", "test", tmp_path)
    assert (sequence.name, len(sequence)) == ("nfs_bee", 45)  # as the toolkits name and count it
    assert sequence.boxes_xywh[:3].tolist() == [[0, 20, 30, 40], [8, 20, 30, 40], [16, 20, 30, 40]]
    assert sequence.visible[:4].tolist() == [True, True, False, True]
    assert not sequence.absent.any()
    assert picture(sequence, 44) == tmp_path / "bee" / "30" / "bee" / "00045.jpg"

    write(file, "\n".join(vatic_row(row + 1, left=row) for row in range(44)))  # thinned out, and a frame short
    sequence = first("nfs", "test", tmp_path)
    assert sequence.boxes_xywh[:, 0].tolist() == list(range(44))
    assert len(sequence) == 44
    write(file, "\n".join(vatic_row(row + 1, left=row) for row in range(43)))
    with pytest.raises(ValueError, match=r"bee\.txt has 43 rows, but the sequence has 45 frames"):
        first("nfs", "test", tmp_path)
    write(file, f"{vatic_row(1, 0)}\n1,2,3,4\n")
    with pytest.raises(ValueError, match=r"bee\.txt, row 2: expected track left .*'1,2,3,4'"):
        first("nfs", "test", tmp_path)


def test_nfs_without_boxes_names_both_layouts(tmp_path: Path) -> None:
    (tmp_path / "bee" / "240").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"as published, or sequences/"):
        open_dataset("nfs", "test", tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        "TNL2K_train_subset/walk",
        "train/walk",
        "TNL2K_train_subset/train_data/walk",
        "TNL2k_train_subset_p9/walk",
        "train/TNL2K_train_subset_p3/walk",
    ],
)
def test_tnl2k_parts_may_lie_in_a_folder_of_their_own(tmp_path: Path, place: str) -> None:
    write(tmp_path / place / "groundtruth.txt", "1,2,3,4\n0,0,0,0\n")
    for name in ("00001.png", "00002.jpg"):
        write(tmp_path / place / "imgs" / name)
    write(tmp_path / "revised_annotations" / "walk" / "groundtruth.txt", "1,2,3,4\n")
    sequence = first("tnl2k", "train", tmp_path)
    assert names_of("tnl2k", "train", tmp_path) == ["walk"]
    assert picture(sequence, 1) == tmp_path / place / "imgs" / "00002.jpg"
    np.testing.assert_array_equal(sequence.absent, [False, True])


def test_tnl2k_boxes_before_their_revision_name_the_cure(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "Boat_video1-Done"
    write(folder / "groundtruth.txt", "1,2,3,4\n" * 3)
    write(folder / "imgs" / "1.png")
    with pytest.raises(ValueError, match=r"has 3 rows, but there are 1 frames .* revised_annotations"):
        first("tnl2k", "train", tmp_path)


def test_packed_variants_read_the_same(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    make_lasot_sequence(plain / "lasot" / "LaSOTBenchmark" / "airplane" / "airplane-1")
    write(plain / "nfs" / "bee" / "30" / "bee.txt", "\n".join(vatic_row(row + 1, left=row) for row in range(8 * 45)))
    write(plain / "tnl2k" / "train" / "TNL2K_train_subset_p3" / "walk" / "groundtruth.txt", "1,2,3,4\n0,0,0,0\n")
    write(plain / "otb100" / "Jogging-2" / "groundtruth_rect.txt", "1\t2\t3\t4\n" * 307)
    write(plain / "uav123" / "UAV123" / "anno" / "UAV123" / "bird1_2.txt", "1,2,3,4\n" * 703)
    for name, split in (("lasot", "test"), ("nfs", "test"), ("tnl2k", "train"), ("otb100", "test"), ("uav123", "test")):
        write_lmdb(plain / name, tmp_path / "packed" / name, progress=False)
        expected, found = first(name, split, plain / name), first(name, split, tmp_path / "packed" / name)
        assert found.name == expected.name
        np.testing.assert_array_equal(found.boxes_xywh, expected.boxes_xywh)
        np.testing.assert_array_equal(found.visible, expected.visible)
