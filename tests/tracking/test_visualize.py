"""The visualize command: film strips from result files, reconstructions from a checkpoint."""

from pathlib import Path

import numpy as np
import pytest
from conftest import command, save_random_weights, write_own_video

from lib.data.images.frames import read_image
from lib.data.images.video import VideoFile
from lib.draw import PALETTE, TRUTH
from lib.eval.record import RunRecord, claim_folder


def visualize(*arguments: str) -> int:
    return command("visualize")(arguments)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Return own data: one sequence of four grey pictures of 360 x 270, the target absent from the last."""
    sequence = tmp_path / "videos" / "walk"
    grey = np.full((4, 270, 360, 3), 90, np.uint8)
    write_own_video(sequence, grey, "100,100,60,50\n" * 3 + "nan,nan,nan,nan\n")
    (sequence / "absent.txt").write_text("0\n0\n0\n1\n")
    return sequence.parent


def write_result(folder: Path, rows: int = 4) -> str:
    folder.mkdir(parents=True)
    (folder / "walk.txt").write_text("200,120,60,50\n" * rows)
    return str(folder)


def test_a_film_strip_shows_truth_and_prediction(videos, tmp_path):
    result, out = write_result(tmp_path / "mine"), tmp_path / "strip.png"
    where = ["--root", str(videos), "--out", str(out)]
    code = visualize("track", "folder", "walk", result, "--frames", "2", *where)
    assert code == 0
    strip = read_image(out)
    # Two tiles of 360 x 270 below a legend of 34: the first and the last frame, whose target is absent.
    first, last = strip[34:304, 6:366], strip[34:304, 372:732]
    for tile, truth in ((first, TRUTH), (last, (90, 90, 90))):
        assert tuple(tile[145, 200]) == PALETTE[0]
        assert tuple(tile[125, 100]) == truth


def test_a_comparison_is_a_strip_of_chosen_frames_and_a_video_of_all(videos, tmp_path):
    results = [write_result(tmp_path / name) for name in ("mine", "other")]
    (tmp_path / "other" / "walk.txt").write_text("100,100,60,50\n" * 3 + "300,200,30,30\n")
    where = ["--root", str(videos), "--out", str(tmp_path / "drawn" / "v1.0")]
    assert visualize("compare", "folder", "walk", *results, "--at", "3,0", "--columns", "1", *where) == 0
    strip = read_image(tmp_path / "drawn" / "v1.0.png")
    assert strip.shape == (34 + 2 * (270 + 6), 360 + 12, 3)
    last, first = strip[34:304, 6:366], strip[310:580, 6:366]
    assert tuple(last[200, 315]) == PALETTE[1] and tuple(last[125, 100]) == (90, 90, 90)
    assert tuple(first[125, 100]) == PALETTE[1], "later boxes lie above the truth"
    video = VideoFile(tmp_path / "drawn" / "v1.0.mp4")
    assert len(video) == 4
    frame = video[3]
    assert frame.shape == (34 + 480, 640, 3), "small frames are enlarged, under a legend"
    # The left border of 300,200,30,30 at 640/360 of its size, through a lossy codec.
    assert np.abs(frame[34 + 382, 532:536].astype(int) - PALETTE[1]).max(axis=1).min() < 60
    assert np.abs(frame[34 + 100, 100].astype(int) - 90).max() < 10


def test_a_missing_result_is_named_with_the_command_that_makes_it(videos, tmp_path):
    results = [write_result(tmp_path / name) for name in ("whole", "theirs", "ours")]
    for folder in results[1:]:
        (Path(folder) / "walk.txt").unlink()
    claim_folder(tmp_path / "ours", RunRecord("mmg", "tiny", "folder", "ab", None, {}), overwrite=False)
    with pytest.raises(FileNotFoundError) as caught:
        visualize("compare", "folder", "walk", *results, "--root", str(videos), "--out", str(tmp_path / "a"))
    theirs, ours, command = str(caught.value).split("; ")
    assert theirs.startswith("theirs has no result of walk") and "no run.json" in theirs
    assert ours.startswith("mmg/tiny has no result of walk") and "walk.txt" in ours
    assert "python tracking/test.py mmg folder --config tiny --sequences walk, with the same --root" in command


def test_the_worst_moments_are_compared(videos, tmp_path):
    result, out = write_result(tmp_path / "mine"), tmp_path / "worst"
    (tmp_path / "mine" / "walk.txt").write_text("100,100,60,50\n" * 2 + "200,120,60,50\n" * 2)
    where = ["--root", str(videos), "--no-video", "--out", str(out)]
    assert visualize("compare", "folder", "walk", result, "--worst", "--frames", "1", *where) == 0
    strip = read_image(out.with_name("worst.png"))
    # Frame 2, where the tracker has lost it, and no other: truth and prediction apart.
    assert strip.shape[0] == 34 + 276
    assert tuple(strip[34 + 125, 6 + 100]) == TRUTH and tuple(strip[34 + 145, 6 + 200]) == PALETTE[0]
    assert not out.with_name("worst.mp4").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "0,4"], "walk has no frame 4: they run from 0 to 3"),
        (["--at", "0,x"], "'0,x' are not numbers"),
        (["--at", ""], "'' are not numbers"),
        (["--frames", "0"], "0 frames"),
        (["--columns", "0"], "0 columns"),
        (["--rate", "0"], "at 0 frames per second"),
    ],
)
def test_mistakes_in_a_comparison_are_named(videos, tmp_path, options, message):
    result = write_result(tmp_path / "mine")
    with pytest.raises(ValueError, match=message):
        visualize("compare", "folder", "walk", result, "--root", str(videos), "--out", str(tmp_path / "a"), *options)
    assert not list(tmp_path.glob("a.*")), "what is wrong is found before anything is written"


def test_pictures_that_cannot_be_written_are_refused_first(videos, tmp_path):
    (tmp_path / "file").write_text("mine")
    film = ["folder", "walk", "nobody", "--root", str(videos)]
    network = ["--checkpoint", "nobody.pth"]
    for name, words, out, message in (
        ("track", film, "file/a.png", "is a file, so nothing can be written below it"),
        ("track", film, "a.bmp", r"a picture is written as \.png or \.jpg"),
        ("compare", film, "file/a", "is a file, so nothing can be written below it"),
        ("masks", film, "file/a.png", "is a file, so nothing can be written below it"),
        ("masks", film, "a.bmp", r"a picture is written as \.png or \.jpg"),
        ("reconstruction", network, "file/a.png", "is a file, so nothing can be written below it"),
        ("samples", ["--config", "nobody"], "a.bmp", r"a picture is written as \.png or \.jpg"),
    ):
        with pytest.raises(ValueError, match=message):
            visualize(name, *words, "--out", str(tmp_path / out))


def test_a_strip_of_what_is_not_there_is_refused(videos, tmp_path):
    result = write_result(tmp_path / "mine")
    where = ["--root", str(videos), "--out", str(tmp_path / "strip.png")]
    with pytest.raises(ValueError, match=r"no sequence 'wlak'.*did you mean 'walk'"):
        visualize("track", "folder", "wlak", result, *where)
    with pytest.raises(ValueError, match="did you mean 'folder'"):
        visualize("track", "foldr", "walk", result, *where)
    short = write_result(tmp_path / "short", rows=2)
    with pytest.raises(ValueError, match=r"walk\.txt has 2 rows, but walk has 4 frames"):
        visualize("track", "folder", "walk", short, *where)
    with pytest.raises(FileNotFoundError, match="nobody"):
        visualize("track", "folder", "walk", "nobody", *where)
    assert not (tmp_path / "strip.png").exists()


def test_reconstructions_of_a_checkpoint(small_experiment, tmp_path):
    checkpoint, out = tmp_path / "weights.pth", tmp_path / "rebuilt.png"
    save_random_weights(checkpoint, small_experiment())
    assert visualize("reconstruction", "--checkpoint", str(checkpoint), "--samples", "2", "--out", str(out)) == 0
    picture = read_image(out)
    # Two samples of two rows of 160 px under a heading.
    assert picture.shape[0] == 26 + 4 * 166
    assert picture[26:186].std() > 20


def test_reconstructions_without_weights_are_of_the_default_ones_on_a_data_set_of_choice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["reconstruction", "--samples", "1", "--out", "rebuilt.png"]
    assert visualize(*words, "--dataset", "synthetic") == 0
    assert "mmg_small.safetensors, which come with the project" in capsys.readouterr().err
    assert read_image(tmp_path / "rebuilt.png").shape[0] == 26 + 2 * 166
    monkeypatch.delenv("MMG_FOLDER", raising=False)
    (tmp_path / "paths.yaml").write_text("lasot: lasot\n")
    with pytest.raises(FileNotFoundError, match="where is folder"):
        visualize(*words, "--paths", "paths.yaml")
