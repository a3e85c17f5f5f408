"""Whose results a folder holds: the same run goes on, every other one is refused, and nothing is lost."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lib.eval.record import RunRecord, claim_folder, read_record
from lib.eval.results import REPLACED, ResultFiles, forget_replaced, set_aside

BOXES = np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 3.0, 4.0]])
SECONDS = np.array([0.5, 0.25])
VERSIONS = {"numpy": "2.4.1", "torch": "2.15.0+cu132", "opencv": "5.0.0", "timm": "1.0.31"}
RECORD = RunRecord(
    "mmg", "mmg_tiny", "synthetic", "ab" * 32, {"update": "score", "update_interval": 100}, VERSIONS, "ef" * 32,
    {"video": "1f", "other": "2f"},
)  # fmt: skip


def write(folder: Path, name: str = "video", shift: float = 0) -> ResultFiles:
    files = ResultFiles(folder, name)
    files.write(BOXES + shift, SECONDS, 0)
    return files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def changed(**versions: str) -> dict[str, str]:
    return {**VERSIONS, **versions}


def test_a_folder_is_claimed_once_and_again_by_the_same_run(tmp_path):
    folder = tmp_path / "mmg" / "mmg_tiny" / "synthetic"
    assert claim_folder(folder, RECORD, overwrite=False) is None
    assert read_record(folder) == RECORD
    files = write(folder)
    assert claim_folder(folder, RECORD, overwrite=False) is None
    assert files.is_complete(2, BOXES[0]) and names(folder) == ["run.json", "video.txt", "video_time.txt"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"checkpoint_sha256": "cd" * 32}, "checkpoint_sha256 abab"),
        ({"settings": {"update": "none", "update_interval": 100}}, "settings.update score, now none"),
        ({"code": "cd" * 32, "config": "x"}, "config mmg_tiny, now x"),
    ],
)
def test_results_of_another_run_are_refused_or_set_aside(tmp_path, change, named):
    claim_folder(tmp_path, RECORD, overwrite=False)
    files = write(tmp_path)
    other = dataclasses.replace(RECORD, **change)
    with pytest.raises(ValueError) as caught:
        claim_folder(tmp_path, other, overwrite=False)
    for text in ("another run", named, "--overwrite", "--results-dir"):
        assert text in str(caught.value)
    assert files.is_complete(2, BOXES[0]) and read_record(tmp_path) == RECORD
    # All of them go, those of sequences that are not tracked now, too.
    assert claim_folder(tmp_path, other, overwrite=True, sequences=["other"]) is None
    assert names(tmp_path) == [REPLACED, "run.json"] and read_record(tmp_path) == other
    assert ResultFiles(tmp_path / REPLACED, "video").is_complete(2, BOXES[0])
    assert read_record(tmp_path / REPLACED) == RECORD


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"code": "cd" * 32}, "code efefefefefef, now cdcdcdcdcdcd"),
        ({"versions": changed(torch="2.16.0+cpu")}, "release of torch 2.15, now 2.16"),
    ],
)
def test_results_of_changed_code_go_on_by_the_one_flag_that_the_message_names(tmp_path, change, named):
    claim_folder(tmp_path, RECORD, overwrite=False)
    files = write(tmp_path)
    other = dataclasses.replace(RECORD, **change)
    with pytest.raises(ValueError) as caught:
        claim_folder(tmp_path, other, overwrite=False)
    assert named in str(caught.value)
    assert [word for word in str(caught.value).split() if word.startswith("--")] == ["--accept-changes"]
    remark = claim_folder(tmp_path, other, overwrite=False, accept_changes=True)
    assert remark and named in remark and files.is_complete(2, BOXES[0])
    assert read_record(tmp_path) == dataclasses.replace(other, earlier=(named,))
    # From then on it is this run's, and says at each turn that it was not always.
    assert claim_folder(tmp_path, other, overwrite=False) == remark
    with pytest.raises(ValueError, match="another run"):  # but never another's
        claim_folder(tmp_path, dataclasses.replace(other, checkpoint_sha256=None), overwrite=False, accept_changes=True)
    # Tracked anew, all of them are of one kind again.
    claim_folder(tmp_path, RECORD, overwrite=True)
    record = read_record(tmp_path)
    assert record is not None and record.code == RECORD.code and record.earlier == ()


def test_patches_of_packages_are_remarked_on_while_earlier_results_stay(tmp_path):
    newer = dataclasses.replace(RECORD, versions=changed(numpy="2.5.0", torch="2.15.3+cu999"))
    claim_folder(tmp_path, RECORD, overwrite=False)
    write(tmp_path, "video")
    write(tmp_path, "other")
    remark = claim_folder(tmp_path, newer, overwrite=False)
    assert remark is not None and "other versions of numpy, torch" in remark
    assert claim_folder(tmp_path, newer, overwrite=True, sequences=["video"]) == remark
    assert read_record(tmp_path) == RECORD, "what stays was made with the older ones"
    assert claim_folder(tmp_path, newer, overwrite=True, sequences=["video", "other"]) is None
    assert read_record(tmp_path) == newer


def test_videos_are_remembered_from_run_to_run(tmp_path):
    claim_folder(tmp_path, dataclasses.replace(RECORD, videos={"video": "1f"}), overwrite=False)
    write(tmp_path, "video")
    claim_folder(tmp_path, dataclasses.replace(RECORD, videos={"other": "2f"}), overwrite=False)
    with pytest.raises(ValueError, match="other videos called video"):
        claim_folder(tmp_path, dataclasses.replace(RECORD, videos={"video": "3f"}), overwrite=False)


def test_results_of_nobody_are_refused_or_replaced(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=r"no run\.json"):
        claim_folder(tmp_path, RECORD, overwrite=False)
    (tmp_path / "run.json").write_bytes(b"\xff")
    claim_folder(tmp_path, RECORD, overwrite=True)


def test_results_of_a_version_that_hashed_files_go_on_with_a_remark(tmp_path):
    claim_folder(tmp_path, RECORD, overwrite=False)
    write(tmp_path)
    file = tmp_path / "run.json"
    fields = json.loads(file.read_text())
    del fields["code"]
    file.write_text(json.dumps({**fields, "code_sha256": "99" * 32}))
    for _ in range(2):
        remark = claim_folder(tmp_path, RECORD, overwrite=False)
        assert remark is not None and "a version whose code cannot be compared" in remark
    kept = read_record(tmp_path)
    assert kept is not None and kept.code is None, "what stays was not made by this code"
    with pytest.raises(ValueError, match="another run"):
        claim_folder(tmp_path, dataclasses.replace(RECORD, checkpoint_sha256="cd" * 32), overwrite=False)


def test_overwriting_keeps_what_has_no_successor(tmp_path):
    claim_folder(tmp_path, RECORD, overwrite=False)
    for name in ("video", "other", "third"):
        write(tmp_path, name)
    claim_folder(tmp_path, RECORD, overwrite=True, sequences=["video", "other"])
    assert names(tmp_path) == [REPLACED, "run.json", "third.txt", "third_time.txt"]
    write(tmp_path, "video", shift=1)
    # Interrupted here, and begun anew: the result of the first attempt is not lost either.
    assert forget_replaced(tmp_path, ["video"]) == 1
    claim_folder(tmp_path, RECORD, overwrite=True, sequences=["video", "other"])
    assert ResultFiles(tmp_path / REPLACED, "video").is_complete(2, BOXES[0] + 1)
    assert ResultFiles(tmp_path / REPLACED, "other").is_complete(2, BOXES[0])
    assert read_record(tmp_path / REPLACED) == RECORD
    assert forget_replaced(tmp_path, ["video", "other"]) == 0
    assert names(tmp_path) == ["run.json", "third.txt", "third_time.txt"]


def test_two_generations_set_aside_together_have_no_record(tmp_path):
    for number, name in enumerate(("video", "other")):
        claim_folder(tmp_path, dataclasses.replace(RECORD, checkpoint_sha256=str(number)), overwrite=True)
        write(tmp_path, name)
    claim_folder(tmp_path, RECORD, overwrite=True)
    assert names(tmp_path / REPLACED) == ["other.txt", "other_time.txt", "video.txt", "video_time.txt"]


def test_the_boxes_leave_first_and_a_count_of_bad_boxes_leaves_too(tmp_path, monkeypatch):
    ResultFiles(tmp_path, "video").write(BOXES, SECONDS, 7)
    moved: list[str] = []
    replace = Path.replace

    def watch(path: Path, target: Path) -> Path:
        moved.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watch)
    set_aside(tmp_path, None)
    assert moved[0] == "video.txt" and sorted(moved[1:]) == ["video_nonfinite.txt", "video_time.txt"]
    assert ResultFiles(tmp_path / REPLACED, "video").num_non_finite() == 7


@pytest.mark.parametrize(
    "text", ["{", "null", '{"tracker": "mmg"}', json.dumps({**dataclasses.asdict(RECORD), "videos": {"a": 1}})]
)
def test_a_damaged_record_names_a_cure_that_every_command_has(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json: .*; tracking/test\.py --overwrite .*remove this file"):
        claim_folder(tmp_path, RECORD, overwrite=False)
    claim_folder(tmp_path, RECORD, overwrite=True)
    assert read_record(tmp_path) == RECORD


def test_a_run_that_has_left_no_results_does_not_keep_others_out(tmp_path):
    claim_folder(tmp_path, dataclasses.replace(RECORD, batch=64), overwrite=False)
    assert claim_folder(tmp_path, dataclasses.replace(RECORD, batch=16), overwrite=False) is None
    found = read_record(tmp_path)
    assert found is not None and found.batch == 16
