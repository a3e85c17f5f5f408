"""Result files: what is written is read back, and what is damaged is noticed."""

from pathlib import Path

import numpy as np
import pytest
from conftest import files_no_longer_than

from lib.eval.results import ResultFiles, check_names, read_boxes, read_seconds, result_names

BOXES = np.array([[1.0, 2.0, 3.0, 4.0], [1.23456, -5.0, 1000.5, 0.00004], [0.1, 0.2, 0.3, 0.4]])
SECONDS = np.array([0.5, 0.001, 0.0000123])


def write(folder: Path, name: str = "video", num_non_finite: int = 0) -> ResultFiles:
    files = ResultFiles(folder, name)
    files.write(BOXES, SECONDS, num_non_finite)
    return files


def test_round_trip(tmp_path: Path) -> None:
    files = write(tmp_path)
    assert files.boxes.read_text().splitlines()[1] == "1.2346,-5.0000,1000.5000,0.0000"
    np.testing.assert_allclose(read_boxes(files.boxes), BOXES, atol=5e-5)
    np.testing.assert_allclose(read_seconds(files.seconds), SECONDS, atol=5e-9)
    assert {path.name for path in tmp_path.iterdir()} == {"video.txt", "video_time.txt"}


@pytest.mark.parametrize("suffix", ["_time", "_nonfinite"])
def test_sequences_that_would_share_result_files_are_refused(suffix: str) -> None:
    check_names({f"car{suffix}", "bus"})
    with pytest.raises(ValueError, match=f"'car' and car{suffix} would share"):
        check_names({f"car{suffix}", "car"})


def test_names_are_those_of_boxes(tmp_path: Path) -> None:
    assert result_names(tmp_path) == set()
    write(tmp_path, "lap", num_non_finite=1)
    write(tmp_path, "race_time")  # a name like that is no crime, as long as there is no race
    write(tmp_path, "halved_nonfinite")
    assert result_names(tmp_path) == {"lap", "race_time", "halved_nonfinite"}
    ResultFiles(tmp_path, "lap").boxes.unlink()  # an interrupted write leaves the rest behind
    assert result_names(tmp_path) == {"race_time", "halved_nonfinite"}


def test_count_of_non_finite_boxes_lives_as_long_as_it_is_true(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"video.*\.txt: .* is no number of boxes"):
        write(tmp_path, num_non_finite=10**9).num_non_finite()
    assert write(tmp_path, num_non_finite=7).num_non_finite() == 7
    assert write(tmp_path, num_non_finite=0).num_non_finite() == 0


def test_only_whole_files_of_this_sequence_are_complete(tmp_path: Path) -> None:
    files = write(tmp_path)
    whole = files.boxes.read_text()
    assert files.is_complete(3, BOXES[0])
    assert not files.is_complete(4, BOXES[0])
    assert not files.is_complete(3, BOXES[0] + 1), "a sequence with another first box is another sequence"
    for damaged in (whole[:-1], whole[:-4], whole[: len(whole) // 2], "", whole.replace("3.0000", "nan")):
        files.boxes.write_text(damaged)
        assert not files.is_complete(3, BOXES[0]), damaged
    files.boxes.write_text(whole)
    files.non_finite.write_text("")
    assert not files.is_complete(3, BOXES[0])
    files.non_finite.unlink()
    assert files.is_complete(3, BOXES[0])
    files.seconds.unlink()
    assert not files.is_complete(3, BOXES[0])


def test_a_write_that_the_system_cuts_off_names_the_file(tmp_path: Path) -> None:
    files = write(tmp_path)
    before = {path: path.read_text() for path in files.all if path.is_file()}
    with files_no_longer_than(4096), pytest.raises(OSError, match=r"could not write: .*video\.txt"):
        files.write(np.tile(BOXES, (100, 1)), np.tile(SECONDS[:1], 300), 0)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_scores_lie_beside_the_boxes_and_are_no_result_of_their_own(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path, "video")
    files.write(BOXES, SECONDS, 0, np.array([1, 0.25, 0.5]))
    assert files.scores == tmp_path / "video_score.txt"
    assert files.scores.read_text() == "1.000000\n0.250000\n0.500000\n"
    assert result_names(tmp_path) == {"video"} and files.is_complete(3, BOXES[0])
    files.write(BOXES, SECONDS, 0)  # by a tracker that gives none
    assert not files.scores.exists()
    with pytest.raises(ValueError, match="would share result files"):
        check_names({"video", "video_score"})


@pytest.mark.parametrize("name", ["../video", "a/b", "a\\b", ".hidden", "two\nlines", ""])
def test_a_name_that_leads_elsewhere_names_no_result(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a result file"):
        ResultFiles(tmp_path, name)
