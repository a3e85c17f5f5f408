"""The files that five paths enter are those that CONTRIBUTING.md lists; a path that takes a detour shows here."""

import io
import re
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest
from conftest import QUIT, FakeTrax, vot_request

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.datasets import open_dataset
from lib.data.images.frames import ImageFiles
from lib.data.samples.mixture import open_sources, sample_id
from lib.data.samples.training_set import TrainingSet
from lib.eval.benchmarks import find_benchmark
from lib.eval.report.tables import format_table
from lib.eval.run.sequence import track_and_write
from lib.eval.score.analysis import analyze, find_results
from lib.eval.vot.server import serve
from lib.eval.vot.tracker import MaskedTracker
from lib.tracker import TrackerSpec
from lib.tracker.masks import BoxMask
from lib.train.session import open_trainer

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "tests" / "made_by_1bed283"
FILES = {f"{ROOT / folder}/": folder for folder in ("lib", "tracking")}


def trace(path: Callable[[], object]) -> list[str]:
    """Return the project's files in whose functions a second walk along the path is, in the order of entering them."""
    path()  # what is kept from the first time on is not part of the path
    entered: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(tuple(FILES)) and frame.f_code.co_name != "<module>":
            entered[str(Path(file).relative_to(ROOT))] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        path()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(entered)


def listed(title: str) -> list[str]:
    """Return the files below a path's heading in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### {title}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^- `([^`]+)`", section, re.MULTILINE)


def compare(title: str, path: Callable[[], object]) -> None:
    entered = trace(path)
    assert sorted(entered) == sorted(listed(title)), f"### {title}\n" + "\n".join(f"- `{file}`" for file in entered)


def test_a_training_sample_to_the_optimiser(small_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    experiment = small_experiment()
    trainer = open_trainer(experiment, tmp_path / "run", device="cpu")
    data, crop = experiment.data, experiment.crop
    samples = TrainingSet(open_sources(data.sources, None), data, crop, experiment.train.seed)
    ids = [sample_id(0, index) for index in range(4)]
    compare(
        "A training sample to the optimiser",
        lambda: trainer.train_step(samples.collate([samples[index] for index in ids])),
    )


def test_a_test_frame_to_a_result_file(tmp_path: Path) -> None:
    tracker = TrackerSpec("mmg", checkpoint=MADE / "run" / "step_00000008.pth", device="cpu").build()
    videos = open_dataset("folder", "test", root=MADE / "videos")
    track = partial(track_and_write, tracker, videos, 0, tmp_path, "cpu", lambda num_frames: None)
    compare("A test frame to a result file", track)
    assert (tmp_path / f"{videos.names[0]}.txt").is_file()


def test_an_analysis_to_a_table() -> None:
    benchmark = find_benchmark("folder")
    videos = benchmark.open(MADE / "videos", None)

    def table() -> str:
        return format_table(analyze(benchmark, videos, find_results(["mmg/legacy"], benchmark, MADE / "tracked")))

    compare("An analysis to a table", table)
    assert "mmg/legacy" in table()


def test_a_vot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where trax, the toolkit's own package, only hands out the requests of a run of two frames."""
    spec = TrackerSpec("mmg", checkpoint=MADE / "run" / "step_00000008.pth", device="cpu")
    tracker = MaskedTracker(spec.build(), BoxMask())
    frames = sorted((MADE / "videos" / "test-0000" / "img").iterdir())
    first = np.zeros((192, 256), np.uint8)
    first[60:100, 80:120] = 1
    requests = [vot_request("initialize", str(frames[0]), first), vot_request("frame", str(frames[1])), QUIT]
    trax = FakeTrax(2 * requests)
    monkeypatch.setattr("faulthandler.enable", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setitem(sys.modules, "trax", trax)
    compare("A VOT run", lambda: serve(lambda: tracker))
    masks = [event for event in trax.events if isinstance(event, list)]
    assert len(masks) == 4 and all(np.any(mask) for mask in masks)


def test_a_jpeg_to_a_crop(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), noise)
    frames = ImageFiles([tmp_path / "a.jpg"])
    window = CropWindow.around(np.array([300.0, 200.0, 40.0, 30.0]), 2.0, 64)
    compare("A JPEG to a crop", lambda: frames.cut(0, window))
