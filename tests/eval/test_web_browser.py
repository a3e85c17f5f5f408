"""The report page in a headless Chromium, opened from disk: sort, open a sequence, switch trackers, stay harmless."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import Videos, video

from lib.data.sequence import Frames
from lib.eval.benchmarks import find_benchmark
from lib.eval.report.web import write_report
from lib.eval.score.analysis import Result, analyze
from lib.eval.score.published import PublishedRow, PublishedTable

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=document.title='owned'>"
TRACKERS = ("steady", "lost", HOSTILE)
NUM_FRAMES = 60


class Grey(Frames):
    def __len__(self) -> int:
        return NUM_FRAMES

    def __getitem__(self, index: int) -> np.ndarray:
        return np.full((120, 160, 3), 90, np.uint8)


def toys() -> Videos:
    """Return three sequences; the target of the last is absent for ten frames."""
    boxes_xywh, hidden = np.tile([40.0, 30, 40, 20], (NUM_FRAMES, 1)), np.arange(NUM_FRAMES) // 10 == 2
    return Videos(
        (
            video("alpha", boxes_xywh, Grey(), attributes=("Blur",)),
            video("beta", boxes_xywh, Grey(), attributes=("Blur", "Occlusion")),
            video(HOSTILE, boxes_xywh, Grey(), hidden, attributes=("Blur",)),
        )
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report: one tracker without fault, one that loses the target at frame 30, one in between."""
    folder = tmp_path_factory.mktemp("browser")
    dataset = toys()
    results = []
    for number, (name, width) in enumerate(zip(TRACKERS, (40, 0, 30), strict=True)):
        result = Result(name, folder / f"result{number}")
        result.folder.mkdir()
        for index, sequence in enumerate(dataset.names):
            boxes_xywh = dataset[index].boxes_xywh.copy()
            boxes_xywh[:, 2] = width or 40
            boxes_xywh[30:, 0] += 0 if width else 60 + index
            np.savetxt(result.folder / f"{sequence}.txt", boxes_xywh, delimiter=",")
        results.append(result)
    analysis = analyze(find_benchmark("folder"), dataset, results)
    rows = (PublishedRow("Weak", (0.1,)), PublishedRow("Strong", (0.99,), fps=30.0, device="an old card"))
    published = PublishedTable("A paper", "Table 9", "folder", ("auc",), True, rows)
    return write_report(analysis, dataset, results, folder / "report", 4, (published,))


