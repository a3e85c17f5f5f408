"""Testing in lockstep: files as one sequence after the other gives them, whatever happens to some of them."""

import dataclasses
import multiprocessing
from collections.abc import Sequence as Indexed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.data.sequence import Frames, Sequence
from lib.eval.record import RunRecord, describe_difference
from lib.eval.results import ResultFiles, read_boxes, read_seconds
from lib.eval.run import lockstep
from lib.eval.run.benchmark import run_test
from lib.eval.run.runner import RunSummary, run_benchmark
from lib.models.mmg import TrackOutput
from lib.tracker import TrackerSpec
from lib.tracker.mmg import MMGTracker
from lib.tracker.template_update import TemplateUpdate

FIRST_BOX = np.array([30.0, 20.0, 24.0, 16.0])


class Brightness:
    """A network that answers a box and a score from the means of the crops."""

    score = torch.nn.Identity()

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        assert online_template is not None
        first, middle, last = (crop.double().mean(dim=(1, 2, 3)) / 255 for crop in (template, search, online_template))
        corners = torch.stack((first / 2, middle / 2, 0.55 + last / 3, 0.6 + middle / 3), dim=1)
        return TrackOutput(corners.float(), (0.2 + middle).float())


@dataclass
class Builder:
    """Builds a tracker around `Brightness`."""

    device: str = "cpu"

    def build(self) -> MMGTracker:
        return MMGTracker(
            Brightness(),
            template_size=16,
            template_factor=2.0,
            search_size=32,
            search_factor=4.0,
            update=TemplateUpdate("score", interval=3, threshold=0.3),
        )


@dataclass(frozen=True)
class Noise(Frames):
    """Frames drawn when asked for: noise of a random brightness. They grow, and frame `damaged` is damaged."""

    seed: int
    length: int
    damaged: int = -1

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        if index == self.damaged:
            raise ValueError(f"{index:08d}.jpg is damaged")
        rng = np.random.default_rng((self.seed, index))
        noise = rng.integers(0, 256, (60 + index, 90 + self.seed, 3))
        return (noise * rng.uniform(0.3, 1)).astype(np.uint8)


@dataclass(frozen=True)
class Videos:
    """A data set of `video-0`, `video-1` ...; those of index `outside` begin with a box outside the frame."""

    frames: tuple[Noise, ...]
    outside: int = -1
    images_only: bool = False

    @property
    def names(self) -> Indexed[str]:
        return [f"video-{index}" for index in range(len(self.frames))]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sequence:
        length = len(self.frames[index])
        return Sequence(
            name=self.names[index],
            frames=self.frames[index],
            boxes_xywh=np.tile(FIRST_BOX + (1000 if index == self.outside else 0), (length, 1)),
            visible=np.ones(length, bool),
            absent=np.zeros(length, bool),
        )


class ReadHere:
    """In place of a pool: no process has to start."""

    def __init__(self, dataset: Videos, num_processes: int) -> None:
        self._dataset = dataset

    def __enter__(self) -> "ReadHere":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def open(self, index: int) -> "StreamHere":
        return StreamHere(self._dataset.frames[index])


class StreamHere:
    def __init__(self, frames: Noise) -> None:
        self.num_frames = len(frames)
        self._images = (frames[index] for index in range(len(frames)))

    def read(self) -> np.ndarray:
        return next(self._images)

    def close(self) -> None:
        self._images.close()


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "FramePool", ReadHere)


MIXED = Videos(
    (Noise(0, 7), Noise(1, 12), Noise(2, 9, damaged=5), Noise(3, 1), Noise(4, 5), Noise(5, 8, damaged=0), Noise(6, 6)),
    outside=4,
)


def run(folder: Path, dataset: Videos, batch: int, workers: int = 1) -> RunSummary:
    folder.mkdir(exist_ok=True)
    return run_benchmark([Builder()] * workers, dataset, folder, batch=batch, show_progress=False)


def assert_same_results(one: Path, other: Path) -> None:
    """Compare the boxes of two folders, which must hold the same files; printed digits may differ by one."""
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        if not name.endswith(("_time.txt", "_score.txt")):
            np.testing.assert_allclose(read_boxes(one / name), read_boxes(other / name), rtol=0, atol=2e-4)


