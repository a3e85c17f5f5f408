"""Where the time goes in the loop that tests run: decoding, waiting for it, tracking, writing; alone and in batches."""

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Sequence as Indexed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lib.config.load import experiment_to_dict, load
from lib.data.datasets import open_dataset
from lib.data.sequence import Frames, Sequence, SequenceDataset
from lib.eval.results import ResultFiles, read_seconds
from lib.eval.run.runner import TrackingWorker
from lib.eval.run.sequence import cpu_threads
from lib.eval.run.sequence_batch import default_num_decoders
from lib.models.build import build_model
from lib.profiling.clock import describe_device
from lib.profiling.videos import make_videos
from lib.tracker import TrackerSpec
from lib.tracker.live import open_video, parse_box

_WARM_UP = 5  # steps after the first frames, which are not timed
_NUM_DRAWN = 60
_DRAWN_SIDE = 120.0  # px of the target in a drawn video


def profile_track(
    video: Path | None,
    config: str | None,
    *,
    checkpoint: Path | None = None,
    box: str | None = None,
    batches: Indexed[int] = (1,),
    num_frames: int | None = None,
    num_threads: int = 1,
    device_name: str = "auto",
    json_file: Path | None = None,
) -> str:
    """Time the loop on one video and, in batches, on copies of it; return the report as text.

    Args:
        video: file or folder of pictures; None for drawn JPEG frames of 1280 x 720.
        config: of the tracker; None for the checkpoint's own.
        checkpoint: None for random weights, whose boxes mean nothing and take as long.
        box: the target on the first frame of a given video, x,y,w,h.
        batches: how many copies advance at once.
        num_frames: None for all, or 60 drawn ones.
    """
    if (video is None) != (box is None):
        raise ValueError(
            "a video needs a target, and a drawn one has its own: give VIDEO and --box x,y,w,h, or neither"
        )
    if checkpoint is None and config is None:
        raise ValueError("give --config NAME for random weights, or --checkpoint FILE")
    with tempfile.TemporaryDirectory() as folder:
        if checkpoint is None and config is not None:
            spec = TrackerSpec("mmg", None, _write_random_weights(config, Path(folder)), device_name)
        else:
            spec = TrackerSpec("mmg", config, checkpoint, device_name)
        name = spec.config_name
        if video is None:
            make_videos(Path(folder) / "drawn", (_DRAWN_SIDE,), num_frames or _NUM_DRAWN)
            drawn = open_dataset("folder", "test", Path(folder) / "drawn")[0]
            frames, box_xywh = drawn.frames, drawn.boxes_xywh[0]
        else:
            assert box is not None
            frames, box_xywh = open_video(video)[0], parse_box(box)
        length = min(len(frames), num_frames or len(frames))
        if length < _WARM_UP + 3:
            raise ValueError(f"{length} frames are too few to time: {_WARM_UP + 3} are the least")
        height, width = frames[0].shape[:2]
        costs = []
        with cpu_threads(num_threads):
            device = describe_device(spec.choose_device())
            for batch in batches:
                copies = Copies(TimedFrames(frames, length), box_xywh, batch)
                results = Path(folder) / str(batch)
                results.mkdir(exist_ok=True)
                costs.append(measure_loop(spec, copies, results, default_num_decoders(batch, 1, num_threads)))
    if json_file is not None:
        figures = {"device": device, "config": name, "costs": [dataclasses.asdict(cost) for cost in costs]}
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    what = "random weights" if checkpoint is None else str(checkpoint)
    return "\n".join([f"{name} ({what}) on {device}, {length} frames of {width} x {height}", *describe_loops(costs)])


@dataclass(frozen=True)
class LoopCost:
    """The loop over copies of one video, `batch` at once; seconds are those of a frame of one video.

    Attributes:
        frames: timed, of all of them.
        decode: by the thread that reads ahead; None in a batch, where several do it at once.
        wait: for a decoded frame, and all else between two steps of the tracker.
        write: of the result files, shared out among the frames.
        frames_per_second: of all videos together.
        videos_per_hour: of this length.
    """

    batch: int
    frames: int
    decode: float | None
    wait: float
    track: float
    write: float
    busy: float
    frames_per_second: float
    videos_per_hour: float