@pytest.fixture
def opened(chromium: Any, page: Path) -> Iterator[Any]:
    """Open the page anew; whatever a test does, nothing may go wrong in the console."""
    chromium.get("about:blank")
    chromium.get(page.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []
    assert chromium.title == "own videos: tracking results", "a name was run as code"
    assert chromium.execute_script("return document.querySelectorAll('img').length") == 0


def find(session: Any, selector: str) -> Any:
    return session.find_element("css selector", selector)


def texts(session: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)"
    return session.execute_script(script, selector)


def wait_for(session: Any, holds: Callable[[], bool]) -> None:
    script = "const done = arguments[0]; setTimeout(done, 20)"
    for _ in range(200):
        if holds():
            return
        session.execute_async_script(script)
    raise AssertionError("the page did not get there")


def open_sequence(session: Any, name: str) -> None:
    buttons = session.find_elements("css selector", "#sequence-table tbody button")
    next(button for button in buttons if button.text == name).click()
    wait_for(session, lambda: texts(session, "#sequence h3") == [name])


def test_tables_sort_by_their_headers(opened: Any) -> None:
    rows = "#overview-table tbody:first-of-type th"
    assert texts(opened, rows) == ["steady", HOSTILE, "lost"], "the best AUC first"
    header = "#overview-table thead th:nth-child(2)"
    assert find(opened, header).get_attribute("aria-sort") == "descending"
    find(opened, f"{header} button").click()
    assert texts(opened, rows) == ["lost", HOSTILE, "steady"]
    assert find(opened, header).get_attribute("aria-sort") == "ascending"
    opened.switch_to.active_element.send_keys("\ue007")  # enter: the header kept the focus
    assert texts(opened, rows) == ["steady", HOSTILE, "lost"]
    find(opened, "#overview-table thead th:first-child button").click()
    assert texts(opened, rows)[1:] == ["lost", "steady"], "by name"


def test_a_sequence_opens_with_its_pictures_the_worst_first(opened: Any) -> None:
    open_sequence(opened, "beta")
    assert "sequence/beta" in opened.current_url
    captions = texts(opened, ".film .caption")
    assert len(captions) == 4 and captions[0].startswith("frame 30, 1 of 3 lost")
    assert "lost: lost on frames 30 to 59" in captions[0]
    assert texts(opened, ".strip .scores")[1].endswith("30 lost")
    drawn = """const canvas = document.querySelector('.overlap canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.some((value) => value > 0)"""
    assert opened.execute_script(drawn)
    find(opened, ".film button").click()
    assert texts(opened, ".strip .scores") == ["1.00", "0.00", "0.75"], "the overlaps on frame 30"
    find(opened, ".sequence-head button[aria-label='close the sequence']").click()
    wait_for(opened, lambda: not find(opened, "#sequence").is_displayed())
    opened.back()
    wait_for(opened, lambda: texts(opened, "#sequence h3") == ["beta"])


def test_arrow_keys_read_the_plots(opened: Any) -> None:
    curve = find(opened, "#curve-plots svg[role=slider]")
    curve.send_keys("\ue014")  # right
    assert curve.get_attribute("aria-valuetext").startswith("overlap above 0.05: steady 94.4, lost 44.4")
    open_sequence(opened, HOSTILE)
    plot = find(opened, ".overlap")
    plot.send_keys("\ue010")  # end
    assert plot.get_attribute("aria-valuenow") == str(NUM_FRAMES - 1)
    assert plot.get_attribute("aria-valuetext").startswith("frame 59: steady 1.00, lost 0.00")


def test_a_tracker_is_switched_off_and_on_everywhere(opened: Any) -> None:
    open_sequence(opened, "alpha")
    curves = "#curve-plots .plot:first-child .curve[visibility=visible]"
    everywhere = {
        "curves": lambda: len(opened.find_elements("css selector", curves)),
        "bars": lambda: len(texts(opened, "#attribute-cards .card:first-child .bar")),
        "columns": lambda: len(texts(opened, "#sequence-table thead th")) - 4,
        "strips": lambda: len(texts(opened, "#sequence .strip")),
        "boxes": lambda: len(texts(opened, ".film li:first-child .box")) - 1,
    }
    assert {name: count() for name, count in everywhere.items()} == dict.fromkeys(everywhere, 3)
    chip = find(opened, "#trackers .chip:nth-child(2)")
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    assert {name: count() for name, count in everywhere.items()} == dict.fromkeys(everywhere, 2)
    assert "off" in find(opened, "#overview-table tbody:first-of-type tr:last-child").get_attribute("class")
    chip.send_keys(" ")
    assert {name: count() for name, count in everywhere.items()} == dict.fromkeys(everywhere, 3)


def test_published_rows_stay_below_and_can_be_hidden(opened: Any) -> None:
    group = "#overview-table tbody:nth-of-type(2) th"
    heading = "published, not measured here: A paper, Table 9"
    assert texts(opened, group) == [heading, "Strong (speed: an old card)", "Weak"]
    assert texts(opened, "#overview-table tbody:first-of-type .best")[0] == "89.9", "never beaten by a published number"
    find(opened, "#overview-table thead th:nth-child(2) button").click()
    assert texts(opened, group) == [heading, "Weak", "Strong (speed: an old card)"]
    assert len(texts(opened, "#overview-table tbody:first-of-type tr")) == 3
    find(opened, "#show-published").click()
    assert texts(opened, group) == []


def shown_frames(session: Any) -> list[int]:
    return [int(word) for word in texts(session, ".zoom output")[0].split() if word.isdecimal()]


def test_the_overlap_plot_zooms_by_button_key_and_mouse(opened: Any) -> None:
    chains = pytest.importorskip("selenium.webdriver").ActionChains
    open_sequence(opened, "beta")
    plot = find(opened, ".overlap")
    assert shown_frames(opened) == [0, 59]
    find(opened, ".zoom button[aria-label='fewer frames']").click()
    assert shown_frames(opened) == [15, 44]
    find(opened, ".zoom button[aria-label='later frames']").click()
    assert shown_frames(opened) == [30, 59]
    assert not find(opened, ".zoom button[aria-label='later frames']").is_enabled()
    plot.send_keys("\ue011")  # home: the plot follows the chosen frame
    assert plot.get_attribute("aria-valuenow") == "0" and shown_frames(opened)[0] == 0
    plot.send_keys("-")
    assert shown_frames(opened) == [0, 59]
    # Drag over the middle third of the frames.
    canvas = find(opened, ".overlap canvas")
    inner = canvas.size["width"] - 34 - 8
    third = round(inner / 3)
    offset = 34 - canvas.size["width"] // 2
    chains(opened).move_to_element_with_offset(canvas, offset + third, 0).click_and_hold().move_by_offset(
        third // 2, 0
    ).move_by_offset(third - third // 2, 0).release().perform()
    first, last = shown_frames(opened)
    assert abs(first - 20) <= 1 and abs(last - 39) <= 1
    # The left border of the plot is the first frame now: its overlap is read there.
    chains(opened).move_to_element_with_offset(canvas, offset + 1, 20).perform()
    assert plot.get_attribute("aria-valuenow") == str(first)
    find(opened, ".zoom button:last-of-type").click()
    assert shown_frames(opened) == [0, 59]


def test_the_list_is_filtered_and_stepped_through(opened: Any) -> None:
    rows = "#sequence-table tbody th"
    assert len(texts(opened, rows)) == 3
    find(opened, "#sequence-filter").send_keys("A")
    assert set(texts(opened, rows)) == {"alpha", "beta"}
    find(opened, "#sequence-filter").send_keys("LPHA")
    assert texts(opened, rows) == ["alpha"] and texts(opened, "#sequence-count") == ["1 of 3 sequences"]
    find(opened, "#sequence-filter").clear()
    next(card for card in opened.find_elements("css selector", ".card button") if card.text == "Occlusion").click()
    assert texts(opened, rows) == ["beta"]
    find(opened, "#sequence-attribute option").click()
    order = texts(opened, rows)
    open_sequence(opened, order[0])
    previous, following = opened.find_elements("css selector", ".sequence-head button")[:2]
    assert not previous.is_enabled()
    following.click()
    wait_for(opened, lambda: texts(opened, "#sequence h3") == [order[1]])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1300])
