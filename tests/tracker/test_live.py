"""A tracked video on disk: complete or not there, its boxes exact; windows only where there is a screen."""

import http.server
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import files_no_longer_than

from lib.data.images.frames import ArrayFrames
from lib.data.images.video import VideoFile
from lib.draw import GREY, PALETTE
from lib.mp4 import write_mp4
from lib.tracker.base import Prediction
from lib.tracker.batch import OneByOne
from lib.tracker.live import (
    LiveFrames,
    annotate,
    join_boxes,
    open_any,
    open_video,
    parse_box,
    select_box,
    show,
    track_video,
)

BOX = np.array((20.0, 30.0, 24.0, 16.0))


class Drift:
    """Moves the box 1.23456 px right a frame; the output of frame 3 is not finite."""

    def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
        self._box_xywh = np.array(box_xywh)
        self._frame = 0

    def track(self, image: np.ndarray) -> Prediction:
        self._frame += 1
        if self._frame == 3:
            return Prediction(self._box_xywh, finite=False)
        self._box_xywh = self._box_xywh + np.array((1.23456, 0, 0, 0))
        return Prediction(self._box_xywh, score=0.87)


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    """Return a picture that a codec keeps well."""
    coarse = np.random.default_rng(seed).integers(40, 216, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (97, 131)])
def test_an_mp4_reads_back_frame_by_frame(tmp_path: Path, height: int, width: int) -> None:
    frames = [smooth(seed, height, width) for seed in range(4)]
    with write_mp4(tmp_path / "video.mp4", height, width, 25.0) as write:
        for frame in frames:
            write(frame)
    video = VideoFile(tmp_path / "video.mp4")
    assert len(video) == 4
    for index, frame in enumerate(frames):
        # Colours the wrong way round, or frames in another order, differ by some 40 levels.
        assert np.abs(video[index][:height, :width].astype(int) - frame).mean() < 8
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_frames_of_another_size_are_fitted_in(tmp_path: Path) -> None:
    with write_mp4(tmp_path / "video.mp4", 96, 128, 25.0) as write:
        write(smooth(0, 96, 128))
        write(np.full((192, 128, 3), 200, np.uint8))
    second = VideoFile(tmp_path / "video.mp4")[1]
    # Half the size, with black beside.
    assert second[:, 40:88].mean() > 180 and second[:, :24].mean() < 20 and second[:, -24:].mean() < 20


def test_an_mp4_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="tracker"), write_mp4(tmp_path / "video.mp4", 96, 128, 25.0) as write:
        write(smooth(0, 96, 128))
        raise RuntimeError("the tracker failed")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    complaint = pytest.raises(OSError, match=r"No such file or directory; could not write: .*missing/video\.mp4")
    with complaint, write_mp4(tmp_path / "missing" / "video.mp4", 96, 128, 25.0):
        pass


def test_two_targets_have_a_file_and_a_colour_each(tmp_path: Path) -> None:
    frames = ArrayFrames([np.full((96, 128, 3), 90, np.uint8)] * 4)
    second = BOX + np.array((40.0, 30.0, 0.0, 0.0))
    run = track_video(OneByOne([Drift(), Drift()]), frames, [BOX, second], tmp_path, name="clip", label="drift")
    assert [path.name for path in run.boxes] == ["clip_1.txt", "clip_2.txt"] and run.num_non_finite == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "clip_1.txt", "clip_2.txt"]
    assert [path.read_text().splitlines()[2] for path in run.boxes] == [
        "22.4691,30.0000,24.0000,16.0000",
        "62.4691,60.0000,24.0000,16.0000",
    ]
    predictions = [Prediction(BOX), Prediction(second)]
    picture = annotate(np.full((96, 128, 3), 90, np.uint8), predictions, ["a", "b"], 0)
    assert tuple(picture[40, 20]) == PALETTE[0] and tuple(picture[70, 60]) == PALETTE[1]
    shapes = [np.zeros((96, 128), bool) for _ in range(2)]
    shapes[0][35:40, 30:35] = shapes[1][65:70, 70:75] = True
    picture = annotate(np.full((96, 128, 3), 90, np.uint8), predictions, ["a", "b"], 0, shapes)
    assert tuple(picture[35, 30]) == PALETTE[0] and tuple(picture[65, 70]) == PALETTE[1], "outlines"


