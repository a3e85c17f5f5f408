"""The page to try a tracker: what it takes and refuses, and a box drawn in a real browser."""

import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lib.data.images.video import VideoFile
from lib.mp4 import write_mp4
from lib.tracker.batch import OneByOne
from lib.tracker.classical import StaticBox
from mmg_tracker.page import LARGEST, RequestError, Studio, open_server

NUM_FRAMES = 8


class Page:
    """A served page, and what a program sends to it."""

    def __init__(self, port: int, out: Path) -> None:
        self.port, self.out = port, out

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def finished(self) -> dict[str, Any]:
        for _ in range(600):
            state = json.loads(self.ask("GET", "/state")[1])
            if not state["running"]:
                return state
            time.sleep(0.05)
        raise AssertionError("the run does not end")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    with write_mp4(tmp_path / "clip.mp4", 96, 128, 10.0) as write:
        for _ in range(NUM_FRAMES):
            write(np.full((96, 128, 3), 90, np.uint8))
    return tmp_path / "clip.mp4"


@pytest.fixture
def page(video: Path, tmp_path: Path) -> Iterator[Page]:
    studio = Studio(video, lambda number: OneByOne([StaticBox() for _ in range(number)]), tmp_path / "out", "static")
    with open_server(studio) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Page(server.server_address[1], tmp_path / "out")
        server.shutdown()


def test_boxes_in_video_and_boxes_out(page: Page) -> None:
    assert page.ask("GET", "/")[1].startswith(b"<!doctype html>")
    first = cv2.imdecode(np.frombuffer(page.ask("GET", "/first")[1], np.uint8), cv2.IMREAD_COLOR)
    assert first is not None and first.shape == (96, 128, 3)
    assert page.ask("POST", "/start", b"[[10, 20, 30.5, 16], [60, 20, 30, 16]]")[0] == 200
    state = page.finished()
    assert state == {
        "running": False,
        "done": NUM_FRAMES,
        "error": "",
        "files": ["clip_static.mp4", "clip_static_1.txt", "clip_static_2.txt"],
    }
    assert page.ask("GET", "/files/clip_static_1.txt")[1] == b"10.0000,20.0000,30.5000,16.0000\n" * NUM_FRAMES
    assert page.ask("GET", "/files/clip_static.mp4")[1] == (page.out / "clip_static.mp4").read_bytes()


@pytest.mark.parametrize("body", [b"[]", b"{}", b"[[1, 2, 3]]", b'[["a", 2, 3, 4]]', b"no json", b"[[1,2,3,4]]" * 99])
def test_what_are_no_boxes_is_refused(page: Page, body: bytes) -> None:
    assert page.ask("POST", "/start", body)[0] == 400
    assert not page.out.exists()


def test_a_box_outside_is_said(page: Page) -> None:
    assert page.ask("POST", "/start", b"[[500, 20, 30, 16]]")[0] == 200
    assert "outside the frame" in page.finished()["error"]


def test_an_upload_takes_the_place_of_the_video(page: Page, tmp_path: Path) -> None:
    with write_mp4(tmp_path / "other.mp4", 48, 64, 10.0) as write:
        for _ in range(3):
            write(np.full((48, 64, 3), 30, np.uint8))
    content = (tmp_path / "other.mp4").read_bytes()
    assert page.ask("POST", "/upload", content, X_Name="..%2F..%2Fa%20b.mp4")[0] == 200
    assert page.ask("POST", "/start", b"[[1, 2, 30, 16]]")[0] == 200
    assert page.finished()["files"] == ["a_b_static.mp4", "a_b_static.txt"]
    assert sorted(path.name for path in page.out.iterdir()) == ["a_b_static.mp4", "a_b_static.txt"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.sh", b"x", "name ends in"), ("", b"x", "name ends in"), ("a.mp4", b"no video", "a.mp4 is no video")],
)
def test_an_upload_that_is_no_video_is_refused(page: Page, name: str, content: bytes, message: str) -> None:
    status, answer = page.ask("POST", "/upload", content, X_Name=name)
    assert status == 400 and message in answer.decode()
    assert page.ask("GET", "/first")[0] == 200


def test_other_files_other_sites_and_too_much_are_refused(page: Page, video: Path) -> None:
    for path in ("/files/../clip.mp4", "/files/clip.mp4", f"/files/{video}", "/clip.mp4", "/files/%2e%2e/clip.mp4"):
        assert page.ask("GET", path)[0] == 400
    assert page.ask("GET", "/state", Host="evil.example")[0] == 400
    assert page.ask("POST", "/start", b"[[1, 2, 30, 16]]", Origin="http://evil.example")[0] == 400
    assert page.ask("POST", "/start", b"", Content_Length=str(LARGEST + 1))[0] == 400
    assert not page.out.exists()


def test_one_run_at_a_time(video: Path, tmp_path: Path) -> None:
    may_go_on = threading.Event()

    def build(number: int) -> OneByOne:
        may_go_on.wait()
        return OneByOne([StaticBox()])

    studio = Studio(video, build, tmp_path / "out", "static")
    studio.start([[1, 2, 30, 16]])
    for refused in (
        lambda: studio.start([[1, 2, 30, 16]]),
        lambda: studio.receive("a.mp4", io.BytesIO(video.read_bytes()), 10**6),
    ):
        with pytest.raises(RequestError, match="wait until"):
            refused()
    may_go_on.set()


@pytest.mark.slow
def test_a_box_drawn_in_a_browser_comes_back_as_a_video_that_plays(page: Page, chromium: Any) -> None:
    action_chains = pytest.importorskip("selenium.webdriver.common.action_chains")
    chromium.get(f"http://127.0.0.1:{page.port}/")
    canvas = chromium.find_element("id", "canvas")
    wait_for(lambda: canvas.size["width"] >= 128)
    # Offsets are from the middle of the canvas of 128 x 96, whose pixels are the frame's.
    mouse = action_chains.ActionChains(chromium)
    mouse.move_to_element_with_offset(canvas, -40, -20).click_and_hold()
    mouse.move_by_offset(30, 24).release().perform()
    chromium.find_element("id", "start").click()
    wait_for(lambda: len(chromium.find_elements("css selector", "#files a")) == 2)
    assert chromium.find_element("id", "error").text == ""
    drawn = np.loadtxt(page.out / "clip_static.txt", delimiter=",")
    np.testing.assert_allclose(drawn, np.tile((24, 28, 30, 24), (NUM_FRAMES, 1)), atol=2)
    assert len(VideoFile(page.out / "clip_static.mp4")) == NUM_FRAMES
    pytest.importorskip("av")
    chromium.execute_script(
        "const video = document.createElement('video'); video.id = 'player'; video.muted = true;"
        "document.body.append(video); video.src = '/files/clip_static.mp4'; video.play();"
    )
    player = chromium.find_element("id", "player")
    wait_for(lambda: player.get_property("ended") or player.get_property("error"))
    assert player.get_property("error") is None and player.get_property("videoWidth") == 128


def wait_for(condition: Any) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it does not come true")
