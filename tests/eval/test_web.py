"""What a report's files hold; test_web_browser.py looks at the page in a browser."""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import command, write_own_video
from toys import Videos, video

from lib.data.sequence import Frames
from lib.eval.benchmarks import find_benchmark
from lib.eval.report.web import write_report
from lib.eval.score.analysis import Result, analyze
from lib.eval.score.metrics import frame_overlap
from lib.eval.score.published import MARK, PublishedRow, PublishedTable
from lib.eval.score.scores import MEASURES

PAGE = Path(__file__).resolve().parents[2] / "lib" / "eval" / "report" / "web_page"
HOSTILE = '<img src=x onerror=alert(1)> & "quotes" {{data}} \''
LOST = "lost " + HOSTILE
TRUE = np.array([[100.0, 60, 40, 20]] * 3 + [[100.0, 60, 40, 20]] * 2)
ABSENT = np.array([0, 0, 0, 1, 0], bool)
# Perfect, one third, nothing, absent, one half.
PREDICTED = np.array([[100, 60, 40, 20], [120, 60, 40, 20], [300, 60, 40, 20], [0, 0, 9, 9], [100, 60, 20, 20]], float)


class Grey(Frames):
    """Five frames, 640 x 480, or none of them at hand."""

    def __init__(self, at_hand: bool) -> None:
        self._at_hand = at_hand

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> np.ndarray:
        if not self._at_hand:
            raise FileNotFoundError(f"no frame {index}")
        return np.full((480, 640, 3), 40 * index, np.uint8)


