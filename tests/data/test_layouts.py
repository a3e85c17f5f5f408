"""Every data set in its true layout and in those that users meet besides: names, numbering, labels, what is missing."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data.datasets import DATASETS, open_dataset
from lib.data.images.frames import ImageFiles
from lib.data.sequence import Sequence
from lib.data.storage.lmdb_writer import write_lmdb
from lib.eval.benchmarks import BENCHMARKS

HEIGHT, WIDTH = 24, 32


@pytest.fixture(autouse=True)
def partial_trees_and_an_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees here have few of the published sequences, which readers warn of."""
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    warnings.filterwarnings("ignore", message=".*sequences are missing")
    warnings.filterwarnings("ignore", message=".*have no frames")


def write_frame(path: Path, shade: int) -> None:
    """Write a grey picture; jpeg keeps a uniform shade exactly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), shade, np.uint8))


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shade(sequence: Sequence, index: int) -> int:
    """Read which picture frame `index` is."""
    image = sequence.frames[index]
    assert image.shape == (HEIGHT, WIDTH, 3)
    return int(image[0, 0, 0])


def by_name(name: str, split: str, root: Path) -> dict[str, Sequence]:
    dataset = open_dataset(name, split, root)
    assert len(dataset.names) == len(dataset)
    sequences = [dataset[index] for index in range(len(dataset))]
    assert [sequence.name for sequence in sequences] == list(dataset.names)
    return {sequence.name: sequence for sequence in sequences}


def first(name: str, split: str, root: Path) -> Sequence:
    return open_dataset(name, split, root)[0]


def picture(sequence: Sequence, index: int) -> Path:
    """Return the file of frame `index`."""
    assert isinstance(sequence.frames, ImageFiles)
    path = sequence.frames.paths[index]
    assert isinstance(path, Path)
    return path


def make_lasot_sequence(folder: Path) -> None:
    for number in range(1, 4):
        write_frame(folder / "img" / f"{number:08d}.jpg", number)
    write(folder / "groundtruth.txt", "1,2,3,4\n5,6,7,8\n0,0,0,0\n")
    write(folder / "full_occlusion.txt", "0,1,0")
    write(folder / "out_of_view.txt", "0,0,1")
    write(folder / "nlp.txt", "an airplane\n")


def test_lasot(tmp_path: Path) -> None:
    for name in ("airplane-1", "airplane-2", "bird-17"):
        make_lasot_sequence(tmp_path / name.split("-")[0] / name)
    test = by_name("lasot", "test", tmp_path)
    assert list(test) == ["airplane-1", "bird-17"]
    assert list(by_name("lasot", "train", tmp_path)) == ["airplane-2"]
    sequence = test["airplane-1"]
    assert len(sequence) == 3
    assert sequence.boxes_xywh.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0]]
    assert sequence.visible.tolist() == [True, False, False]
    assert sequence.absent.tolist() == [False, True, True]
    assert [shade(sequence, index) for index in range(3)] == [1, 2, 3]
    assert sequence.attributes == ("Partial Occlusion", "Rotation", "Scale Variation", "Low Resolution")


def test_lasot_extension(tmp_path: Path) -> None:
    make_lasot_sequence(tmp_path / "atv" / "atv-10")
    make_lasot_sequence(tmp_path / "airplane" / "airplane-1")
    assert list(by_name("lasot_ext", "test", tmp_path)) == ["atv-10"]


def test_annotation_without_frames_can_be_analysed(tmp_path: Path) -> None:
    write(tmp_path / "airplane-1" / "groundtruth.txt", "1,2,3,4\n" * 5)
    for flags in ("full_occlusion", "out_of_view"):
        write(tmp_path / "airplane-1" / f"{flags}.txt", "0,0,0,0,0\n")
    sequence = by_name("lasot", "test", tmp_path)["airplane-1"]
    assert len(sequence) == 5 and sequence.visible.all()
    with pytest.raises(FileNotFoundError, match=r"airplane-1.img.00000004\.jpg does not exist"):
        sequence.frames[3]


def test_flags_of_another_length_name_the_file(tmp_path: Path) -> None:
    make_lasot_sequence(tmp_path / "airplane-1")
    write(tmp_path / "airplane-1" / "full_occlusion.txt", "0,1")
    with pytest.raises(ValueError, match=r"full_occlusion\.txt has 2 numbers.* 3 rows"):
        open_dataset("lasot", "test", tmp_path)[0]
    write(tmp_path / "airplane-1" / "full_occlusion.txt", "0,x,0")
    with pytest.raises(ValueError, match=r"full_occlusion\.txt: expected numbers"):
        open_dataset("lasot", "test", tmp_path)[0]


def make_got10k_sequence(folder: Path, num_rows: int = 3) -> None:
    for number in range(1, 4):
        write_frame(folder / f"{number:08d}.jpg", number)
    write(folder / "groundtruth.txt", "1.0000,2.0000,3.0000,4.0000\n" * num_rows)
    if num_rows > 1:
        write(folder / "absence.label", "0\n1\n0\n")
        write(folder / "cover.label", "8\n5\n0\n")
        write(folder / "cut_by_image.label", "0\n0\n0\n")
        write(folder / "meta_info.ini", "[METAINFO]\nanno_fps: 10Hz\nresolution: (1920, 1080)\n")


def test_got10k(tmp_path: Path) -> None:
    make_got10k_sequence(tmp_path / "train" / "GOT-10k_Train_000003")
    make_got10k_sequence(tmp_path / "train" / "GOT-10k_Train_000004")
    make_got10k_sequence(tmp_path / "train" / "GOT-10k_Train_000029")
    make_got10k_sequence(tmp_path / "val" / "GOT-10k_Val_000180")
    make_got10k_sequence(tmp_path / "test" / "GOT-10k_Test_000001", num_rows=1)
    write(tmp_path / "train" / "list.txt", "GOT-10k_Train_000003\n")

    train = by_name("got10k", "train", tmp_path)
    assert list(train) == ["GOT-10k_Train_000003", "GOT-10k_Train_000004", "GOT-10k_Train_000029"]
    sequence = train["GOT-10k_Train_000003"]
    assert sequence.visible.tolist() == [True, False, False]  # seen; absent; covered
    assert sequence.absent.tolist() == [False, True, False]
    assert sequence.labels["cover"].tolist() == [8, 5, 0]
    assert [shade(sequence, index) for index in range(3)] == [1, 2, 3]

    # Video 4 is forbidden, and in the published list all the same.
    assert list(by_name("got10k", "vottrain", tmp_path)) == ["GOT-10k_Train_000003", "GOT-10k_Train_000004"]
    assert list(by_name("got10k", "vottrain_strict", tmp_path)) == ["GOT-10k_Train_000003", "GOT-10k_Train_000029"]
    assert list(by_name("got10k", "votval", tmp_path)) == ["GOT-10k_Train_000029"]

    (val,) = by_name("got10k", "val", tmp_path).values()
    assert val.labels["frame_size"].tolist() == [1080, 1920]
    (test,) = by_name("got10k", "test", tmp_path).values()
    assert len(test) == shade(test, 2) == 3 and test.boxes_xywh.tolist() == [[1, 2, 3, 4]]


def make_trackingnet_video(shard: Path, name: str, num_frames: int, num_rows: int | None = None) -> None:
    (shard / "frames" / name).mkdir(parents=True)
    for number in range(num_frames):
        write_frame(shard / "frames" / name / f"{number}.jpg", number)
    write(shard / "anno" / f"{name}.txt", "1.00,2.00,3.00,4.00\n" * (num_rows or num_frames))


def test_trackingnet(tmp_path: Path) -> None:
    make_trackingnet_video(tmp_path / "TRAIN_2", "b_0", 12)
    make_trackingnet_video(tmp_path / "TRAIN_10", "-a_0", 2)
    make_trackingnet_video(tmp_path / "TEST", "t_0", 4, num_rows=1)
    train = by_name("trackingnet", "train", tmp_path)
    assert list(train) == ["b_0", "-a_0"]  # shards by number, not by letter
    assert [shade(train["b_0"], index) for index in (0, 9, 10, 11)] == [0, 9, 10, 11]
    assert train["b_0"].visible.all()
    assert list(by_name("trackingnet", "train_10", tmp_path)) == ["-a_0"]
    (test,) = by_name("trackingnet", "test", tmp_path).values()
    assert (len(test), test.boxes_xywh.shape) == (4, (1, 4))
    with pytest.raises(FileNotFoundError, match="train_2-4: no TRAIN_3, TRAIN_4"):
        open_dataset("trackingnet", "train_2-4", tmp_path)
    with pytest.raises(ValueError, match="run from 0 to 11"):
        open_dataset("trackingnet", "train_12", tmp_path)
    with pytest.raises(ValueError, match="no split 'train_x'"):
        open_dataset("trackingnet", "train_x", tmp_path)


def test_a_missing_training_frame_is_never_drawn(tmp_path: Path) -> None:
    make_trackingnet_video(tmp_path / "TRAIN_0", "a_0", 4)
    (tmp_path / "TRAIN_0" / "frames" / "a_0" / "2.jpg").unlink()
    make_trackingnet_video(tmp_path / "TRAIN_0", "b_0", 0, num_rows=3)
    with pytest.warns(UserWarning, match="1 of 2 videos .* have no frames"):
        dataset = open_dataset("trackingnet", "train", tmp_path)
    assert dataset[0].visible.tolist() == [True, True, False, True]
    assert dataset[1].visible.tolist() == [False, False, False]


def test_coco(tmp_path: Path) -> None:
    files = {25: "more/000000000025.jpg", 9: "000000000009.jpg"}
    for number, name in files.items():
        write_frame(tmp_path / "val2017" / name, number)
    boxes = {7: (25, [1.5, 2, 3, 4], 0), 3: (9, [0, 0, 8, 8], 1), 5: (9, [5, 6, 0, 8], 0)}
    annotation = {
        "images": [{"id": number, "file_name": name} for number, name in files.items()],
        "annotations": [
            {"id": key, "image_id": image, "bbox": box, "iscrowd": crowd, "category_id": 1, "area": 1}
            for key, (image, box, crowd) in boxes.items()
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    file = tmp_path / "annotations" / "instances_val2017.json"
    write(file, json.dumps(annotation))
    sequences = by_name("coco", "val", tmp_path)
    assert set(sequences) == {"000000000025_7", "000000000009_5"}  # no crowd
    sequence = sequences["000000000025_7"]
    assert len(sequence) == 1 and sequence.boxes_xywh.tolist() == [[1.5, 2, 3, 4]]
    assert shade(sequence, 0) == 25
    assert not sequences["000000000009_5"].visible[0]  # a box without width
    assert open_dataset("coco", "val", tmp_path).images_only

    whole = file.read_bytes()
    for damaged in (whole[:100], b"\xff" + whole):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"instances_val2017\.json is damaged"):
            open_dataset("coco", "val", tmp_path)
    file.write_bytes(whole)

    (tmp_path / "val2017").rename(tmp_path / "moved")
    (tmp_path / "images").mkdir()
    (tmp_path / "moved").rename(tmp_path / "images" / "val2017")
    assert shade(by_name("coco", "val", tmp_path)["000000000025_7"], 0) == 25
    with pytest.raises(FileNotFoundError, match=r"instances_train2017\.json"):
        open_dataset("coco", "train", tmp_path)


def test_uav123(tmp_path: Path) -> None:
    # car16_2 goes on where car16_1 ends, in the same folder of frames.
    for number in (415, 416, 1993):
        write_frame(tmp_path / "data_seq" / "UAV123" / "car16" / f"{number:06d}.jpg", number % 250)
    rows = ["1,2,3,4"] * 1579
    rows[1] = "NaN,NaN,NaN,NaN"
    write(tmp_path / "anno" / "UAV123" / "car16_2.txt", "\n".join(rows) + "\n")
    (sequence,) = by_name("uav123", "test", tmp_path).values()
    assert len(sequence) == 1579
    assert [shade(sequence, index) for index in (0, 1, -1)] == [165, 166, 243]
    assert sequence.absent.sum() == 1 and sequence.absent[1] and not sequence.visible[1]
    assert sequence.attributes[-1] == "Camera Motion"
    write(tmp_path / "anno" / "UAV123" / "car16_2.txt", "1,2,3,4\n")
    with pytest.raises(ValueError, match=r"car16_2\.txt has 1 rows.* 1579 frames"):
        open_dataset("uav123", "test", tmp_path)[0]


def test_otb100(tmp_path: Path) -> None:
    write_frame(tmp_path / "Board" / "img" / "00001.jpg", 1)
    write(tmp_path / "Board" / "groundtruth_rect.txt", "1\t2\t3\t4\n" * 698)
    write_frame(tmp_path / "Jogging" / "img" / "0307.jpg", 7)
    write(tmp_path / "Jogging" / "groundtruth_rect.1.txt", "1,2,3,4\n" * 307)
    write(tmp_path / "Jogging" / "groundtruth_rect.2.txt", "5,6,7,8\n" * 307)
    write_frame(tmp_path / "Tiger1" / "img" / "0006.jpg", 6)
    write(tmp_path / "Tiger1" / "groundtruth_rect.txt", "".join(f"{row} 2 3 4\n" for row in range(1, 355)))
    sequences = by_name("otb100", "test", tmp_path)
    assert list(sequences) == ["Board", "Jogging_1", "Jogging_2", "Tiger1"]
    assert shade(sequences["Board"], 0) == 1
    assert shade(sequences["Jogging_2"], -1) == 7
    assert sequences["Jogging_2"].boxes_xywh[0].tolist() == [5, 6, 7, 8]
    tiger = sequences["Tiger1"]
    assert len(tiger) == len(tiger.boxes_xywh) == 349
    assert tiger.boxes_xywh[0, 0] == shade(tiger, 0) == 6  # the first five frames are left out
    write(tmp_path / "Board" / "groundtruth_rect.txt", "1 2 3 4\n" * 9)
    with pytest.raises(ValueError, match="has 9 rows, but the sequence has 698 frames"):
        open_dataset("otb100", "test", tmp_path)[0]


def test_nfs(tmp_path: Path) -> None:
    write_frame(tmp_path / "sequences" / "bee" / "00045.jpg", 45)
    write(tmp_path / "anno" / "nfs_bee.txt", "1\t2\t3\t4\n" * 45)
    (sequence,) = by_name("nfs", "test", tmp_path).values()
    assert (sequence.name, len(sequence), shade(sequence, 44)) == ("nfs_bee", 45, 45)


def test_tnl2k(tmp_path: Path) -> None:
    folder = tmp_path / "TNL2K_test_subset" / "Bee_video_01"
    for number, name in enumerate(("9.jpg", "10.jpg", "11.png")):
        write_frame(folder / "imgs" / name, number)
    write(folder / "groundtruth.txt", "1,2,3,4\n0,0,0,0\n5,6,7,8\n")
    write(folder / "language.txt", "a bee\n")
    (sequence,) = by_name("tnl2k", "test", tmp_path).values()
    assert sequence.name == "Bee_video_01"
    assert [shade(sequence, index) for index in range(3)] == [0, 1, 2]
    assert sequence.absent.tolist() == [False, True, False]
    write_frame(folder / "imgs" / "12.jpg", 0)
    with pytest.raises(ValueError, match=r"txt has 3 rows, but there are 4 frames .* revised_annotations"):
        open_dataset("tnl2k", "test", tmp_path)[0]
    with pytest.raises(FileNotFoundError, match="no sequence of TNL2K train"):
        open_dataset("tnl2k", "train", tmp_path)


def make_tnl2k_sequence(folder: Path) -> None:
    for number in range(3):
        write_frame(folder / "imgs" / f"{number}.png", number)
    write(folder / "groundtruth.txt", "1,2,3,4\n0,0,0,0\n5,6,7,8\n")


def make_own_sequence(folder: Path) -> None:
    for number in range(3):
        write_frame(folder / "img" / f"{number}.png", number)
        write_frame(folder / "mask" / f"{number}.png", 255 * (number % 2))
    write(folder / "groundtruth.txt", "1,2,3,4\n" * 3)
    write(folder / "absent.txt", "0\n1\n0\n")


@pytest.mark.parametrize(
    ("dataset", "split", "make", "places"),
    [
        ("lasot", "test", make_lasot_sequence, ("airplane/airplane-1", "bird-17")),
        ("got10k", "vottrain", make_got10k_sequence, ("train/GOT-10k_Train_000003", "train/GOT-10k_Train_000004")),
        ("got10k", "val", make_got10k_sequence, ("val/GOT-10k_Val_000003",)),
        ("tnl2k", "train", make_tnl2k_sequence, ("TNL2K_train_subset_p2/a", "TNL2K_train_subset_p1/b")),
        ("folder", "train", make_own_sequence, ("walk-2", "walk-10")),
        ("trackingnet", "train", lambda shard: make_trackingnet_video(shard, shard.name, 3), ("TRAIN_4", "TRAIN_11")),
        ("lasot", "test", make_lasot_sequence, ("LaSOTBenchmark/airplane/airplane-1",)),
        ("tnl2k", "train", make_tnl2k_sequence, ("train/TNL2K_train_subset_p3/walk",)),
        ("nfs", "test", lambda folder: write(folder / "30" / "bee.txt", "0 1 2 3 4 5 0\n" * 360), ("bee",)),
        ("otb100", "test", lambda folder: write(folder / "groundtruth_rect.txt", "1\t2\t3\t4\n" * 307), ("Jogging-2",)),
        ("uav123", "test", lambda root: write(root / "anno/UAV123/bird1_2.txt", "1,2,3,4\n" * 703), ("UAV123",)),
    ],
)
def test_packed_data_read_the_same(
    tmp_path: Path, dataset: str, split: str, make: Callable[[Path], None], places: tuple[str, ...]
) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    for place in places:
        make(plain / place)
    write_lmdb(plain, packed, progress=False)
    expected, found = by_name(dataset, split, plain), by_name(dataset, split, packed)
    assert list(found) == list(expected) and len(found) == len(places)
    for name, sequence in expected.items():
        other = found[name]
        np.testing.assert_array_equal(other.boxes_xywh, sequence.boxes_xywh)
        np.testing.assert_array_equal(other.visible, sequence.visible)
        np.testing.assert_array_equal(other.absent, sequence.absent)
        if picture(sequence, 0).exists():
            assert [shade(other, index) for index in range(3)] == [shade(sequence, index) for index in range(3)]
        assert (other.masks is None) == (sequence.masks is None)
        if other.masks is not None and sequence.masks is not None:
            np.testing.assert_array_equal(other.masks[1], sequence.masks[1])


def test_opening_reads_no_annotation(tmp_path: Path) -> None:
    make_lasot_sequence(tmp_path / "airplane-1")
    make_lasot_sequence(tmp_path / "airplane-9")
    write(tmp_path / "airplane-1" / "groundtruth.txt", "1,2,3,4\nfour\n")
    dataset = open_dataset("lasot", "test", tmp_path)
    assert dataset[1].name == "airplane-9"
    with pytest.raises(ValueError, match=r"airplane-1.groundtruth\.txt, row 2: .*'four'"):
        dataset[0]


def test_every_benchmark_opens_a_split_that_exists() -> None:
    for benchmark in BENCHMARKS.values():
        assert DATASETS[benchmark.dataset].has_split(benchmark.split)


def test_every_data_set_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    write(tmp_path / "notes" / "readme.txt", "nothing here")
    for name, entry in DATASETS.items():
        for split in entry.splits if entry.stored else ():
            with pytest.raises(FileNotFoundError, match=str(tmp_path)):
                open_dataset(name, split, tmp_path)


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
    assert sequence.visible.tolist() == [True, False, False]


def test_classes_with_and_without_a_folder_of_their_own_mix(tmp_path: Path) -> None:
    for place in ("airplane-1", "bird/bird-17", "airplane/airplane-9"):
        make_lasot_sequence(tmp_path / place)
    assert list(by_name("lasot", "test", tmp_path)) == ["airplane-1", "airplane-9", "bird-17"]


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
    assert len(open_dataset("trackingnet", "train", tmp_path)) == 2
    sequence = first("trackingnet", "train_2", tmp_path)
    assert picture(sequence, 0) == tmp_path / "Train_2" / "frames" / "a_0" / "0.jpg"
    assert len(open_dataset("trackingnet", "test", tmp_path)) == 1


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
    assert sequence.boxes_xywh[:, 0].tolist() == list(range(44)) and len(sequence) == 44
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
    assert list(by_name("tnl2k", "train", tmp_path)) == ["walk"]
    assert picture(sequence, 1) == tmp_path / place / "imgs" / "00002.jpg"
    np.testing.assert_array_equal(sequence.absent, [False, True])
