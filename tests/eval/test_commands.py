"""tracking/test.py and tracking/analyze.py from the command line to the numbers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMANDS, command, write_own_video

from lib.eval.record import read_record
from lib.eval.results import read_boxes

# Two true boxes per video; the third frame of `left` has none, the target of `right` moves half its width.
BOXES = {
    "left": ["4,4,16,8", "4,4,16,8", "nan,nan,nan,nan", "4,4,16,8"],
    "right": ["10,10,16,8", "18,10,16,8", "18,10,16,8"],
}


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write two videos in the own-data layout and stand in an empty folder."""
    root = tmp_path / "videos"
    for name, rows in BOXES.items():
        pictures = (np.full((32, 48, 3), 60 * index, np.uint8) for index in range(len(rows)))
        write_own_video(root / name, pictures, "\n".join(rows) + "\n")
    (root / "left" / "absent.txt").write_text("0\n0\n1\n0\n")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return root


def test_from_videos_to_numbers(videos, capsys):
    assert command("test")(["Static", "Folder", "--root", str(videos)]) == 0, "the case of names does not matter"
    folder = Path("results/static/default/folder")
    np.testing.assert_array_equal(read_boxes(folder / "right.txt"), [[10, 10, 16, 8]] * 3)
    assert len((folder / "right_time.txt").read_text().splitlines()) == 3
    record = read_record(folder)
    assert record is not None and (record.tracker, record.benchmark) == ("static", "folder")

    capsys.readouterr()
    arguments = ["folder", "--root", str(videos), "static/default", "--json", "scores.json", "--out", "plots"]
    assert command("analyze")(arguments) == 0
    document = json.loads(Path("scores.json").read_text())
    scores = document["results"]["static/default"]
    assert (document["benchmark"], document["protocol"]) == ("folder", "stark")
    # left: three of four frames perfect. right: IoU 1, 1/3, 1/3, the latter above 7 of 21 thresholds.
    auc = {"left": 3 * 20 / 21 / 4, "right": (20 + 7 + 7) / 21 / 3}
    for name, expected in auc.items():
        assert scores["sequences"][name]["auc"] == pytest.approx(expected, abs=1e-12)
    assert scores["auc"] == pytest.approx(sum(auc.values()) / 2, abs=1e-12)
    assert scores["precision"] == pytest.approx((3 / 4 + 1) / 2)
    assert scores["norm_precision"] == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert scores["ao"] == pytest.approx((2 * 1 + 2 / 3) / 4)
    assert scores["sr50"] == scores["sr75"] == pytest.approx(2 / 4)
    assert scores["fps"] > 0
    plots = ("norm_precision", "precision", "speed", "success")
    assert {path.name for path in Path("plots").iterdir()} == {f"{n}.{kind}" for n in plots for kind in ("png", "pdf")}
    for path in Path("plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")
    assert "static/default" in capsys.readouterr().out


def write_results(folder: Path, offset: float) -> str:
    """Write results that are `offset` pixels off to the right after the first frame; return the folder."""
    folder.mkdir(parents=True)
    for name, rows in BOXES.items():
        boxes = [f"{offset + 4},4,16,8" if index else rows[0] for index in range(len(rows))]
        (folder / f"{name}.txt").write_text("\n".join(boxes) + "\n")
    return str(folder)


def test_every_output_at_once(videos, capsys):
    near, far = write_results(Path("deep/near"), 0), write_results(Path("deep/far"), 8)
    Path("rows.yaml").write_text(
        "source: a colleague\ntables:\n  - {benchmark: folder, unit: percent, columns: [auc], rows: {theirs: [12.5]}}\n"
    )
    arguments = ["folder", near, far, "--root", str(videos), "--compare", near, "far", "--rows", "rows.yaml"]
    arguments += ["--csv", "s.csv", "--latex", "s.tex", "--trackingnet-formulas", "--out", "plots"]
    (videos / "left" / "groundtruth.txt").write_text("4,4,16,8\n" * 4)
    assert command("analyze")(arguments) == 0
    out = capsys.readouterr().out
    assert "near against far: AUC +" in out and "published, not measured here: a colleague" in out
    # left: four frames right, the last three half a width off in `far`: areas over thresholds up to 1/3 and to the end.
    server = [line.split() for line in out.split("TrackingNet's server")[1].splitlines()[2:4]]
    assert server[0][0] == "near" and float(server[0][1]) > float(server[1][1])
    assert Path("s.csv").read_text().count("\nfolder,stark,near,sequence,") == 2
    assert r"\toprule" in Path("s.tex").read_text()
    assert (Path("plots") / "comparison.pdf").read_bytes().startswith(b"%PDF")


