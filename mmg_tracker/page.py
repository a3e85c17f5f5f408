"""A page on this machine to try a tracker: draw boxes on the first frame, watch, take the video and the boxes home."""

import json
import re
import tempfile
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np

from lib.tracker.batch import SeveralTargets
from lib.tracker.live import open_video, parse_box, track_video

PAGE = Path(__file__).with_name("page.html")
KINDS = (".mp4", ".mov", ".avi", ".mkv", ".webm")  # of videos that may be uploaded
LARGEST = 1 << 30  # bytes of an upload
_MOST_BOXES = 16
_BLOCK = 1 << 20  # bytes that are read at once


class RequestError(Exception):
    """What a request asks for is not done; its text is for the user."""


class Studio:
    """One video, and at most one run over it at a time. Its methods are called by the server's threads.

    `build` makes what follows a number of targets; a run's files go to `out`, made when missing, and `label` is written
    at the boxes. Raises as `open_video`.
    """

    def __init__(self, video: Path, build: Callable[[int], SeveralTargets], out: Path, label: str) -> None:
        self._build, self._out, self._label = build, out, label
        self._lock = threading.Lock()
        self._uploads = tempfile.TemporaryDirectory()
        self._running = False
        self._received = 0
        self.open(video, video.stem)

    def open(self, video: Path, name: str) -> None:
        """Show another video from now on."""
        frames, rate = open_video(video)
        first = frames[0]
        with self._lock:
            if self._running:
                raise RequestError("wait until the run is over")
            self._frames, self._rate, self._name = frames, rate, name
            self.first = self.latest = _jpeg(first)
            self._files: dict[str, Path] = {}
            self._done, self._error = 0, ""

    def receive(self, name: str, content: BufferedIOBase, length: int) -> None:
        """Open an uploaded video. Its name is a label alone: the file is called otherwise."""
        suffix = Path(name).suffix.lower()
        if suffix not in KINDS:
            raise RequestError(f"a video's name ends in {', '.join(KINDS)}")
        self._received += 1
        file = Path(self._uploads.name) / f"{self._received}{suffix}"
        with file.open("wb") as copy:
            while length > 0 and (block := content.read(min(length, _BLOCK))):
                length -= copy.write(block)
        try:
            self.open(file, re.sub(r"[^\w-]+", "_", Path(name).stem)[:60] or "upload")
        except (ValueError, RequestError) as error:
            file.unlink()
            if isinstance(error, RequestError):
                raise
            raise RequestError(f"{Path(name).name} is no video that can be decoded") from error

    def start(self, boxes: object) -> None:
        """Track from boxes [[x, y, w, h], ...] on the first frame."""
        if not isinstance(boxes, list) or not 1 <= len(boxes) <= _MOST_BOXES:
            raise RequestError(f"draw 1 to {_MOST_BOXES} boxes")
        try:
            boxes_xywh = [parse_box(",".join(map(str, box))) for box in boxes]
        except (ValueError, TypeError) as error:
            raise RequestError("a box is four numbers") from error
        with self._lock:
            if self._running:
                raise RequestError("wait until the run is over")
            self._running, self._done, self._error, self._files = True, 0, "", {}
        threading.Thread(target=self._run, args=(boxes_xywh,), daemon=True).start()

    def state(self) -> dict[str, Any]:
        """Return where the run stands."""
        return {"running": self._running, "done": self._done, "error": self._error, "files": list(self._files)}

    def file(self, name: str) -> Path:
        """Return a result of the last run; no other file has a name here."""
        if name not in self._files:
            raise RequestError(f"there is no {name}")
        return self._files[name]

    def _run(self, boxes_xywh: list[np.ndarray]) -> None:
        try:
            result = track_video(
                self._build(len(boxes_xywh)), self._frames, boxes_xywh, self._out, name=f"{self._name}_{self._label}",
                label=self._label, rate=self._rate, watch=self._watch,
            )  # fmt: skip
            self._files = {path.name: path for path in (result.video, *result.boxes)}
        except (ValueError, OSError) as error:
            self._error = str(error)
        finally:
            self._running = False

    def _watch(self, picture: np.ndarray) -> bool:
        self.latest = _jpeg(picture)
        self._done += 1
        return False


def open_server(studio: Studio, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """Return a server of the page, whose `serve_forever` is to be called; port 0 takes one that is free."""
    server = ThreadingHTTPServer((host, port), _handler(studio, host in ("127.0.0.1", "localhost", "::1")))
    server.daemon_threads = True
    return server


def _handler(studio: Studio, loopback: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(self._get)

        def do_POST(self) -> None:
            self._answer(self._post)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _get(self) -> tuple[bytes, str]:
            path = self.path.partition("?")[0]
            if path == "/":
                return PAGE.read_bytes(), "text/html; charset=utf-8"
            if path == "/state":
                return json.dumps(studio.state()).encode(), "application/json"
            if path in ("/first", "/latest"):
                return (studio.first if path == "/first" else studio.latest), "image/jpeg"
            file = studio.file(path.removeprefix("/files/"))
            return file.read_bytes(), "video/mp4" if file.suffix == ".mp4" else "text/plain"

        def _post(self) -> tuple[bytes, str]:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > LARGEST:
                raise RequestError(f"an upload has at most {LARGEST >> 20} MB")
            if self.path == "/start":
                studio.start(json.loads(self.rfile.read(min(int(length), _BLOCK))))
            elif self.path == "/upload":
                studio.receive(unquote(self.headers.get("X-Name", "")), self.rfile, int(length))
            else:
                raise RequestError(f"there is no {self.path}")
            return b"{}", "application/json"

        def _answer(self, work: Callable[[], tuple[bytes, str]]) -> None:
            status = HTTPStatus.OK
            try:
                self._check_sender()
                content, kind = work()
            except (RequestError, json.JSONDecodeError) as error:
                status, content, kind = HTTPStatus.BAD_REQUEST, str(error).encode(), "text/plain; charset=utf-8"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def _check_sender(self) -> None:
            """Refuse what a page of another site sends through the user's browser."""
            host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
            if loopback and not re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", host):
                raise RequestError(f"this page is not {host}")
            if origin is not None and origin != f"http://{host}":
                raise RequestError("sent by another page")

    return Handler


def _jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
