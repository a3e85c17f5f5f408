"""Frames of many videos at once, decoded ahead in processes of their own and handed over in shared memory."""

import multiprocessing
import signal
import traceback
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np
import torch.multiprocessing  # with it, a tensor goes through a pipe as the name of its shared memory
from torch import Tensor

from lib.data.sequence import Frames, SequenceDataset
from lib.models.device import available_cores

_PLACES = 3  # frames of a video that are kept: the one at work, and two ahead


class _Wanted(NamedTuple):
    """A frame to decode: of which stream, of which sequence of the data set, and its index; None ends the stream."""

    stream: int
    sequence: int
    frame: int | None


class _Decoded(NamedTuple):
    """A decoded frame, or why there is none.

    Attributes:
        stream: which it belongs to.
        num_frames: of its video.
        shape: (H, W, 3).
        memory: (places, bytes) uint8 shared memory where this frame and the next ones lie, by their index modulo
            `_PLACES`; None for the same as before.
        failure: a traceback, or None.
    """

    stream: int
    num_frames: int
    shape: tuple[int, ...]
    memory: Tensor | None
    failure: str | None = None


class FramePool:
    """Processes that decode, each some of the open videos, so that a video is always read by one and in order.

    To be closed, as a context manager does; then all of them have ended.

    Args:
        dataset: of the videos; sent to every process.
        num_processes: at least 1.
    """

    def __init__(self, dataset: SequenceDataset, num_processes: int) -> None:
        self._num_streams = 0
        self._decoders: list[_Decoder] = []
        try:
            for _ in range(num_processes):
                self._decoders.append(_Decoder(dataset))
        except BaseException:
            self.close()
            raise

    def open(self, sequence: int) -> "FrameStream":
        """Begin to decode a sequence, by its index in the data set."""
        decoder = min(self._decoders, key=lambda decoder: decoder.num_streams)
        self._num_streams += 1
        return FrameStream(decoder, self._num_streams, sequence)

    def close(self) -> None:
        """End all processes at once."""
        for decoder in self._decoders:
            decoder.close()

    def __enter__(self) -> "FramePool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FrameStream:
    """The frames of one video in order; at most `_PLACES` of them are in memory."""

    def __init__(self, decoder: "_Decoder", number: int, sequence: int) -> None:
        self._decoder = decoder
        self._number = number
        self._sequence = sequence
        self._memory: Tensor | None = None
        self._asked = 0
        self._next = 0
        self.num_frames = 1  # until the first frame says how many there are
        decoder.add(number)
        self._ask()

    def read(self) -> np.ndarray:
        """Return the next frame, (H, W, 3) uint8 RGB, which is overwritten after the next call.

        Raises:
            OSError: it cannot be decoded, with the traceback of the process that tried; or that process has died of it.
        """
        decoded = self._decoder.receive(self._number)
        if decoded.failure is not None:
            raise OSError(f"a frame could not be decoded:\n{decoded.failure}")
        self.num_frames = decoded.num_frames
        self._memory = decoded.memory if decoded.memory is not None else self._memory
        assert self._memory is not None
        image = _picture_in(self._memory, self._next, decoded.shape)
        self._next += 1
        self._ask()
        return image

    def close(self) -> None:
        """Have no more frames decoded."""
        self._decoder.remove(self._number)

    def _ask(self) -> None:
        # The frame last handed out is still in use, so its place is not free yet.
        while self._asked < min(self._next + _PLACES - 1, self.num_frames):
            self._decoder.send(_Wanted(self._number, self._sequence, self._asked))
            self._asked += 1