def test_published_numbers_alone(capsys):
    assert command("analyze")(["vot2020", "--published"]) == 0
    assert "published, not measured here" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no numbers on 'otb100'"):
        command("analyze")(["otb100", "--published"])


def test_without_results_all_there_are_that_can_be_scored_together(videos, capsys):
    where = ["FOLDER", "--root", str(videos), "--no-plots"]
    with pytest.raises(FileNotFoundError, match=r"no complete results on folder in results; run tracking/test\.py"):
        command("analyze")(where)
    for name in ("a/one", "a/two", "b/one", "b/other"):
        write_results(Path("results") / name / "folder", len(name))
    Path("results/b/one/folder/left.txt").unlink()
    Path("results/b/other/folder/left.txt").rename("results/b/other/folder/up.txt")
    Path("results/b/other/folder/right.txt").unlink()
    assert command("analyze")(where) == 0
    shown = capsys.readouterr()
    assert "scored 2 sequences of 2 results" in shown.out and "a/one" in shown.out and "a/two" in shown.out
    assert "note: b/one lacks 1 sequences: left; left out, unless --allow-missing" in shown.err
    assert "note: b/other lacks 2 sequences" in shown.err
    assert command("analyze")([*where, "--allow-missing"]) == 0
    assert "scored 1 sequences of 3 results" in capsys.readouterr().out
    assert command("analyze")([*where, "A/One"]) == 0
    assert "scored 2 sequences of 1 results" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "line", "lesson"),
    [
        ("test", "mmg mmg_vitb lasot", "python tracking/test.py mmg lasot --config mmg_vitb"),
        ("test", "mmg mmg_vitb --dataset_name lasot", "the benchmark is the second word"),
        ("test", "mmg lasot --threads 4 --num_gpus 2", "--workers N"),
        ("test", "mmg lasot --set track.update=none", "--config table6_none"),
        ("test", "mmg lasot --script mmg --batch_size 4", "--batch N"),
        ("test", "ostrack vitb_256_mae_32x4_ep300 lasot", "--config ostrack_256_ce --checkpoint FILE"),
        ("test", "mmg vitb_256 lasot", "'vitb_256' has no place here"),
        ("test", "mmg lasot got10k_val", "'got10k_val' has no place here"),
        ("train", "--config mmg_tiny train.lr=1e-4", "python tracking/train.py --set train.lr=1e-4"),
        ("demo", "mmg mmg_small video.mp4 --box 1,2,30,40", "'mmg_small' has no place here"),
        ("train", "mmg mmg_vitb", "python tracking/train.py --config mmg_vitb"),
        ("demo", "video.mp4 --optional_box 1 2 30 40", "--box X,Y,WIDTH,HEIGHT"),
        ("analyze", "mmg mmg_vitb lasot", "python tracking/analyze.py lasot mmg/mmg_vitb"),
        ("analyze", "--tracker_param mmg_vitb --dataset_name lasot", "analyze.py lasot mmg/mmg_vitb"),
        ("analyze", "lasot --published --csv a.csv", "--csv is about results: name at least one"),
        ("analyze", "lasot --ablations --report r", "--report is about results"),
    ],
)
def test_words_that_mean_nothing_here_are_answered_by_what_does(name, line, lesson):
    with pytest.raises(ValueError) as caught:
        command(name)(line.split())
    assert lesson in str(caught.value)


def test_the_version_is_told_beside_other_words(capsys):
    for words in (["--version"], ["mmg", "lasot", "--version"]):
        with pytest.raises(SystemExit) as ended:
            command("test")(words)
        assert ended.value.code == 0 and capsys.readouterr().out.startswith("mmg-tracker ")


def test_ablations_that_were_never_run_show_the_papers_tables(videos, capsys, monkeypatch):
    monkeypatch.delenv("MMG_LASOT", raising=False)
    for arguments in (["lasot"], ["folder", "--root", str(videos)], ["got10k_test"], ["synthetic"]):
        assert command("analyze")([*arguments, "--ablations", "--csv", "ablations.csv"]) == 0
        out = capsys.readouterr().out
        assert out.count("not run here") == 13 and "published, not measured here" in out
        assert f"train.py --config {'tiny_' if arguments == ['synthetic'] else ''}table4_none" in out
    assert not Path("analysis").exists()
    assert Path("ablations.csv").read_text().count("\n") == 14


