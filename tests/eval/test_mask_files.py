"""Masks of a test: made from its boxes, resumed, never mixed, and scored by hand-computed J."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import command

from lib.eval.mask_files import MaskRecord, SequenceMasks, claim_masks, mask_names
from lib.eval.report.tables import format_masks
from lib.eval.results import ResultFiles
from lib.eval.run.benchmark import RunOptions
from lib.eval.run.masks import run_masks
from lib.eval.score.analysis import Result
from lib.eval.score.mask_scores import mask_iou, score_masks
from lib.tracker import TrackerSpec
from lib.tracker.masks import MaskSpec, box_to_mask

BOXES = {"one": (4, 4, 8, 8), "two": (10, 2, 6, 12)}


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of four frames; the true mask is the lower half of a box that does not move."""
    for name, (left, top, width, height) in BOXES.items():
        for folder in ("img", "mask"):
            (tmp_path / "videos" / name / folder).mkdir(parents=True)
        for frame in range(1, 5):
            picture, mask = np.full((20, 24, 3), 40, np.uint8), np.zeros((20, 24), np.uint8)
            mask[top + height // 2 : top + height, left : left + width] = 255
            cv2.imwrite(str(tmp_path / "videos" / name / "img" / f"{frame}.png"), picture)
            cv2.imwrite(str(tmp_path / "videos" / name / "mask" / f"{frame}.png"), mask)
        rows = f"{left},{top},{width},{height}\n" * 4
        (tmp_path / "videos" / name / "groundtruth.txt").write_text(rows)
    return tmp_path / "videos"


@pytest.fixture
def arguments(videos: Path, tmp_path: Path) -> list[str]:
    return ["static", "folder", "--root", str(videos), "--results-dir", str(tmp_path / "results")]


def results_folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "static" / "default" / "folder"


def test_iou_by_hand():
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[:2] = True
    other[1:3] = True
    assert mask_iou(one, other) == pytest.approx(4 / 12)
    assert mask_iou(~one & one, ~one & one) == 1.0
    assert mask_iou(one, ~one & one) == 0.0


def test_the_command_makes_masks_and_the_analysis_reports_them(arguments, tmp_path, capsys):
    assert command("test")([*arguments, "--masks", "box"]) == 0
    folder = results_folder(tmp_path)
    files = SequenceMasks(folder, "box", "one")
    assert files.is_complete(4) and mask_names(folder) == ["box"]
    assert np.array_equal(files.open()[2], box_to_mask(np.array(BOXES["one"], float), 20, 24))
    capsys.readouterr()
    assert command("analyze")(["folder", "static/default", *arguments[2:], "--no-plots"]) == 0
    printed = capsys.readouterr().out
    # The box covers the true mask twice over: an IoU of one half, which is not above one half.
    assert re.search(r"1 static/default, the box as mask +50\.0 +0\.0\n", printed)


def test_masks_are_made_of_boxes_that_are_there_and_resumed(arguments, tmp_path, capsys):
    assert command("test")(arguments) == 0
    boxes = ResultFiles(results_folder(tmp_path), "one").boxes
    before = boxes.stat().st_mtime_ns
    assert command("test")([*arguments, "--masks", "box"]) == 0
    assert boxes.stat().st_mtime_ns == before
    assert "2 sequences segmented" in capsys.readouterr().out
    first = SequenceMasks(results_folder(tmp_path), "box", "one").folder / "00000001.png"
    (SequenceMasks(results_folder(tmp_path), "box", "two").folder / "00000003.png").unlink()
    before = first.stat().st_mtime_ns
    assert command("test")([*arguments, "--masks", "box"]) == 0
    assert first.stat().st_mtime_ns == before
    assert "1 sequences segmented" in capsys.readouterr().out
    boxes.write_text(boxes.read_text().replace("8.0000,8.0000", "9.0000,9.0000"))
    assert not SequenceMasks(results_folder(tmp_path), "box", "one").is_complete(4), "they are of other boxes"


def test_masks_of_other_weights_are_not_mixed_in(tmp_path):
    record = MaskRecord("alpha_refine", "abc", None, "code")
    claim_masks(tmp_path, "refine", record, overwrite=False)
    (tmp_path / "masks" / "refine" / "one").mkdir()
    claim_masks(tmp_path, "refine", record, overwrite=False)
    other = MaskRecord("alpha_refine", "def", None, "code")
    with pytest.raises(ValueError, match="--overwrite"):
        claim_masks(tmp_path, "refine", other, overwrite=False)
    for text in ("[" * 100_000, "[]", "\xff", json.dumps(list(vars(record).items()))):
        (tmp_path / "masks" / "refine" / "masks.json").write_text(text, encoding="latin-1")
        with pytest.raises(ValueError, match=r"masks\.json is damaged.*--overwrite"):
            claim_masks(tmp_path, "refine", record, overwrite=False)
    claim_masks(tmp_path, "refine", other, overwrite=True)
    assert not (tmp_path / "masks" / "refine" / "one").exists()


def test_masks_of_a_version_that_hashed_files_stay_with_a_remark(tmp_path):
    record = MaskRecord("alpha_refine", "abc", None, "code")
    (tmp_path / "masks" / "refine" / "one").mkdir(parents=True)
    earlier = {"backend": "alpha_refine", "checkpoint_sha256": "abc", "threshold": None, "code_sha256": "99"}
    (tmp_path / "masks" / "refine" / "masks.json").write_text(json.dumps(earlier))
    remark = claim_masks(tmp_path, "refine", record, overwrite=False)
    assert remark is not None and "a version whose code cannot be compared" in remark
    with pytest.raises(ValueError, match="--overwrite"):
        claim_masks(tmp_path, "refine", MaskRecord("alpha_refine", "def", None, "code"), overwrite=False)


def test_a_sequence_that_fails_is_reported_and_the_others_are_finished(arguments, videos, tmp_path, capsys):
    assert command("test")(arguments) == 0
    ResultFiles(results_folder(tmp_path), "one").boxes.unlink()
    spec = TrackerSpec("static", benchmark="folder")
    assert run_masks(spec, MaskSpec("box"), RunOptions(videos, results_dir=tmp_path / "results")) == 1
    assert "FAILED one" in capsys.readouterr().err
    assert SequenceMasks(results_folder(tmp_path), "box", "two").is_complete(4)
    assert not SequenceMasks(results_folder(tmp_path), "box", "one").folder.exists()


def test_scores_leave_out_sequences_without_masks_and_the_first_frame(arguments, videos, tmp_path):
    from lib.data.datasets.folder import FolderDataset

    assert command("test")([*arguments, "--masks", "box"]) == 0
    folder, dataset = results_folder(tmp_path), FolderDataset(videos)
    # A better kind of mask: the truth itself, but empty on the last frame.
    for sequence in dataset:
        assert sequence.masks is not None
        truth = [sequence.masks[frame] for frame in range(4)]
        SequenceMasks(folder, "better", sequence.name).write([~truth[0], *truth[1:3], truth[3] & ~truth[3]])
    box, better = score_masks(dataset, [Result("static", folder)])
    assert (box.masks, better.masks) == ("box", "better")
    assert better.mean_iou == {"one": pytest.approx(2 / 3), "two": pytest.approx(2 / 3)}
    assert better.recall["one"] == pytest.approx(2 / 3)
    text = format_masks([box, better])
    assert re.search(r"2 static, better +66\.7 +66\.7\n", text) and re.search(r"\none +50\.0 +66\.7\n", text)
    SequenceMasks(folder, "better", "two").remove()
    assert list(score_masks(dataset, [Result("static", folder)])[0].mean_iou) == ["one"]
    assert score_masks(dataset, [Result("none", tmp_path)]) == ()


def test_options_that_make_no_sense_stop_before_the_tracking(arguments, tmp_path):
    for options, message in (
        (["--masks", "alpha_refine"], "--refine-checkpoint"),
        (["--masks", "alpha_refine", "--refine-checkpoint", str(tmp_path / "absent.pth")], "absent"),
        (["--mask-threshold", "0.5"], "give --masks"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            command("test")([*arguments, *options])
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_several_workers_make_the_same_masks(arguments, tmp_path):
    assert command("test")([*arguments, "--masks", "box", "--workers", "2"]) == 0
    assert all(SequenceMasks(results_folder(tmp_path), "box", name).is_complete(4) for name in BOXES)
    alone = SequenceMasks(results_folder(tmp_path), "box", "two").open()[3]
    assert np.array_equal(alone, box_to_mask(np.array(BOXES["two"], float), 20, 24))


def test_the_strip_shows_the_mask_where_it_is(arguments, videos, tmp_path, capsys):
    from lib.data.datasets.folder import FolderDataset
    from lib.draw import PALETTE
    from lib.eval.report.film import draw_mask_strip, open_film

    assert command("test")([*arguments, "--masks", "box"]) == 0
    result = Result("static", results_folder(tmp_path))
    film = open_film(FolderDataset(videos), "one", [result])
    colour = np.array(PALETTE[1])
    strips = [draw_mask_strip(film, result, "box", [2])]
    SequenceMasks(result.folder, "box", "one").write([np.zeros((20, 24), bool)] * 4)
    strips.append(draw_mask_strip(film, result, None, [2]))
    shaded = [int((np.abs(strip.astype(int) - colour).sum(axis=2) < 30).sum()) for strip in strips]
    assert shaded[0] > 2 * shaded[1]  # in the second, the legend alone has the colour
    with pytest.raises(ValueError, match="there are box"):
        draw_mask_strip(film, result, "boxes", [2])
    out = tmp_path / "strip.png"
    options = ["--root", str(videos), "--results-dir", str(tmp_path / "results"), "--out", str(out)]
    assert command("visualize")(["masks", "folder", "one", "static/default", *options]) == 0
    assert out.is_file() and str(out) in capsys.readouterr().out