class _Decoder:
    """One of the processes, and what it has answered but nobody has asked for yet, by stream.

    It answers in the order in which it is asked. So where it dies, it is known of which frame: that stream fails, and a
    new process goes on with the others.
    """

    def __init__(self, dataset: SequenceDataset) -> None:
        self._dataset = dataset
        self._arrived: dict[int, deque[_Decoded]] = {}
        self._unanswered: deque[_Wanted] = deque()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # threads and CUDA do not survive a fork
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_decode, args=(theirs, self._dataset), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends when the process does

    @property
    def num_streams(self) -> int:
        return len(self._arrived)

    def add(self, stream: int) -> None:
        self._arrived[stream] = deque()

    def remove(self, stream: int) -> None:
        del self._arrived[stream]
        self.send(_Wanted(stream, 0, None))

    def send(self, wanted: _Wanted) -> None:
        """Ask for a frame; answers that are there are taken first, for two full pipes would wait for each other."""
        while self._connection.poll():
            self._take()
        if wanted.frame is not None:
            self._unanswered.append(wanted)
        try:
            self._connection.send(wanted)
        except OSError:
            self._replace()

    def receive(self, stream: int) -> _Decoded:
        """Wait for the next answer of a stream."""
        while not self._arrived[stream]:
            self._take()
        return self._arrived[stream].popleft()

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()

    def _take(self) -> None:
        try:
            decoded: _Decoded = self._connection.recv()
        except (EOFError, OSError):
            self._replace()
            return
        self._unanswered.popleft()
        if decoded.stream in self._arrived:
            self._arrived[decoded.stream].append(decoded)

    def _replace(self) -> None:
        """Start a process in the place of one that has died, and ask it what that has not answered any more."""
        self._process.join(timeout=5)
        failure = f"the process that decodes the frames has ended (exit code {self._process.exitcode})"
        self.close()
        lost, self._unanswered = self._unanswered, deque()
        self._start()
        for wanted in lost:
            if wanted.stream != lost[0].stream and wanted.stream in self._arrived:
                self.send(wanted)
        if lost and lost[0].stream in self._arrived:
            self._arrived[lost[0].stream].append(_Decoded(lost[0].stream, 0, (), None, failure))


class _Video:
    """One video in a decoding process, and the memory that it shares."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._num_frames = len(frames)
        self._memory = torch.empty((_PLACES, 0), dtype=torch.uint8)

    def decode(self, stream: int, index: int) -> _Decoded:
        """Put a frame into its place; new memory is shared when it is larger than those before."""
        image = self._frames[index]
        new = image.nbytes > self._memory.shape[1]
        if new:
            self._memory = _shared_memory(image.nbytes)
        np.copyto(_picture_in(self._memory, index, image.shape), image, casting="no")
        return _Decoded(stream, self._num_frames, image.shape, self._memory if new else None)


def _decode(connection: Connection, dataset: SequenceDataset) -> None:
    """Be one of the processes: answer what is wanted, in order, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides, and closes the pool
    cv2.setNumThreads(1)
    videos: dict[int, _Video] = {}
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            wanted: _Wanted = connection.recv()
            if wanted.frame is None:
                videos.pop(wanted.stream, None)
                continue
            try:
                if wanted.stream not in videos:
                    videos[wanted.stream] = _Video(dataset[wanted.sequence].frames)
                decoded = videos[wanted.stream].decode(wanted.stream, wanted.frame)
            except Exception:  # the one boundary of the project: it ends this sequence, and the others go on
                decoded = _Decoded(wanted.stream, 0, (), None, traceback.format_exc())
            connection.send(decoded)


def _picture_in(memory: Tensor, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the frame of an index as a picture in shared memory."""
    return memory[index % _PLACES].numpy()[: int(np.prod(shape))].reshape(shape)


def _shared_memory(num_bytes: int) -> Tensor:
    try:
        return torch.empty((_PLACES, num_bytes), dtype=torch.uint8).share_memory_()
    except RuntimeError as error:
        raise OSError(f"no shared memory is left for decoded frames, {_PLACES * num_bytes / 1e6:.0f} MB for each video "
                      "at work: use a smaller --batch, or start the container with more (docker run --shm-size 8g)"
                      ) from error  # fmt: skip


def default_num_decoders(batch: int, num_workers: int, num_threads: int) -> int:
    """Return the number of decoding processes of each worker: what its threads leave of the cores, at least one."""
    return max(1, min(batch, (available_cores() - num_workers * num_threads) // num_workers))