def test_ablations_on_a_data_set_that_is_not_at_hand(videos, capsys, monkeypatch):
    monkeypatch.delenv("MMG_LASOT", raising=False)
    write_results(Path("results/mmg/table4_none.seed1/lasot"), 0)
    Path("paths.yaml").write_text("coco: /data/coco\n")
    assert command("analyze")(["lasot", "--ablations", "--paths", "paths.yaml"]) == 1
    out = capsys.readouterr().out
    assert "1 results on LaSOT cannot be scored: where is lasot?" in out and "not scored" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "plots"], "--csv plots is a folder, but a file is wanted"),
        (["--json", "file/scores.json"], "file is a file, so nothing can be written below it"),
        (["--report", "file"], "--report file is a file, but a folder is wanted"),
        (["--report", "/proc/report"], "--report /proc/report: cannot write into /"),
        (["--latex", "x.out", "--csv", "./x.out"], "--csv and --latex are both x.out"),
        (["--compare", "near", "fat"], r"no result 'fat' \(did you mean 'far'\?\) to compare"),
        (["--compare", "near", "near"], "near and near are the same result"),
        (["--pictures", "3"], "--pictures is about the report"),
        (["--no-plots", "--out", "x"], "--no-plots draws none"),
        (["--ablations"], "--ablations finds the results"),
        (["--rows", "rows.yaml"], "rows.yaml"),
    ],
)
def test_mistakes_are_found_before_anything_is_scored(videos, options, message):
    near, far = write_results(Path("near"), 0), write_results(Path("far"), 8)
    Path("far/left.txt").write_text("this would be found by reading it\n")
    Path("file").write_text("mine")
    Path("plots").mkdir()
    before = sorted(Path().rglob("*"))
    with pytest.raises((ValueError, OSError), match=message):
        command("analyze")(["folder", near, far, "--root", str(videos), *options])
    assert sorted(Path().rglob("*")) == before and Path("file").read_text() == "mine"


def test_a_user_sees_file_row_and_text_but_no_traceback(videos):
    folder = write_results(Path("near"), 0)
    (Path(folder) / "right.txt").write_text("4,4,16,8\r\n4,4,wide,8\r\n4,4,16,8\r\n")
    done = subprocess.run(
        [sys.executable, str(COMMANDS / "analyze.py"), "folder", folder, "--root", str(videos), "--no-plots"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == "error: near/right.txt, row 2: expected 4 numbers x,y,w,h, found '4,4,wide,8'\n"


def test_an_annotation_that_cannot_be_read_fails_its_video_alone_by_one_line(videos, capsys):
    (videos / "right" / "groundtruth.txt").write_text("x y w h\n4,4,16,8\n")
    assert command("test")(["static", "folder", "--root", str(videos)]) == 1
    said = capsys.readouterr().err
    assert "right/groundtruth.txt, row 1: expected 4 numbers x,y,w,h, found 'x y w h'" in said
    assert "Traceback" not in said and Path("results/static/default/folder/left.txt").exists()


def test_tables_do_not_wait_for_a_deep_learning_package():
    load = f"import runpy, sys; runpy.run_path({str(COMMANDS / 'analyze.py')!r})"
    code = f"{load}; print({{'torch', 'timm', 'matplotlib'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_chosen_sequences_then_the_rest(videos, capsys):
    run, analyze = command("test"), command("analyze")
    assert run(["static", "folder", "--root", str(videos), "--sequences", "right"]) == 0
    with pytest.raises(ValueError, match="lacks 1 sequences: left"):
        analyze(["folder", "static/default", "--root", str(videos), "--no-plots"])
    analyze(["folder", "static/default", "--root", str(videos), "--no-plots", "--allow-missing", "--json", "s.json"])
    assert json.loads(Path("s.json").read_text())["missing"] == {"static/default": ["left"]}
    assert "INCOMPLETE" in capsys.readouterr().out
    assert run(["static", "folder", "--root", str(videos)]) == 0
    assert "1 sequences had complete results" in capsys.readouterr().out
    assert analyze(["folder", "static/default", "--root", str(videos), "--no-plots"]) == 0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("test", ["statik", "folder"], r"unknown tracker 'statik' \(did you mean 'static'\?\)"),
        ("test", ["static", "folder", "--sequences", "lef"], r"no sequence 'lef' \(did you mean 'left'\?\)"),
        ("test", ["static", "folder", "--workers", "0"], "0 workers"),
        ("analyze", ["folda", "static/default"], r"unknown benchmark 'folda' \(did you mean 'folder'\?\)"),
        ("analyze", ["folder", "static/default"], "no results 'static/default'"),
    ],
)
def test_mistakes_are_named(videos, name, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        command(name)([*arguments, "--root", str(videos)])
    assert not Path("results").exists(), "a mistake leaves nothing behind"


def test_a_results_folder_that_cannot_be_made_is_named_with_its_option(videos):
    Path("file").write_text("")
    with pytest.raises(ValueError, match=r"--results-dir file/x: .*is a file, so nothing can be written below it"):
        command("test")(["static", "folder", "--root", str(videos), "--results-dir", "file/x"])
