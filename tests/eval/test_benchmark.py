"""A test from names to result files: devices, what is refused before anything is tracked, and what is never mixed."""

import ast
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import save_random_weights, write_own_video

from lib.eval.record import (
    bare_code,
    code_sha256,
    package_versions,
    read_record,
    used_code,
)
from lib.eval.results import REPLACED, read_boxes
from lib.eval.run.benchmark import CODE, PinnedTracker, RunOptions, run_test, worker_devices
from lib.eval.run.masks import CODE as MASK_CODE
from lib.models.trained import file_sha256
from lib.tracker import TRACKERS, TrackerSpec
from lib.tracker.classical import StaticBox

BOX = "4,4,16,8"


def write_videos(root: Path, shade: int, lengths: dict[str, int]) -> Path:
    """Write videos in the own-data layout; the picture's shade is the only thing that tells two roots apart."""
    for name, length in lengths.items():
        pictures = (np.full((64, 96, 3), shade + index, np.uint8) for index in range(length))
        write_own_video(root / name, pictures, f"{BOX}\n" * length)
    return root


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return write_videos(tmp_path / "videos", 40, {"one": 3, "two": 4})


@pytest.fixture
def run(tmp_path: Path, videos: Path) -> Callable[..., int]:
    """Return a function that tests the static tracker on the videos, or as it is told."""

    def test(spec: TrackerSpec | None = None, root: Path = videos, overwrite: bool = False, *choices: str) -> int:
        spec = spec or TrackerSpec("static", device="cpu", benchmark="folder")
        return run_test(spec, RunOptions(root, None, list(choices), tmp_path / "results", overwrite=overwrite))

    return test


def folder_of(tmp_path: Path, tracker: str = "static", config: str = "default") -> Path:
    return tmp_path / "results" / tracker / config / "folder"


def test_what_cannot_track_leaves_no_folder_behind(run, tmp_path, small_experiment, monkeypatch):
    monkeypatch.delattr(cv2, "TrackerCSRT", raising=False)
    untrained = tmp_path / "weights.pth"
    save_random_weights(untrained, small_experiment(config="mmg_tiny_score"))
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    for spec, reason in (
        (TrackerSpec("csrt", benchmark="folder"), "no CSRT"),
        (TrackerSpec("vit", benchmark="folder", weights=(tmp_path / "broken.onnx",)), "cannot read"),
        (TrackerSpec("mmg", checkpoint=untrained, benchmark="folder"), "not trained"),
        (TrackerSpec("static", device="cuda:99", benchmark="folder"), "cuda:99"),
    ):
        with pytest.raises(ValueError, match=reason):
            run(spec)
    assert not (tmp_path / "results").exists()
    assert run() == 0  # another tracker's results stay
    with pytest.raises(ValueError, match="is not trained"):
        run(TrackerSpec("mmg", checkpoint=untrained, device="cpu", benchmark="folder"))
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["static"]


def test_workers_are_spread_over_all_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    gpu, gpus = torch.device("cuda"), ["cuda:0", "cuda:1", "cuda:2"]
    assert worker_devices(gpu, 2, 0) == ["cuda:0", "cuda:1"]
    assert worker_devices(gpu, 7, 0) == [*gpus, *gpus, "cuda:0"]
    assert worker_devices(torch.device("cpu"), 3, 0) == ["cpu"] * 3
    assert worker_devices(torch.device("cuda:2"), 2, 1) == ["cuda:2"] * 2
    # Two ranks of two workers each on one machine: four workers on three GPUs, no GPU with three of them.
    assert worker_devices(gpu, 2, 1) == ["cuda:2", "cuda:0"]


def test_the_same_command_goes_on_with_a_copy_of_the_data_and_new_videos(tmp_path, videos, run, capsys):
    assert run(None, videos, False, "one") == 0
    copy = tmp_path / "elsewhere"
    shutil.copytree(videos, copy)
    write_videos(copy, 90, {"three": 2})
    assert run(None, copy) == 0
    out = capsys.readouterr().out
    assert "1 sequences had complete results" in out and "2 sequences tracked" in out


