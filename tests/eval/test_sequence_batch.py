"""Sequences as one batch: files as one sequence after the other gives them, whatever happens to some of them."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import Videos, video

from lib.data.sequence import Frames
from lib.eval.record import RunRecord, describe_differences
from lib.eval.results import ResultFiles, read_boxes, read_seconds
from lib.eval.run import sequence_batch
from lib.eval.run.benchmark import RunOptions, run_test
from lib.eval.run.runner import RunSummary, TrackingWorker, run_benchmark
from lib.models.mmg import TrackOutput
from lib.tracker import TrackerSpec
from lib.tracker.mmg import MMGTracker, TargetCrops
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


@dataclass(frozen=True)
class Spec(TrackerSpec):
    """Of a tracker around `Brightness`."""

    name: str = "mmg"
    device: str = "cpu"

    def build(self) -> MMGTracker:
        update = TemplateUpdate("score", interval=3, threshold=0.3)
        return MMGTracker(Brightness(), TargetCrops(16, 2.0, 32, 4.0), update)


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


def videos(*frames: Noise, outside: int = -1) -> Videos:
    """Return a data set of `video-0`, `video-1` ...; that of index `outside` begins with a box outside the frame."""
    return Videos(
        tuple(
            video(f"video-{index}", np.tile(FIRST_BOX + (1000 if index == outside else 0), (len(each), 1)), each)
            for index, each in enumerate(frames)
        )
    )


MIXED = (Noise(0, 7), Noise(1, 12), Noise(2, 9, 5), Noise(3, 1), Noise(4, 5), Noise(5, 8, 0), Noise(6, 6))


def run(folder: Path, dataset: Videos, batch: int, workers: int = 1) -> RunSummary:
    folder.mkdir(exist_ok=True)
    return run_benchmark([Spec()] * workers, dataset, folder, batch=batch, show_progress=False)


def decoding() -> list[str]:
    """Return the threads that are left of those that decode."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decoder")]


def assert_same_results(one: Path, other: Path) -> None:
    """Compare the boxes of two folders, which must hold the same files; printed digits may differ by one."""
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        if not name.endswith(("_time.txt", "_score.txt")):
            np.testing.assert_allclose(read_boxes(one / name), read_boxes(other / name), rtol=0, atol=2e-4)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_batch_gives_what_one_by_one_gives_and_failures_end_alone(workers, tmp_path):
    dataset = videos(*MIXED, outside=4)
    alone, together = run(tmp_path / "alone", dataset, 1), run(tmp_path / "together", dataset, 3, workers)
    assert_same_results(tmp_path / "alone", tmp_path / "together")
    assert not decoding()
    failures = {outcome.sequence: outcome.failure or "" for outcome in together.failures}
    assert failures.keys() == {outcome.sequence for outcome in alone.failures} == {"video-2", "video-4", "video-5"}
    assert "00000005.jpg is damaged" in failures["video-2"] and "Traceback" in failures["video-2"]
    assert "outside the frame" in failures["video-4"] and "00000000.jpg is damaged" in failures["video-5"]
    assert {(each.sequence, each.num_frames) for each in together.outcomes if each.failure is None} == {
        ("video-0", 7), ("video-1", 12), ("video-3", 1), ("video-6", 6)
    }  # fmt: skip
    # Run again without the damage, only what is missing is tracked.
    whole = videos(*(replace(frames, damaged=-1) for frames in MIXED))
    again = run(tmp_path / "together", whole, 3, workers)
    assert again.succeeded and len(again.skipped) == 4
    run(tmp_path / "alone", whole, 1)
    assert_same_results(tmp_path / "alone", tmp_path / "together")


def test_the_time_of_a_frame_is_its_share_of_the_step(tmp_path, monkeypatch):
    """By a clock that advances by 6 s whenever it is read: a step lasts as long, and so does a first frame."""
    now = [0.0]

    def tick(device: str) -> float:
        now[0] += 6.0
        return now[0]

    monkeypatch.setattr(sequence_batch, "read_clock", tick)
    run(tmp_path, videos(Noise(0, 5), Noise(1, 3), Noise(2, 3)), 3)
    seconds = [read_seconds(ResultFiles(tmp_path, f"video-{index}").seconds).tolist() for index in range(3)]
    assert seconds == [[6, 2, 2, 6, 6], [6, 2, 2], [6, 2, 2]]


def test_an_interrupt_leaves_whole_files_and_no_thread(tmp_path):
    done = [0]

    def advance(num_frames: int) -> None:
        done[0] += num_frames
        if done[0] > 12:
            raise KeyboardInterrupt

    worker = TrackingWorker(Spec(), videos(Noise(0, 4), Noise(1, 30)), tmp_path, batch=2)
    with pytest.raises(KeyboardInterrupt):
        list(worker.work(iter([0, 1]), advance))
    assert not decoding()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video-0.txt", "video-0_score.txt", "video-0_time.txt"]
    assert ResultFiles(tmp_path, "video-0").is_complete(4, FIRST_BOX)


def test_results_of_batches_are_not_mixed_with_others():
    alone = RunRecord("mmg", "tiny", "folder", None, None, {})
    assert describe_differences(alone, replace(alone, batch=8)) == {"batch": "batch 1, now 8"}


@pytest.mark.parametrize(("tracker", "batch", "message"), [("static", 4, "has no network"), ("mmg", 0, "--batch 0")])
def test_a_batch_that_cannot_be_is_refused_before_anything_is_written(tracker, batch, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_test(TrackerSpec(tracker, benchmark="synthetic"), RunOptions(batch=batch, results_dir=tmp_path / "results"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("cores", "expected"), [(2, (1, 1, 1)), (16, (4, 15, 6))])
def test_decoding_takes_the_cores_that_tracking_leaves(cores, expected, monkeypatch):
    monkeypatch.setattr(sequence_batch, "available_cores", lambda: cores)
    count = sequence_batch.default_num_decoders
    assert (count(4, 1, 1), count(64, 1, 1), count(64, 2, 2)) == expected
