"""The frames of a video file by exact index: in order by OpenCV, at random by PyAV where it is installed."""

import os
from bisect import bisect_right
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.images.jpeg import require_size
from lib.data.sequence import Frames
from lib.files import text_path


class VideoFile(Frames):
    """A video; the same pixels whatever the order they are asked for in.

    With PyAV a frame at random costs the decoding from the key frame before it, and `len` reads the file without
    decoding it. Without, or of a file that does not state the time of each frame, one further on costs the decoding of
    all between, one further back and `len` that from the start.
    """

    def __init__(self, path: Path) -> None:
        """Open a video; ValueError where it cannot be decoded or has no frames."""
        self.path = path
        self._open()
        if not self._capture.grab():
            raise ValueError(f"the video {path} has no frames")
        self._rewind()

    def __len__(self) -> int:
        if self._length is None:
            seeker = self._find_seeker()
            # Containers state wrong numbers, so a video is walked through where its packets are not known.
            self._length = sum(1 for _ in iter(_opened(self.path).grab, False)) if seeker is None else len(seeker)
        return self._length

    def __getitem__(self, index: int) -> np.ndarray:
        if self._process != os.getpid():  # a decoder inherited by a fork shares its place in the file with the parent's
            self._open()
        if index < 0:
            index += len(self)
        if index not in {0, self._next} and (seeker := self._find_seeker()) is not None:
            return seeker[index]
        if index < self._next:
            self._rewind()
        while self._next <= index:
            if not self._capture.grab():
                if index < (self._length or 0):
                    raise ValueError(f"frame {index} of the video {self.path} cannot be decoded")
                raise IndexError(f"frame {index} of the video {self.path}, which has {self._next}")
            self._next += 1
        ok, picture = self._capture.retrieve()
        if not ok:
            raise ValueError(f"frame {index} of the video {self.path} cannot be decoded")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def size(self, index: int) -> tuple[int, int]:
        capture = self._capture
        return int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))

    def __getstate__(self) -> Path:
        """Travel to another process as a path: an open decoder cannot."""
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self._length: int | None = None
        self._seeker: _Seeker | None = None
        self._looked_for_seeker = False
        self._process = os.getpid()
        self._rewind()

    def _rewind(self) -> None:
        """Open the file anew; `_next` is the frame that the decoder gives next."""
        self._capture = _opened(self.path)
        self._next = 0

    def _find_seeker(self) -> "_Seeker | None":
        if not self._looked_for_seeker:
            self._looked_for_seeker = True
            # OpenCV turns a picture where the header says so, PyAV does not.
            turned = self._capture.get(cv2.CAP_PROP_ORIENTATION_META) != 0
            seeker = None if turned else _open_seeker(self.path)
            # A video may be of colours that the two read differently, or cut off at its end.
            if seeker is not None and seeker.reads(0, VideoFile(self.path)[0]) and seeker.reads(len(seeker) - 1):
                self._seeker = seeker
        return self._seeker


class _Seeker:
    """Single frames of a video, each known by its time: the key frame before it is sought, and decoded from."""

    def __init__(self, path: Path, container: Any, times: list[int], keys: list[tuple[int, int]]) -> None:
        """Refer to what `_open_seeker` found.

        Args:
            path: of the file.
            container: PyAV's.
            times: of all frames, ascending, in units of the stream.
            keys: of the key frames, ascending: time, and the place to seek.
        """
        self._path = path
        self._container = container
        self._stream = container.streams.video[0]
        self._stream.codec_context.thread_count = 1  # several would decode beyond the frame that is asked for
        self._times = times
        self._keys = keys
        self._frames: Any = None
        self._last = times[0]  # time of the frame decoded last

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self._times):
            raise IndexError(f"frame {index} of the video {self._path}, which has {len(self._times)}")
        time = self._times[index]
        key, place = self._keys[bisect_right(self._keys, time, key=lambda each: each[0]) - 1]
        if self._frames is None or not key <= self._last < time:
            self._container.seek(place, stream=self._stream)
            self._frames = self._container.decode(self._stream)
        frames, self._frames = self._frames, None  # sought anew after an error
        frame = next((frame for frame in frames if frame.pts >= time), None)
        if frame is None or frame.pts != time:
            raise ValueError(f"frame {index} of the video {self._path} cannot be decoded")
        self._frames, self._last = frames, time
        return frame.to_ndarray(format="rgb24")

    def reads(self, index: int, expected: np.ndarray | None = None) -> bool:
        """Return whether a frame can be decoded, and is the expected one."""
        try:
            picture = self[index]
        except (ValueError, OSError):
            return False
        return expected is None or np.array_equal(picture, expected)


def _open_seeker(path: Path) -> _Seeker | None:
    """Read the times of a video's frames; None without PyAV, or where not every frame has a time of its own."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        return None
    try:
        container = av.open(text_path(path), metadata_errors="replace")
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    except (FFmpegError, IndexError):
        return None
    shown = [packet for packet in packets if not packet.is_discard]
    times = sorted(packet.pts for packet in shown if packet.pts is not None)
    keys = sorted(
        (packet.pts, packet.pts if packet.dts is None else packet.dts)
        for packet in packets
        if packet.is_keyframe and packet.pts is not None
    )
    if len(set(times)) != len(shown) or not keys or not times or times[0] < keys[0][0]:
        return None
    return _Seeker(path, container, times, keys)


def _opened(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise FileNotFoundError(f"the video {path} does not exist")
    capture = cv2.VideoCapture(text_path(path))  # the start of a bare `a:b.mp4` would be a protocol
    if not capture.isOpened() or path.suffix == ".txt":  # of which FFmpeg films the letters
        raise ValueError(f"{path} is not a video that can be decoded")
    try:
        require_size(int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
    except ValueError as error:
        raise ValueError(f"{path} is not a video that can be decoded: {error}") from None
    return capture