def test_narrow_and_wide_light_and_dark(opened: Any, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    open_sequence(opened, HOSTILE)
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.execute_script(overflow) == 0, "only tables scroll sideways"
    ground = opened.execute_script("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (min(ground) > 200) == (scheme == "light") and (max(ground) < 60) == (scheme == "dark")


def test_left_out_sequences_are_listed(chromium: Any, tmp_path: Path) -> None:
    dataset = toys()
    result = Result("partial", tmp_path / "partial")
    result.folder.mkdir()
    np.savetxt(result.folder / "alpha.txt", dataset[0].boxes_xywh, delimiter=",")
    analysis = analyze(find_benchmark("folder"), dataset, [result], allow_missing=True)
    chromium.get(write_report(analysis, dataset, [result], tmp_path / "report", 0).as_uri())
    assert find(chromium, "#missing summary").text.startswith("Incomplete: 2 sequences are left out")
    assert texts(chromium, "#missing li") == [f"partial lacks 2: beta, {HOSTILE}"]
    assert chromium.get_log("browser") == []


def test_a_lost_data_file_is_said(chromium: Any, page: Path, tmp_path: Path) -> None:
    alone = tmp_path / "index.html"
    shutil.copy(page, alone)
    chromium.get(alone.as_uri() + "#sequence/alpha")
    wait_for(chromium, lambda: bool(texts(chromium, "#sequence [role=alert]")))
    assert 'keep this page and the folder "sequences" together' in texts(chromium, "#sequence [role=alert]")[0]
    chromium.get_log("browser")  # the file that is not there is reported; the next test starts clean