def test_other_videos_with_the_same_names_lengths_and_boxes_are_refused(tmp_path, run):
    assert run() == 0
    other = write_videos(tmp_path / "other", 41, {"one": 3, "two": 4})
    before = (folder_of(tmp_path) / "one_time.txt").read_text()
    with pytest.raises(ValueError, match=r"other videos called one and 1 more.*another --root"):
        run(None, other)
    assert (folder_of(tmp_path) / "one_time.txt").read_text() == before
    assert run(None, other, True) == 0
    assert not (folder_of(tmp_path) / REPLACED).exists()
    assert run(None, other) == 0


def test_a_sequence_that_fails_under_overwrite_leaves_nothing_old_beside_the_new(tmp_path, videos, run, capsys):
    folder = folder_of(tmp_path)
    assert run() == 0
    whole = (videos / "one" / "00000002.png").read_bytes()
    (videos / "one" / "00000002.png").write_bytes(b"damaged")
    assert run(None, videos, True) == 1
    assert sorted(path.name for path in folder.glob("*.txt")) == ["two.txt", "two_time.txt"]
    # The old result is not lost, though: it has no successor.
    assert sorted(path.name for path in (folder / REPLACED).iterdir()) == ["one.txt", "one_time.txt", "run.json"]
    assert f"1 results that have no successor yet are kept in {folder / REPLACED}" in capsys.readouterr().out
    (videos / "one" / "00000002.png").write_bytes(whole)
    assert run() == 0
    assert not (folder / REPLACED).exists() and len(read_boxes(folder / "one.txt")) == 3


def test_a_sequence_that_fails_again_loses_the_remains_of_its_last_attempt(tmp_path, videos, run):
    assert run() == 0
    boxes = folder_of(tmp_path) / "one.txt"
    boxes.write_text(boxes.read_text()[:-5])
    (videos / "one" / "00000002.png").write_bytes(b"damaged")
    assert run() == 1
    assert sorted(path.name for path in boxes.parent.glob("*.txt")) == ["two.txt", "two_time.txt"]


def test_an_interrupted_overwrite_is_finished_by_the_same_command_without_it(tmp_path, run, monkeypatch):
    class Interrupted(StaticBox):
        def initialize(self, image: np.ndarray, box_xywh: np.ndarray) -> None:
            if image[0, 0, 0] == 40 and (folder / "two.txt").exists():
                raise KeyboardInterrupt
            super().initialize(image, box_xywh)

    folder = folder_of(tmp_path)
    assert run() == 0
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(TRACKERS, "static", lambda spec: Interrupted())
        run(overwrite=True)
    # `two` is longer and was tracked first.
    assert sorted(path.name for path in folder.glob("*.txt")) == ["two.txt", "two_time.txt"]
    assert {"one.txt", "one_time.txt", "run.json"} <= {path.name for path in (folder / REPLACED).iterdir()}
    assert run() == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"one.txt", "one_time.txt", "run.json", "two.txt", "two_time.txt"}


def test_overwriting_refreshes_the_record(tmp_path, run, monkeypatch):
    run()
    versions = {**package_versions(), "numpy": "99.1", "torch": "99.0.0"}
    monkeypatch.setattr("lib.eval.run.benchmark.package_versions", lambda: versions)
    with pytest.raises(ValueError, match=r"release of torch .*, now 99\.0.*--accept-changes"):
        run()
    run(overwrite=True)
    record = read_record(folder_of(tmp_path))
    assert record is not None and record.versions == versions and record.code == code_sha256(CODE)


def test_another_checkpoint_under_the_same_name_is_refused(tmp_path, run, small_experiment):
    experiment = dataclasses.replace(small_experiment("track.update=none"), name="small")
    weights = tmp_path / "latest.pth"
    save_random_weights(weights, experiment)
    spec = TrackerSpec("mmg", checkpoint=weights, device="cpu", benchmark="folder")
    assert run(spec) == 0
    boxes = (folder_of(tmp_path, "mmg", "small") / "two.txt").read_text()
    assert run(spec) == 0
    save_random_weights(weights, experiment, seed=1)
    with pytest.raises(ValueError, match=r"another run \(checkpoint_sha256 .*--overwrite"):
        run(spec)
    assert (folder_of(tmp_path, "mmg", "small") / "two.txt").read_text() == boxes
    assert run(spec, overwrite=True) == 0
    assert (folder_of(tmp_path, "mmg", "small") / "two.txt").read_text() != boxes