@dataclass(frozen=True)
class TimedFrames(Frames):
    """The first frames of a video; notes how long each took to decode, whichever thread it was."""

    frames: Frames
    length: int
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        started = time.perf_counter()
        image = self.frames[index]
        self.seconds.append(time.perf_counter() - started)
        return image


class Copies(SequenceDataset):
    """A data set of copies of one video, from a box on its first frame."""

    def __init__(self, frames: TimedFrames, box_xywh: np.ndarray, number: int) -> None:
        self.frames = frames
        self.names = [f"copy-{index}" for index in range(number)]
        self._box_xywh = box_xywh

    def __getitem__(self, index: int) -> Sequence:
        one = np.ones(1, bool)
        return Sequence(self.names[index], self.frames, self._box_xywh[None].astype(np.float64), one, ~one)


def measure_loop(spec: TrackerSpec, copies: Copies, folder: Path, num_decoders: int) -> LoopCost:
    """Track all copies at once as a test does, with result files in `folder`, and return what it cost."""
    clock: list[float] = []
    worker = TrackingWorker(spec, copies, folder, len(copies), num_decoders)
    outcomes = list(worker.work(iter(range(len(copies))), lambda num_frames: clock.append(time.perf_counter())))
    end = time.perf_counter()
    for outcome in outcomes:
        if outcome.failure is not None:
            raise ValueError(f"the video could not be tracked:\n{outcome.failure}")
    seconds = np.array([read_seconds(ResultFiles(folder, name).seconds) for name in copies.names])
    return loop_cost(seconds, clock, end, copies.frames.seconds if len(copies) == 1 else None)


def loop_cost(seconds: np.ndarray, clock: list[float], end: float, decoding: list[float] | None) -> LoopCost:
    """Sum up what was measured of a loop, without its first steps.

    `seconds`, (copies, frames), are the tracker's; the clock was read when each copy's first frame was done and then at
    each step, and at the end when the results were written. `decoding` are seconds of each frame; None for a batch.
    """
    batch, length = seconds.shape
    timed = seconds[:, 1 + _WARM_UP :]
    wall = end - clock[batch - 1 + _WARM_UP]
    track, write = float(timed.sum()), end - clock[-1]
    return LoopCost(
        batch=batch,
        frames=timed.size,
        decode=None if decoding is None else statistics.fmean(decoding[1 + _WARM_UP :]),
        wait=(wall - track - write) / timed.size,
        track=track / timed.size,
        write=write / timed.size,
        busy=track / wall,
        frames_per_second=timed.size / wall,
        videos_per_hour=3600 * timed.size / wall / length,
    )


def describe_loops(costs: Indexed[LoopCost]) -> list[str]:
    """Return the lines of a table, a row for each batch."""
    lines = ["batch   decode     wait    track    write   ms a frame    busy   frames/s   videos/hour"]
    for cost in costs:
        decode = "-" if cost.decode is None else f"{1e3 * cost.decode:.2f}"
        total = cost.wait + cost.track + cost.write
        lines.append(
            f"{cost.batch:5d} {decode:>8s} {1e3 * cost.wait:8.2f} {1e3 * cost.track:8.2f} {1e3 * cost.write:8.3f}"
            f" {1e3 * total:12.2f} {cost.busy:7.1%} {cost.frames_per_second:10.1f} {cost.videos_per_hour:13.0f}"
        )
    return [*lines, "decode: by a thread that reads ahead; in batches, by several"]


def _write_random_weights(config: str, folder: Path) -> Path:
    experiment = load(config)
    path = folder / "random.pth"
    state = build_model(experiment, pretrained=False).state_dict()
    torch.save({"config": experiment_to_dict(experiment), "model": state, "score_trained": True}, path)
    return path