@pytest.mark.parametrize(("room", "num_frames"), [(1000, 2), (100_000, 30)])
def test_a_full_disk_is_named_and_earlier_files_stay(tmp_path: Path, room: int, num_frames: int) -> None:
    for suffix in ("mp4", "txt"):
        (tmp_path / f"clip.{suffix}").write_text("yesterday's")
    noise = np.random.default_rng(0).integers(0, 256, (num_frames, 96, 128, 3), dtype=np.uint8)
    complaint = pytest.raises(OSError, match=r"could not write: .*clip\.mp4")
    with complaint, files_no_longer_than(room):
        track_video(OneByOne([Drift()]), ArrayFrames(noise), [BOX], tmp_path, name="clip", label="")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "clip.mp4": "yesterday's",
        "clip.txt": "yesterday's",
    }


def test_a_tracked_video_has_its_boxes_beside_it(tmp_path: Path) -> None:
    frames = ArrayFrames([smooth(seed, 96, 128) for seed in range(5)])
    run = track_video(OneByOne([Drift()]), frames, [BOX], tmp_path / "out", name="clip", label="drift")
    assert run.boxes[0].read_text().splitlines() == [
        "20.0000,30.0000,24.0000,16.0000",  # the given box
        "21.2346,30.0000,24.0000,16.0000",
        "22.4691,30.0000,24.0000,16.0000",
        "22.4691,30.0000,24.0000,16.0000",
        "23.7037,30.0000,24.0000,16.0000",
    ]
    assert (run.num_frames, run.num_non_finite) == (5, 1) and run.fps > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.mp4", "clip.txt"]
    assert len(VideoFile(run.video)) == 5


def test_a_huge_frame_is_scaled_down_in_the_video_alone(tmp_path: Path) -> None:
    box = np.array((9000.0, 20.0, 300.0, 50.0))
    frames = ArrayFrames([np.full((100, 9600, 3), 90, np.uint8)] * 2)
    run = track_video(OneByOne([Drift()]), frames, [box], tmp_path, name="clip", label="")
    assert VideoFile(run.video)[0].shape == (40, 3840, 3)
    assert run.boxes[0].read_text().startswith("9000.0000,20.0000,300.0000,50.0000\n9001.2346,")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="out is a file"):
        track_video(
            OneByOne([Drift()]), ArrayFrames([smooth(0, 96, 128)]), [BOX], tmp_path / "out", name="clip", label=""
        )


def test_a_colon_in_a_bare_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with write_mp4(Path("a.mp4"), 96, 128, 12.5) as write:
        write(smooth(0, 96, 128))
    Path("a.mp4").rename("a:b.mp4")
    frames, rate = open_video(Path("a:b.mp4"))
    assert len(frames) == 1 and rate == pytest.approx(12.5)


def test_a_box_that_cannot_start_leaves_no_files(tmp_path: Path) -> None:
    class Refusing(Drift):
        def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
            raise ValueError("outside the frame")

    with pytest.raises(ValueError, match="outside the frame"):
        track_video(OneByOne([Refusing()]), ArrayFrames([smooth(0, 96, 128)]), [BOX], tmp_path, name="clip", label="")
    assert not list(tmp_path.iterdir())


def test_annotation_marks_the_box_and_shows_when_the_tracker_is_lost() -> None:
    image = np.full((96, 128, 3), 90, np.uint8)
    for prediction, colour in (
        (Prediction(BOX, score=0.5), PALETTE[0]),
        (Prediction(BOX), PALETTE[0]),
        (Prediction(BOX, score=0.0, lost=True), GREY),
        (Prediction(BOX, finite=False), GREY),
    ):
        picture = annotate(image, [prediction], ["name"], 3)
        assert tuple(picture[46, 30]) == colour
    assert (image == 90).all()


def test_pictures_and_videos_open_alike(tmp_path: Path) -> None:
    shades = (40, 90, 140)
    for number, shade in zip((2, 10, 1), (90, 140, 40), strict=True):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((96, 128, 3), shade, np.uint8))
    frames, _ = open_video(tmp_path)
    assert [int(frames[index].mean()) for index in range(len(frames))] == list(shades)  # 1, 2, 10
    with write_mp4(tmp_path / "video.mp4", 96, 128, 12.5) as write:
        for shade in shades:
            write(np.full((96, 128, 3), shade, np.uint8))
    frames, rate = open_video(tmp_path / "video.mp4")
    assert len(frames) == 3 and rate == pytest.approx(12.5)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no video or folder .*nowhere"):
        open_video(tmp_path / "nowhere.mp4")
    with pytest.raises(FileNotFoundError, match="no pictures and no video in"):
        open_video(tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text\.mp4"):
        open_video(tmp_path / "text.mp4")


def test_a_box_is_read_from_text() -> None:
    np.testing.assert_array_equal(parse_box("-5, 3.5,40,30"), (-5, 3.5, 40, 30))
    for text in ("1,2,3", "1,2,3,4,5", "a,b,c,d", ""):
        with pytest.raises(ValueError, match="four numbers x,y,w,h"):
            parse_box(text)


def test_no_window_is_tried_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)

    def fail(*arguments: object) -> None:
        pytest.fail("a window was tried")

    for function in ("selectROI", "imshow", "namedWindow"):
        monkeypatch.setattr(cv2, function, fail)
    frames = ArrayFrames([smooth(0, 96, 128)])
    with pytest.raises(ValueError, match="no display"):
        select_box(frames[0])


