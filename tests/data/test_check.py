"""What `prepare.py check` says of whole, partial and damaged data."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import command

from lib.config import paths
from lib.config.schema import Experiment
from lib.data import datasets
from lib.data.check import Selection, SplitReport, check, describe, parse_selection
from lib.data.crop_cache.cache import Reach
from lib.data.crop_cache.cut import cut_crops
from lib.data.datasets import open_dataset
from lib.data.datasets.annotation import has_area
from lib.data.datasets.folder import FolderDataset
from lib.data.images.frames import ArrayFrames
from lib.data.inspection import find_problems
from lib.data.sequence import Sequence


def make_sequence(folder: Path, num_frames: int = 5, boxes: str = "1,2,3,4\n") -> None:
    (folder / "img").mkdir(parents=True)
    for number in range(num_frames):
        cv2.imwrite(str(folder / "img" / f"{number:08d}.png"), np.zeros((20, 30, 3), np.uint8))
    (folder / "groundtruth.txt").write_text(boxes * num_frames)


def check_folder(root: Path, full: bool = False, workers: int = 1) -> SplitReport:
    (report,) = check([Selection("folder", root=root)], full=full, workers=workers)
    return report


def sequence_of(boxes: list[list[float]]) -> Sequence:
    boxes_xywh = np.array(boxes, dtype=np.float64)
    visible = has_area(boxes_xywh)
    frames = ArrayFrames(np.zeros((len(boxes), 20, 30, 3), np.uint8))
    return Sequence("walk", frames, boxes_xywh, visible, ~visible)


def test_whole_data_are_ok_and_counted(tmp_path: Path) -> None:
    for name in ("walk", "run"):
        make_sequence(tmp_path / name)
    report = check_folder(tmp_path)
    assert not report.broken
    assert (report.num_sequences, report.num_frames, report.num_read) == (2, 10, 6)  # first, middle and last
    assert check_folder(tmp_path, full=True).num_read == 10
    assert "2 sequences, 10 frames, 6 of them read" in describe(report)


@pytest.mark.parametrize("workers", [1, 2])
def test_only_full_finds_every_damaged_frame(tmp_path: Path, workers: int) -> None:
    make_sequence(tmp_path / "walk")
    make_sequence(tmp_path / "run")
    (tmp_path / "walk" / "img" / "00000001.png").write_bytes(b"not an image")
    assert not check_folder(tmp_path, workers=workers).broken
    report = check_folder(tmp_path, full=True, workers=workers)
    assert report.broken and report.num_read == 9
    (problem,) = report.problems
    assert problem.startswith("walk: 1 unreadable frames: ") and "00000001.png" in problem


def test_folders_that_are_no_sequences_are_noted(tmp_path: Path) -> None:
    make_sequence(tmp_path / "walk")
    make_sequence(tmp_path / "run")
    (tmp_path / "run" / "groundtruth.txt").rename(tmp_path / "run" / "boxes.txt")
    report = check_folder(tmp_path)
    assert not report.broken
    assert f"note: 1 folder without groundtruth.txt in {tmp_path} left out: run" in describe(report)


def test_a_damaged_annotation_is_named_and_the_rest_still_checked(tmp_path: Path) -> None:
    make_sequence(tmp_path / "a", boxes="1,2,x,4\n")
    make_sequence(tmp_path / "b")
    report = check_folder(tmp_path)
    assert report.broken and "row 1" in report.problems[0] and report.num_frames == 5


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[np.nan] * 4, [1, 2, 3, 4]], r"cannot be tested, .* row 1 must be a box .*, not \(nan, nan, nan, nan\)"),
        ([[1, 2, 0, 4], [1, 2, 3, 4]], r"cannot be tested, .* row 1 must be a box .*, not \(1, 2, 0, 4\)"),
        ([[1, 2, 3, 4], [1, np.nan, 3, 4]], r"box 2 \(1, nan, 3, 4\) has some numbers and some nan; 1 such rows"),
        ([[1, 2, 3, 4], [1, 2, 3, -4], [1, 2, -3, 4]], r"box 2 .* has a negative size; 2 such rows"),
        ([[1, 2, 3, 4], [np.inf, 2, 3, 4]], "box 2 .* is infinite"),
        ([[30, 2, 3, 4]], "box 1 lies outside its frame of 30 x 20 pixels"),
        ([[1, -4, 3, 4]], "box 1 lies outside its frame"),
    ],
)
def test_boxes_that_cannot_be_true(boxes: list[list[float]], message: str) -> None:
    problems, oddities, num_read = find_problems(sequence_of(boxes), range(len(boxes)))
    assert num_read == len(boxes)
    (found,) = problems + oddities
    assert re.search(message, found), found


def test_boxes_that_are_strange_but_allowed() -> None:
    boxes = [[-2, 2, 3, 4], [29.5, 19.5, 100, 100], [np.nan] * 4, [0, 0, 0, 0]]
    assert find_problems(sequence_of(boxes), range(4)) == ([], [], 4)
    problems, oddities, _ = find_problems(sequence_of(boxes[2:]), ())
    assert (problems, oddities) == ([], ["the target is never visible"])


def test_missing_frames_are_counted_without_reading_them(tmp_path: Path) -> None:
    make_lasot_sequence(tmp_path / "airplane-1", num_frames=9)
    for number in (2, 4):
        (tmp_path / "airplane-1" / "img" / f"{number:08d}.jpg").unlink()
    (report,) = check([Selection("lasot", "test", tmp_path)])
    assert report.num_read == 3  # 1, 5 and 9
    assert any(re.match("airplane-1: 2 of 9 frames are missing.*00000002.jpg$", line) for line in report.problems)


def make_lasot_sequence(folder: Path, num_frames: int = 2) -> None:
    make_sequence(folder, num_frames)
    for number in range(num_frames):
        (folder / "img" / f"{number:08d}.png").rename(folder / "img" / f"{number + 1:08d}.jpg")
    for flags in ("full_occlusion", "out_of_view"):
        (folder / f"{flags}.txt").write_text(",".join("0" * num_frames))


def test_an_incomplete_benchmark_is_broken_and_a_split_that_is_not_there_is_not(tmp_path: Path) -> None:
    make_lasot_sequence(tmp_path / "airplane" / "airplane-1")
    train, test = check([Selection("lasot", root=tmp_path)])
    assert (train.split, train.broken) == ("train", False)
    assert "no sequence of LaSOT train" in train.absent
    assert (test.split, test.broken, test.num_sequences) == ("test", True, 1)
    assert "279 of 280 sequences are missing" in test.problems[0]
    assert "1 of 280 sequences" in describe(test)
    (asked,) = check([Selection("lasot", "train", tmp_path)])
    assert asked.broken and describe(asked).split()[1] == "MISSING"


def test_names_that_two_sequences_share_are_a_problem(tmp_path: Path) -> None:
    for part in ("TNL2K_train_subset_p1", "TNL2K_train_subset_p2"):
        make_sequence(tmp_path / part / "walk")
        (tmp_path / part / "walk" / "img").rename(tmp_path / part / "walk" / "imgs")
    (report,) = check([Selection("tnl2k", "train", tmp_path)])
    assert "1 names belong to several sequences, such as walk" in report.problems
    assert "2 sequences where 1,300 are published" in report.problems


def test_nothing_asked_for_reports_what_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sequence(tmp_path / "walk")
    monkeypatch.setattr(paths, "PATHS_FILE", tmp_path / "none.yaml")
    monkeypatch.setenv("MMG_FOLDER", str(tmp_path))
    monkeypatch.setenv("MMG_UAV123", str(tmp_path / "nowhere"))
    reports = {report.dataset: report for report in check([])}
    assert not reports["folder"].broken and not reports["folder"].absent
    assert reports["uav123"].broken  # stated, but not there
    assert not reports["nfs"].broken and "MMG_NFS" in reports["nfs"].absent  # not stated, not asked for
    (asked,) = check([Selection("nfs")])
    assert asked.broken


def make_trackingnet_shard(folder: Path, videos: tuple[str, ...]) -> None:
    (folder / "anno").mkdir(parents=True)
    for video in videos:
        (folder / "frames" / video).mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(str(folder / "frames" / video / f"{number}.jpg"), np.zeros((20, 30, 3), np.uint8))
        (folder / "anno" / f"{video}.txt").write_text("1,2,3,4\n" * 3)


def test_some_shards_of_trackingnet_are_complete_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "VIDEOS_PER_SHARD", 2)
    root = tmp_path / "data"
    make_trackingnet_shard(root / "TRAIN_0", ("a", "b"))
    make_trackingnet_shard(root / "TRAIN_7", ("c", "d"))
    train, test = check([Selection("trackingnet", root=root)])
    assert not train.broken, describe(train)
    assert (train.num_sequences, train.num_frames) == (4, 12)
    assert "4 sequences, 12 frames (no published total)" in describe(train)
    assert "note: 2 of 12 shards: TRAIN_0, TRAIN_7" in describe(train)
    assert not test.broken and "no TEST" in test.absent
    (several,) = check([Selection("trackingnet", "train_0-3", root)])
    assert several.broken and "no TRAIN_1, TRAIN_2, TRAIN_3 in" in several.absent
    (one,) = check([Selection("trackingnet", "train_7", root)])
    assert not one.broken
    (root / "TRAIN_7" / "anno" / "d.txt").unlink()
    (one,) = check([Selection("trackingnet", "train_7", root)])
    assert one.problems == ("1 sequences where 2 are published",)


def test_an_index_that_cannot_be_kept_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "VIDEOS_PER_SHARD", 1)
    make_trackingnet_shard(tmp_path / "data" / "TRAIN_3", ("a",))
    for folder in (path for path in (tmp_path / "data").rglob("*") if path.is_dir()):
        os.utime(folder, ns=(0, 10**18))
    (report,) = check([Selection("trackingnet", "train_3", tmp_path / "data")])
    assert not report.broken
    assert "cannot keep the index" in report.remarks[0] and "MMG_CACHE" in report.remarks[0]


def test_published_oddities_are_no_fault_and_own_ones_are(tmp_path: Path) -> None:
    # LaSOT's lion-5 and tiger-6 are published with negative sizes, in frames that count as annotated.
    make_lasot_sequence(tmp_path / "lasot" / "lion-5", num_frames=3)
    (tmp_path / "lasot" / "lion-5" / "groundtruth.txt").write_text("1,2,3,4\n1,1,-1,-1\n99,99,5,5\n")
    (lasot,) = check([Selection("lasot", "test", tmp_path / "lasot")])
    assert len(lasot.remarks) == 2
    assert "lion-5: box 2 (1, 1, -1, -1) has a negative size; 1 such rows" in lasot.remarks
    assert "note: lion-5: box 3 lies outside its frame" in describe(lasot)
    assert not any("lion-5:" in problem for problem in lasot.problems)
    make_sequence(tmp_path / "own" / "walk", boxes="99,99,5,5\n")
    own = check_folder(tmp_path / "own")
    assert own.broken and "lies outside its frame" in own.problems[0]
    assert "no published total" not in describe(own)


def make_photographs(root: Path, count: int) -> None:
    root.mkdir()
    for number in range(count):
        cv2.imwrite(str(root / f"{number:04d}.jpg"), np.full((220, 300, 3), number % 250, np.uint8))


def test_all_photographs_are_read_when_asked_for(tmp_path: Path) -> None:
    make_photographs(tmp_path / "stills", 230)
    (report,) = check([Selection("stills", root=tmp_path / "stills")])
    assert (report.num_frames, report.num_read, report.broken) == (230, 200, False)
    (tmp_path / "stills" / "0117.jpg").write_bytes(b"not a photograph")
    (report,) = check([Selection("stills", root=tmp_path / "stills")], full=True, workers=2)
    assert (report.num_frames, report.num_read, report.broken) == (230, 229, True)
    assert len(report.problems) == 1 and "0117.jpg" in report.problems[0]
    assert "230 photographs, 229 of them read" in describe(report)
    (few,) = check([Selection("stills", root=tmp_path / "nowhere")])
    assert few.broken
    make_photographs(tmp_path / "few", 3)
    (few,) = check([Selection("stills", root=tmp_path / "few")])
    assert few.broken and "at least 10 are needed" in few.absent


def test_annotated_photographs_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_CACHE", str(tmp_path / "cache"))
    make_photographs(tmp_path / "val2017", 3)
    outline = [1, 2, 4, 2, 4, 6, 1, 6]
    objects = [
        {"id": key, "image_id": key % 2, "bbox": [1, 2, 3, 4], "iscrowd": 0, "segmentation": [outline]}
        for key in range(1, 5)
    ]
    images = [{"id": key, "file_name": f"{key:04d}.jpg", "height": 220, "width": 300} for key in range(4)]
    annotation = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(annotation))
    (report,) = check([Selection("coco", "val", tmp_path)])
    assert report.problems == (
        "1 of 4 photographs are missing, such as 0003.jpg",
        "4 objects where 36,335 are published",
    )
    assert "4 of 36,335 objects in 4 of 5,000 photographs, 4 of them read" in describe(report)


def test_a_crop_cache_is_checked_by_what_it_holds(tmp_path: Path, small_experiment: Callable[..., Experiment]) -> None:
    make_sequence(tmp_path / "own" / "walk", num_frames=6, boxes="8,6,10,8\n")
    experiment = small_experiment()
    reach = Reach.of(experiment.data, experiment.crop)
    cut_crops(FolderDataset(tmp_path / "own"), "train", tmp_path / "crops", reach, "folder")
    (report,) = check([Selection("folder", root=tmp_path / "crops")])
    assert not report.broken, describe(report)
    assert (report.num_sequences, report.num_frames, report.num_read) == (1, 6, 3)
    (report,) = check([Selection("folder", "train", tmp_path / "crops")], full=True)
    assert (report.num_read, report.broken) == (6, False)
    (absent,) = check([Selection("folder", "test", tmp_path / "crops")])
    assert absent.broken and "holds the crops of train, not of 'test'" in absent.absent
    with pytest.raises(FileNotFoundError, match="holds the crops of train"):
        open_dataset("folder", "test", tmp_path / "crops")


def test_long_lists_of_problems_are_cut() -> None:
    report = SplitReport("lasot", "test", Path("/x"), broken=True, problems=tuple(f"problem {i}" for i in range(30)))
    lines = describe(report, max_problems=5).splitlines()
    assert len(lines) == 7 and lines[-1].strip() == "and 25 more"


def test_selections_are_checked_by_name() -> None:
    assert parse_selection("got10k:val") == Selection("got10k", "val")
    assert parse_selection("trackingnet:train_0-3").split == "train_0-3"
    with pytest.raises(ValueError, match=r"unknown data set 'lasott' \(did you mean 'lasot'\?\)"):
        parse_selection("lasott")
    with pytest.raises(ValueError, match=r"no split 'vall' \(did you mean 'val'\?\)"):
        parse_selection("got10k:vall")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sequence(tmp_path / "walk")
    main = command("prepare")
    arguments = ["check", "folder", "--root", str(tmp_path), "--workers", "1"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("folder:train")
    (tmp_path / "walk" / "img" / "00000000.png").write_bytes(b"")
    assert main(arguments) == 1
    assert "BROKEN" in capsys.readouterr().out
    assert main(["check", "nfs", "--root", str(tmp_path)]) == 1
    assert main(["check", "synthetic", "--root", str(tmp_path)]) == 1
    assert "drawn, nothing of it is stored" in capsys.readouterr().out
    with pytest.raises(ValueError, match="one data set"):
        main(["check", "--root", str(tmp_path)])
    for words in (["check"], ["crops", "--out", str(tmp_path / "out")]):
        with pytest.raises(SystemExit):
            main([*words, "folder", "--root", str(tmp_path), "--workers", "0"])
        assert "--workers: must be at least 1, got 0" in capsys.readouterr().err
