"""Decoding in other processes: the frames as they are, errors with their cause, and nothing left running.

Imports little, because every process that a test starts imports this file, too.
"""

import multiprocessing
import os
import signal
from collections.abc import Sequence as Indexed
from dataclasses import dataclass

import numpy as np
import pytest

from lib.data.sequence import Frames, Sequence
from lib.eval.run.frame_pool import FramePool, default_num_decoders


@dataclass(frozen=True)
class Noise(Frames):
    """Frames drawn when asked for, each larger than the one before; one may be damaged or end the process."""

    seed: int
    length: int
    damaged: int = -1
    deadly: int = -1

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        if index == self.damaged:
            raise ValueError(f"{index:08d}.jpg is damaged")
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.random.default_rng((self.seed, index)).integers(0, 256, (6 + index, 9, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Videos:
    frames: tuple[Noise, ...]
    images_only: bool = False

    @property
    def names(self) -> Indexed[str]:
        return [str(index) for index in range(len(self.frames))]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sequence:
        none = np.zeros(0, bool)
        return Sequence(self.names[index], self.frames[index], np.zeros((0, 4)), none, none)


def test_frames_are_those_of_the_videos_until_something_goes_wrong() -> None:
    dataset = Videos((Noise(0, 8), Noise(1, 5), Noise(2, 9, damaged=4), Noise(3, 9, deadly=5)))
    with FramePool(dataset, 1) as pool:
        streams = [pool.open(index) for index in range(3)]
        for number in range(8):
            for stream, frames in zip(streams, dataset.frames, strict=False):
                if number == frames.damaged:
                    with pytest.raises(OSError, match=r"Traceback(.|\n)*00000004\.jpg is damaged"):
                        stream.read()
                    stream.close()
                elif number < frames.length and not number > frames.damaged >= 0:
                    np.testing.assert_array_equal(stream.read(), frames[number])
                    assert stream.num_frames == frames.length
        # A process that dies ends the video that it was busy with, and another reads on in the rest.
        dying, other = pool.open(3), pool.open(0)
        for number in range(3):
            np.testing.assert_array_equal(dying.read(), dataset.frames[3][number])
        with pytest.raises(OSError, match=r"has ended \(exit code -9\)"):
            for _ in range(3):
                dying.read()
        for stream, frames in ((other, dataset.frames[0]), (pool.open(1), dataset.frames[1])):
            for number in range(frames.length):
                np.testing.assert_array_equal(stream.read(), frames[number])
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_that_dies_leaves_the_videos_of_others_alone() -> None:
    dataset = Videos((Noise(0, 40, deadly=2), Noise(1, 40)))
    with FramePool(dataset, 2) as pool:
        dying, other = pool.open(0), pool.open(1)
        dying.read()
        with pytest.raises(OSError, match="has ended"):
            for _ in range(3):
                dying.read()
        later = pool.open(1)
        for number in range(40):
            np.testing.assert_array_equal(other.read(), dataset.frames[1][number])
            np.testing.assert_array_equal(later.read(), dataset.frames[1][number])


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, (1, 1, 1)), (2, (1, 1, 1)), (16, (4, 15, 6))], ids=["one", "two", "sixteen"]
)
def test_decoding_takes_the_cores_that_tracking_leaves(
    cores: int, expected: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.eval.run.frame_pool.available_cores", lambda: cores)
    numbers = default_num_decoders(4, 1, 1), default_num_decoders(64, 1, 1), default_num_decoders(64, 2, 2)
    assert numbers == expected