def test_with_a_display_the_user_draws_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: None)
    monkeypatch.setattr(cv2, "selectROI", lambda title, image, showCrosshair: (3, 4, 5, 6))  # noqa: N803
    image = smooth(0, 96, 128)
    np.testing.assert_array_equal(select_box(image), (3, 4, 5, 6))
    monkeypatch.setattr(cv2, "selectROI", lambda title, image, showCrosshair: (0, 0, 0, 0))  # noqa: N803
    with pytest.raises(ValueError, match="no box was drawn"):
        select_box(image)

    shown: list[np.ndarray] = []
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: ord("q") if len(shown) == 2 else -1)
    run = track_video(OneByOne([Drift()]), ArrayFrames([image] * 5), [BOX], tmp_path, name="clip", label="", watch=show)
    assert run.num_frames == len(shown) == len(VideoFile(run.video)) == 2


def test_a_build_of_opencv_without_windows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")

    def not_implemented(*arguments: object, **options: object) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "selectROI", not_implemented)
    with pytest.raises(ValueError, match="opens no windows"):
        select_box(smooth(0, 96, 128))


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["v.mp4", "--box", "10", "10", "20", "20"], ["v.mp4", "--box=10,10,20,20"]),
        (["--box", "-5,3,40,30", "v.mp4", "--show"], ["--box=-5,3,40,30", "v.mp4", "--show"]),
        (["--box=1,2,3,4", "0"], ["--box=1,2,3,4", "0"]),
        (["--box", "1", "2", "3", "4", "--box", "5,6,7,8", "0"], ["--box=1,2,3,4", "--box=5,6,7,8", "0"]),
    ],
)
def test_a_box_may_be_four_words(words: list[str], joined: list[str]) -> None:
    assert join_boxes(words) == joined


def test_the_mp4_is_one_that_browsers_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    with write_mp4(tmp_path / "video.mp4", 97, 131, 29.97) as write:
        for seed in range(3):
            write(smooth(seed, 97, 131))
    with av.open(str(tmp_path / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(29.97, abs=0.01)
    content = (tmp_path / "video.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index comes first"


def test_without_pyav_it_is_mpeg_4_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    path, warned = tmp_path / "v.mp4", pytest.warns(UserWarning, match="browsers do not play")
    with warned, write_mp4(path, 96, 128, 25.0) as write:
        write(smooth(0, 96, 128))
    assert len(VideoFile(path)) == 1
    complaint = pytest.raises(OSError, match=r"could not write: .*v\.mp4")
    noise = np.random.default_rng(0).integers(0, 256, (30, 96, 128, 3), dtype=np.uint8)
    warned, limit = pytest.warns(UserWarning), files_no_longer_than(100_000)
    with warned, complaint, limit, write_mp4(path, 96, 128, 25.0) as write:
        for frame in noise:
            write(frame)
    assert len(VideoFile(path)) == 1, "the earlier one stays"


def test_a_stream_is_tracked_as_it_comes(tmp_path: Path) -> None:
    with write_mp4(tmp_path / "clip.mp4", 96, 128, 25.0) as write:
        for seed in range(6):
            write(smooth(seed, 96, 128))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        frames, rate = open_any(f"http://127.0.0.1:{server.server_address[1]}/clip.mp4")
        assert isinstance(frames, LiveFrames) and rate == pytest.approx(25)
        run = track_video(OneByOne([Drift()]), frames, [BOX], tmp_path / "out", name="live", label="", rate=rate)
        again, _ = open_any(f"http://127.0.0.1:{server.server_address[1]}/clip.mp4")
        shown: list[np.ndarray] = []

        def interrupt(picture: np.ndarray) -> bool:
            shown.append(picture)
            if len(shown) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return False

        tracker = OneByOne([Drift()])
        stopped = track_video(tracker, again, [BOX], tmp_path / "out", name="cut", label="", watch=interrupt)
        server.shutdown()
    assert run.num_frames == len(VideoFile(run.video)) == 6
    assert stopped.num_frames == len(VideoFile(stopped.video)) == 3


def test_a_camera_that_is_not_there_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="camera 99 cannot be opened"):
        open_any("99")
    assert capfd.readouterr().err == ""