def toys(*names: str, at_hand: bool = True) -> Videos:
    return Videos(tuple(video(name, TRUE, Grey(at_hand), ABSENT, attributes=("Blur <b>",)) for name in names))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a report on two videos."""
    return report_on(toys("walk", "run"), tmp_path_factory.mktemp("web"))


def report_on(
    dataset: Videos,
    folder: Path,
    num_pictures: int = 8,
    lacking: tuple[str, ...] = (),
    out: Path | None = None,
    published: tuple[PublishedTable, ...] = (),
) -> Path:
    """Write the report of one tracker that answers PREDICTED on every sequence but one, and of one without fault."""
    results = []
    for tracker, boxes_xywh in ((LOST, PREDICTED), ("good", TRUE)):
        result = Result(tracker, folder / f"result{len(results)}")
        result.folder.mkdir(parents=True)
        for name in dataset.names:
            if name not in lacking:
                np.savetxt(result.folder / f"{name}.txt", boxes_xywh, delimiter=",")
        results.append(result)
    analysis = analyze(find_benchmark("folder"), dataset, results, allow_missing=True)
    return write_report(analysis, dataset, results, out or folder / "report", num_pictures, published)


def page_data(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def sequence_data(page: Path, number: int) -> dict[str, Any]:
    text = (page.parent / "sequences" / f"{number:04d}.js").read_text()
    found = re.fullmatch(rf"addSequence\({number}, (.*)\);\n", text)
    assert found
    return json.loads(found[1])


def test_the_page_holds_the_numbers(page: Path) -> None:
    data = page_data(page)
    lost, good = data["trackers"]
    # One third is above 7 of 21 thresholds, one half above 10; the absent frame is a miss.
    assert lost["numbers"]["auc"] == pytest.approx((20 + 7 + 10) / 21 / 5, abs=1e-6)
    assert good["numbers"]["auc"] == pytest.approx(20 * 4 / 21 / 5, abs=1e-6)
    assert good["numbers"]["fps"] is None, "no times were recorded"
    assert [plot["title"] for plot in data["plots"]] == ["Success", "Precision", "Normalised precision"]
    assert data["plots"][1]["curves"][0][20] == pytest.approx(3 / 5)  # 20 pixels off is within 20 pixels
    assert [(sequence["name"], sequence["frames"]) for sequence in data["sequences"]] == [("walk", 5), ("run", 5)]
    assert data["sequences"][1]["scores"][0]["precision"] == pytest.approx(3 / 5)
    of_each = [sequence["scores"][0]["auc"] for sequence in data["sequences"]]
    assert np.mean(of_each) == pytest.approx(data["trackers"][0]["numbers"]["auc"], abs=2e-6), (
        "a digit is not cut twice"
    )
    assert data["sequences"][0]["attributes"] == ["Blur <b>"]
    assert data["remarks"] == []


def test_overlaps_are_a_byte_a_frame(page: Path) -> None:
    data = sequence_data(page, 0)
    steps = np.frombuffer(base64.b64decode(data["overlap"][0]), np.uint8)
    assert steps.tolist() == [250, 83, 0, 255, 125]
    overlap = frame_overlap(PREDICTED, TRUE, ABSENT)
    valid = ~np.isnan(overlap)
    np.testing.assert_allclose(steps[valid] / 250, overlap[valid], atol=1 / 500)


def test_the_film_shows_the_worst_moment_first_at_half_size(tmp_path: Path) -> None:
    film = sequence_data(report_on(toys("walk"), tmp_path, num_pictures=3), 0)["film"]
    assert (film["width"], film["height"], len(film["shots"])) == (320, 240, 3)
    worst = film["shots"][0]
    assert worst["frame"] == 2
    assert worst["moment"] == {"tracker": 0, "start": 1, "stop": 3}
    assert worst["boxes"] == [[150, 30, 20, 10], [50, 30, 20, 10]]
    assert worst["truth"] == [50, 30, 20, 10]
    picture = base64.b64decode(worst["image"].removeprefix("data:image/jpeg;base64,"))
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None and pixels.shape == (240, 320, 3) and abs(pixels.mean() - 80) < 2
    assert {shot["frame"] for shot in film["shots"][1:]} == {0, 4}
    assert all(shot["moment"] is None for shot in film["shots"][1:])


def test_an_absent_target_has_no_true_box(page: Path) -> None:
    shots = sequence_data(page, 0)["film"]["shots"]
    assert {shot["frame"]: shot["truth"] is None for shot in shots} == {0: False, 1: False, 2: False, 3: True, 4: False}


def test_frames_are_not_needed(tmp_path: Path) -> None:
    assert sequence_data(report_on(toys("walk", at_hand=False), tmp_path / "a"), 0)["film"] is None
    assert sequence_data(report_on(toys("walk"), tmp_path / "b", num_pictures=0), 0)["film"] is None


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "report"
    report_on(toys("walk", "run"), tmp_path / "a", out=out)
    (out / "sequences" / "mine.txt").write_text("kept")
    page = report_on(toys("jump"), tmp_path / "b", out=out)
    assert sorted(path.name for path in (out / "sequences").iterdir()) == ["0000.js", "mine.txt"]
    assert [sequence["name"] for sequence in page_data(page)["sequences"]] == ["jump"]


def test_somebody_elses_page_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(ValueError, match=r"index\.html is no report of this program"):
        report_on(toys("walk"), tmp_path / "a", out=tmp_path)
    assert (tmp_path / "index.html").read_text() == "<h1>mine</h1>" and not (tmp_path / "sequences").exists()


def test_every_missing_sequence_is_named_on_the_page(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(40)]
    data = page_data(report_on(toys(*names), tmp_path, lacking=tuple(names[1:])))
    assert [sequence["name"] for sequence in data["sequences"]] == names[:1] and "1 of 40" in data["description"]
    assert data["missing"] == [{"tracker": tracker, "sequences": names[1:]} for tracker in (LOST, "good")]
    assert data["left_out"] == names[1:]


def test_intervals_and_published_rows_stand_beside_the_scores(tmp_path: Path) -> None:
    rows = (
        PublishedRow("Them <b>", (0.615, math.nan), fps=30.0, device="an old card"),
        PublishedRow("Others", (0.7, 0.8)),
    )
    published = PublishedTable("A paper", "Table 9", "folder", ("auc", "norm_precision"), True, rows)
    page = report_on(toys("walk", "run"), tmp_path, published=(published,))
    data = page_data(page)
    keys = [column["key"] for column in data["columns"]]
    assert keys[:2] == ["auc", "interval"]
    assert set(keys) == {*MEASURES, "interval", "fps"} == set(data["trackers"][0]["numbers"])
    for tracker in data["trackers"]:
        low, high = tracker["numbers"]["interval"]
        assert low == high == tracker["numbers"]["auc"], "two sequences with the same score"
    (group,) = data["published"]
    assert group["mark"] == f"{MARK}: A paper, Table 9"
    them, others = group["rows"]
    assert (them["numbers"]["auc"], them["numbers"]["norm_precision"], them["numbers"]["fps"]) == (0.615, None, 30)
    assert others["numbers"]["op50"] is None and "interval" not in others["numbers"]
    assert "<b>" not in page.read_text().split('id="report-data">')[1].split("</script>")[0]


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    page = report_on(toys(HOSTILE), tmp_path)
    data = page_data(page)
    assert data["sequences"][0]["name"] == HOSTILE and data["trackers"][0]["name"] == "lost " + HOSTILE
    text = page.read_text()
    assert "<img" not in text and "\u2028" not in text
    assert "<b>" not in (page.parent / "sequences" / "0000.js").read_text()
    assert data["sequences"][0]["file"] == "sequences/0000.js", "no name becomes a path"


def test_the_page_needs_nothing_from_elsewhere(page: Path) -> None:
    text = page.read_text()
    for part in (*PAGE.glob("*.js"), PAGE / "page.css"):
        assert part.read_text().strip() in text, f"{part.name} is not part of the page"
    text = text.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"https?:|@import|url\(|fetch\(|innerHTML|{{style|{{script", text)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own_video(tmp_path / "videos" / "walk", np.zeros((3, 48, 64, 3), np.uint8), "10,10,20,10\n" * 3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "walk.txt").write_text("10,10,20,10\n" * 3)
    arguments = ["folder", str(tmp_path / "mine"), "--root", str(tmp_path / "videos"), "--no-plots", "--pictures", "2"]
    assert command("analyze")([*arguments, "--report", str(tmp_path / "report")]) == 0
    page = tmp_path / "report" / "index.html"
    assert f"report in {page}" in capsys.readouterr().out
    assert page_data(page)["trackers"][0]["name"] == "mine"
    assert len(sequence_data(page, 0)["film"]["shots"]) == 2