@pytest.mark.parametrize("pool", ["read_here", pytest.param("processes", marks=pytest.mark.slow)])
def test_in_lockstep_as_one_by_one_and_failures_end_alone(
    pool: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if pool == "read_here":
        request.getfixturevalue(pool)
    alone, together = run(tmp_path / "alone", MIXED, 1), run(tmp_path / "together", MIXED, 3)
    assert_same_results(tmp_path / "alone", tmp_path / "together")
    assert not multiprocessing.active_children()
    failures = {outcome.sequence: outcome.failure or "" for outcome in together.failures}
    assert failures.keys() == {outcome.sequence for outcome in alone.failures} == {"video-2", "video-4", "video-5"}
    assert "00000005.jpg is damaged" in failures["video-2"] and "Traceback" in failures["video-2"]
    assert "outside the frame" in failures["video-4"] and "00000000.jpg is damaged" in failures["video-5"]
    assert {(each.sequence, each.num_frames) for each in together.outcomes if each.failure is None} == {
        ("video-0", 7), ("video-1", 12), ("video-3", 1), ("video-6", 6)
    }  # fmt: skip
    # Run again without the damage, only what is missing is tracked.
    whole = Videos(tuple(Noise(frames.seed, frames.length) for frames in MIXED.frames))
    again = run(tmp_path / "together", whole, 3)
    assert again.succeeded and len(again.skipped) == 4
    run(tmp_path / "alone", whole, 1)
    assert_same_results(tmp_path / "alone", tmp_path / "together")


@pytest.mark.usefixtures("read_here")
def test_the_time_of_a_frame_is_its_share_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that advances by 6 s whenever it is read: a step lasts as long, and so does a first frame."""
    now = [0.0]

    def tick(device: str) -> float:
        now[0] += 6.0
        return now[0]

    monkeypatch.setattr(lockstep, "read_clock", tick)
    run(tmp_path, Videos((Noise(0, 5), Noise(1, 3), Noise(2, 3))), 3)
    seconds = [read_seconds(ResultFiles(tmp_path, f"video-{index}").seconds).tolist() for index in range(3)]
    assert seconds == [[6, 2, 2, 6, 6], [6, 2, 2], [6, 2, 2]]


@pytest.mark.slow
def test_an_interrupt_leaves_whole_files_and_no_process(tmp_path: Path) -> None:
    done = [0]

    def advance(num_frames: int) -> None:
        done[0] += num_frames
        if done[0] > 12:
            raise KeyboardInterrupt

    track = lockstep.ready_to_track(Builder(), Videos((Noise(0, 4), Noise(1, 30))), tmp_path, advance, batch=2)
    with pytest.raises(KeyboardInterrupt):
        list(track(iter([0, 1])))
    assert not multiprocessing.active_children()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video-0.txt", "video-0_score.txt", "video-0_time.txt"]
    assert ResultFiles(tmp_path, "video-0").is_complete(4, FIRST_BOX)


@pytest.mark.slow
def test_workers_take_batches_too(tmp_path: Path) -> None:
    run(tmp_path / "alone", MIXED, 1)
    together = run(tmp_path / "together", MIXED, 2, workers=2)
    assert_same_results(tmp_path / "alone", tmp_path / "together")
    assert {outcome.sequence for outcome in together.failures} == {"video-2", "video-4", "video-5"}


def test_results_of_batches_are_not_mixed_with_others() -> None:
    alone = RunRecord("mmg", "tiny", "folder", None, None, {})
    assert describe_difference(alone, dataclasses.replace(alone, batch=8)) == "batch 1, now 8"


@pytest.mark.parametrize(("tracker", "batch", "message"), [("static", 4, "has no network"), ("mmg", 0, "--batch 0")])
def test_a_batch_that_cannot_be_is_refused_before_anything_is_written(
    tracker: str, batch: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run_test(TrackerSpec(tracker, benchmark="synthetic"), batch=batch, results_dir=tmp_path / "results")
    assert not list(tmp_path.iterdir())