def test_weights_that_change_under_the_test_are_noticed(tmp_path, small_experiment):
    experiment = small_experiment("track.update=none")
    weights = tmp_path / "latest.pth"
    save_random_weights(weights, experiment)
    pinned = PinnedTracker("mmg", checkpoint=weights, device="cpu", stated=file_sha256(weights))
    pinned.build()
    save_random_weights(weights, experiment, seed=1)
    with pytest.raises(ValueError, match=r"latest\.pth has changed since the test began"):
        pinned.build()


def test_an_interval_for_an_unknown_benchmark_is_refused(tmp_path, run, small_experiment):
    def spec(intervals: str) -> TrackerSpec:
        experiment = small_experiment("track.update=fixed", f"track.update_intervals={intervals}")
        weights = tmp_path / "weights.pth"
        save_random_weights(weights, experiment)
        return TrackerSpec("mmg", checkpoint=weights, device="cpu", benchmark="folder")

    with pytest.raises(ValueError, match=r"unknown benchmark 'lasto' \(did you mean 'lasot'\?\); known: synthetic"):
        run(spec("{lasto: 50}"))
    assert not (tmp_path / "results").exists()
    assert run(spec("{lasot: 50, vot2020: 10}")) == 0


def test_names_that_would_share_a_file_are_refused(videos, run):
    write_videos(videos, 90, {"one_time": 2})
    with pytest.raises(ValueError, match="'one' and one_time would share"):
        run()
    assert run(None, videos, False, "one_time", "two") == 0


def test_code_is_what_runs_not_what_is_said_about_it():
    def bare(source: str) -> str:
        return bare_code(ast.parse(source))

    plain = bare("def f(x):\n    return x + 1\n")
    assert bare('"""About."""\n\n\ndef f(x):  # comment\n    """Return more."""\n    return (x + 1)\n') == plain
    assert bare("def f(x):\n    return x + 2\n") != plain
    assert bare("def f():\n    raise ValueError('no')\n") == bare("def f():\n    raise ValueError(f'{1}')\n")
    assert bare("def f():\n    raise ValueError('no')\n") != bare("def f():\n    raise TypeError('no')\n")
    assert bare('class A:\n    """Empty."""\n') == bare("class A:\n    pass\n")


def test_the_code_that_counts_is_what_a_tracker_runs():
    def names(starts: tuple[type, ...]) -> set[str]:
        return {name for _, name in used_code([(start.__module__, start.__name__) for start in starts])}

    boxes, masks = names(CODE), names(MASK_CODE)
    assert {"MMGTracker", "OpenCVTracker", "PyramidCornerHead", "CropWindow", "decode_image", "tracking_dtype"} <= boxes
    assert not boxes & {"track_video", "success_curve", "Trainer", "AlphaRefineNet", "TrainingSet"}
    assert {"MaskSpec", "AlphaRefineNet", "StretchedWindow"} <= masks


def test_moved_code_is_the_same_code_and_changed_code_is_not(tmp_path):
    top = "_SIDE = 3\n\n\ndef grow(x):\n    return x + _SIDE\n\n\n"
    use = "class Tracker:\n    def step(self, x):\n        {}return grow(x)\n"
    apart = "from lib.data.a import grow\n\n\n" + use.format("")
    layouts = {
        "apart": {"data/a.py": top, "tracker/b.py": apart},
        "within": {"data/z.py": top, "tracker/b.py": use.format("from lib.data.z import grow\n\n        ")},
        "folded": {"tracker/b.py": '"""About."""\n' + top + use.format("")},
        "changed": {
            "data/a.py": top.replace("3", "4"),
            "tracker/b.py": "from lib.data.a import grow\n" + use.format(""),
        },
    }
    found = {}
    for layout, files in layouts.items():
        for path, text in files.items():
            file = tmp_path / layout / "lib" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch()
            file.write_text(text + "\n\ndef unused():\n    return 0\n")
        found[layout] = set(used_code([("lib.tracker.b", "Tracker")], tmp_path / layout).values())
    assert len(found["apart"]) == 3
    assert found["apart"] == found["within"] == found["folded"] != found["changed"]
