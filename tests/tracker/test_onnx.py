"""The tracker as an ONNX file: it answers what PyTorch answers, is complete by itself, and another file is refused."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import EXPORTED, Export, command, save_model_that_moves

from lib.config.load import experiment_to_dict, load
from lib.config.schema import Experiment
from lib.data.datasets.synthetic import SyntheticDataset
from lib.data.images.video import VideoFile
from lib.eval.record import read_record
from lib.eval.results import read_boxes
from lib.eval.run.sequence import cpu_threads
from lib.models.mmg import MMG
from lib.models.trained import file_sha256
from lib.mp4 import write_mp4
from lib.tracker import TrackerSpec, export
from lib.tracker import onnx_tracker as onnx_network
from lib.tracker.base import Prediction, Tracker
from lib.tracker.export import draw_crops, export_tracker
from lib.tracker.mmg import MMGTracker, TargetCrops
from lib.tracker.onnx_tracker import KEY, OnnxNetwork, TrackingRecipe, choose_onnx_device
from lib.tracker.template_update import TemplateUpdate

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "track_onnx.py"
TWO_IMAGES = ("model.online_template=false", "model.decoder.search_to_online=false", "track.update=none")
CLOSE = 0.2  # px; what rounding may grow to where each frame's crop follows from the last frame's box


@pytest.fixture
def video(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Return a drawn video of eleven frames, and its first box."""
    drawn = SyntheticDataset("test", num_frames=11)[0]
    path = tmp_path / "video.mp4"
    height, width = drawn.frames[0].shape[:2]
    with write_mp4(path, height, width, 25.0) as write:
        for index in range(len(drawn)):
            write(drawn.frames[index])
    return path, drawn.boxes_xywh[0]


def noise(experiment: Experiment, number: int) -> tuple[torch.Tensor, ...]:
    """Return that many template, search and, where there are three images, online template crops."""
    template, search = experiment.crop.template_size, experiment.crop.search_size
    sizes = (template, search, template)[: 3 if experiment.model.online_template else 2]
    return tuple(torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8) for size in sizes)


def check_equal(model: MMG, network: OnnxNetwork, experiment: Experiment) -> None:
    for number in (1, 3):
        crops = noise(experiment, number)
        ours, theirs = model.track(*crops), network.track(*crops)
        torch.testing.assert_close(theirs.crop_boxes_xyxy, ours.crop_boxes_xyxy, atol=1e-4, rtol=0)
        if theirs.scores is not None:
            torch.testing.assert_close(theirs.scores, ours.scores, atol=1e-4, rtol=0)
        # Each crop is answered for itself; a centre head may find two of three in the same cell.
        assert len(theirs.crop_boxes_xyxy.unique(dim=0)) >= min(number, 2)


def follow(tracker: Tracker, video: tuple[Path, np.ndarray]) -> list[Prediction]:
    path, box_xywh = video
    frames = VideoFile(path)
    tracker.initialize(frames[0], box_xywh)
    return [Prediction(box_xywh), *(tracker.track(frames[index]) for index in range(1, len(frames)))]


def pytorch_tracker(exported: Export, mode: str = "score") -> MMGTracker:
    """Return the tracker around the model itself, without anything that makes it faster."""
    track = exported.experiment.track
    assert mode in ("score", "fixed", "none")
    update = TemplateUpdate(mode, track.update_interval, track.score_threshold)
    return MMGTracker(exported.model, TargetCrops.of({**vars(exported.experiment.crop), **vars(track)}), update)


def with_entry(exported: Export, path: Path, **changes: object) -> Path:
    """Write a copy of the file with another recipe."""
    model = onnx.load(exported.file)
    recipe = json.loads(model.metadata_props[0].value)
    onnx.helper.set_model_props(model, {KEY: json.dumps({**recipe, **changes})})
    onnx.save(model, path)
    return path


def test_one_crop_and_three_give_what_pytorch_gives(exported: Export) -> None:
    network = OnnxNetwork(exported.file)
    assert network.score is not None and network.online_template
    check_equal(exported.model, network, exported.experiment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "num_images"),
    [
        (("track.update=fixed",), 3),
        (TWO_IMAGES, 2),
        ((*TWO_IMAGES, "model.head.kind=center", "model.encoder.depth=3", "model.encoder.eliminate_at=[0, 1]",
          "track.whole_pixels=true"), 2),
    ],
    ids=["no score", "two images", "OSTrack"],
)  # fmt: skip
def test_other_networks_give_what_pytorch_gives(tmp_path: Path, settings: tuple[str, ...], num_images: int) -> None:
    experiment = load("mmg_tiny_score", (*EXPORTED, "model.score.enabled=false", *settings))
    model = save_model_that_moves(tmp_path / "w.pth", experiment)
    export_tracker(None, tmp_path / "w.pth", tmp_path / "w.onnx")
    network = OnnxNetwork(tmp_path / "w.onnx")
    assert network.score is None and network.online_template == (num_images == 3)
    check_equal(model, network, experiment)
    tracker = TrackerSpec("mmg", device="cpu", onnx=tmp_path / "w.onnx").build()
    drawn = SyntheticDataset("test", num_frames=2)[0]
    tracker.initialize(drawn.frames[0], drawn.boxes_xywh[0])
    assert tracker.track(drawn.frames[1]).finite


def test_the_metadata_say_all_that_a_tracker_needs(exported: Export) -> None:
    metadata = onnxruntime.InferenceSession(exported.file).get_modelmeta()
    recipe = json.loads(metadata.custom_metadata_map["mmg"])
    crop, track = exported.experiment.crop, exported.experiment.track
    assert {name: recipe.pop(name) for name in experiment_to_dict(exported.experiment)["crop"]} == vars(crop)
    assert recipe.pop("pixel_mean") == pytest.approx([123.675, 116.28, 103.53])
    assert recipe.pop("pixel_std") == pytest.approx([58.395, 57.12, 57.375])
    assert recipe == {
        "format": 1,
        "config": "mmg_tiny_score",
        "checkpoint_sha256": file_sha256(exported.checkpoint),
        **{key: vars(track)[key] for key in ("clip_margin", "size_smoothing", "whole_pixels", "averaged_pixels")},
        "update": "score",
        "update_interval": 4,
        "update_intervals": {"folder": 3},
        "score_threshold": 0.0,
    }


def test_a_file_that_differs_does_not_appear(exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model_that_moves(tmp_path / "other.pth", exported.experiment, seed=2)
    monkeypatch.setattr(export, "write_onnx", lambda model, crops, path, *texts: shutil.copy(exported.file, path))
    out = tmp_path / "out" / "w.onnx"
    with pytest.raises(ValueError, match=r"nothing was written to .*w\.onnx: onnxruntime and PyTorch differ by 0\."):
        export_tracker(None, tmp_path / "other.pth", out)
    assert list(out.parent.iterdir()) == []
    export_tracker(None, exported.checkpoint, out)
    assert [path.name for path in out.parent.iterdir()] == ["w.onnx"]


def test_the_check_sees_pictures_that_differ(exported: Export) -> None:
    template, search, online_template = draw_crops(exported.experiment, 3)
    assert template.shape == online_template.shape == (3, 3, 32, 32) and search.shape == (3, 3, 64, 64)
    for crops in (template, search, online_template):
        assert crops.dtype == torch.uint8 and crops.unique(dim=0).shape == crops.shape
        assert crops.float().flatten(1).std(dim=1).min() > 5
    assert not torch.equal(template, online_template)


def test_the_tracker_follows_as_pytorch_does(exported: Export, video: tuple[Path, np.ndarray]) -> None:
    expected = follow(pytorch_tracker(exported), video)
    answers = follow(TrackerSpec("mmg", device="cpu", onnx=exported.file).build(), video)
    boxes, wanted = (np.stack([prediction.box_xywh for prediction in each]) for each in (answers, expected))
    np.testing.assert_allclose(boxes, wanted, atol=CLOSE)
    np.testing.assert_allclose([each.score for each in answers], [each.score for each in expected], atol=0.01)
    # The test means something: boxes move and change their size, and the online template matters.
    assert (np.ptp(wanted, axis=0) > 5).all()
    for mode in ("fixed", "none"):
        others = [prediction.box_xywh for prediction in follow(pytorch_tracker(exported, mode), video)]
        assert np.abs(wanted - others).max() > 2 * CLOSE


@pytest.mark.parametrize(("mode", "share"), [("score", 1.0), ("fixed", 1.0), ("none", 0.3)])
def test_the_example_follows_as_the_tracker_does(
    exported: Export, video: tuple[Path, np.ndarray], mode: str, share: float, tmp_path: Path
) -> None:
    file = with_entry(exported, tmp_path / "w.onnx", update=mode, size_smoothing=share, averaged_pixels=share < 1)
    if share < 1:  # a target so large that means of pixels count
        video = video[0], np.array([20.0, 20.0, 200.0, 150.0])
    box = ",".join(map(str, video[1]))
    command = [sys.executable, str(EXAMPLE), str(file), str(video[0]), box]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    boxes = np.loadtxt(finished.stdout.splitlines(), delimiter=",")
    expected = follow(TrackerSpec("mmg", device="cpu", onnx=file).build(), video)
    np.testing.assert_allclose(boxes, [prediction.box_xywh for prediction in expected], atol=1e-3)
    if share < 1:
        skipping = with_entry(exported, tmp_path / "w.onnx", update=mode, size_smoothing=share)
        other = follow(TrackerSpec("mmg", device="cpu", onnx=skipping).build(), video)
        assert np.abs(boxes - [prediction.box_xywh for prediction in other]).max() > 0.01


def test_the_example_refuses_crops_that_it_does_not_cut(exported: Export, tmp_path: Path) -> None:
    file = with_entry(exported, tmp_path / "w.onnx", whole_pixels=True)
    done = subprocess.run([sys.executable, str(EXAMPLE), str(file), "v.mp4", "1,2,3,4"], capture_output=True, text=True)
    assert done.returncode == 1 and "of whole pixels" in done.stderr


def test_the_example_is_short_and_needs_three_packages() -> None:
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 50
    names = [alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names]
    assert sorted(names) == ["cv2", "json", "numpy", "onnxruntime", "sys"] and "from " not in text.split('"""')[2]


def test_the_page_on_export_shows_the_example_as_it_is() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```" in (ROOT / "docs" / "export.md").read_text(encoding="utf-8")


def test_a_benchmark_has_its_own_interval(exported: Export) -> None:
    for benchmark, interval in (("folder", 3), ("lasot", 4)):
        tracker = TrackerSpec("mmg", device="cpu", benchmark=benchmark, onnx=exported.file).build()
        assert isinstance(tracker, MMGTracker)
        assert tracker._update.interval == interval


def test_threads_are_those_of_pytorch(exported: Export) -> None:
    with cpu_threads(2):
        network = OnnxNetwork(exported.file)
    assert network._session.get_session_options().intra_op_num_threads == 2


def test_results_have_their_own_folder(exported: Export, video: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    root = tmp_path / "videos" / "one"
    root.mkdir(parents=True)
    shutil.copy(video[0], root)
    box = ",".join(f"{value:.4f}" for value in video[1])
    (root / "groundtruth.txt").write_text(f"{box}\n" * 11)
    common = ["mmg", "folder", "--root", str(root.parent), "--results-dir", str(tmp_path / "results")]
    assert command("test")([*common, "--onnx", str(exported.file)]) == 0
    assert command("test")([*common, "--checkpoint", str(exported.checkpoint), "--device", "cpu"]) == 0
    ours, theirs = (tmp_path / "results" / "mmg" / f"mmg_tiny_score{end}" / "folder" for end in ("_onnx", ""))
    np.testing.assert_allclose(read_boxes(ours / "one.txt"), read_boxes(theirs / "one.txt"), atol=CLOSE)
    record = read_record(ours)
    assert record is not None and record.checkpoint_sha256 == file_sha256(exported.file)
    assert record.versions["onnxruntime"] == onnxruntime.__version__
    assert record.settings is not None and record.settings["update_intervals"] == {"folder": 3}
    other = with_entry(exported, tmp_path / "other.onnx", clip_margin=11.0)
    with pytest.raises(ValueError, match=r"results of another run \(checkpoint_sha256"):
        command("test")([*common, "--onnx", str(other)])


def test_the_demo_runs_the_file(exported: Export, video: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    box = ",".join(map(str, video[1]))
    arguments = [str(video[0]), "--box", box, "--onnx", str(exported.file), "--out", str(tmp_path / "out")]
    assert command("demo")(arguments) == 0
    expected = follow(pytorch_tracker(exported), video)
    boxes = read_boxes(tmp_path / "out" / "video_mmg.txt")
    np.testing.assert_allclose(boxes, [prediction.box_xywh for prediction in expected], atol=CLOSE)


def test_a_file_that_is_no_onnx_file_is_refused(exported: Export, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    with pytest.raises(FileNotFoundError, match=r"no ONNX file .*w\.onnx: write one by `python tracking/export\.py"):
        OnnxNetwork(path)
    whole = exported.file.read_bytes()
    for content in (b"", b"no network at all", whole[: len(whole) // 2], exported.checkpoint.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"w\.onnx: it is truncated, no ONNX file"):
            OnnxNetwork(path)


def test_an_onnx_file_of_another_model_is_refused(exported: Export, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    model = onnx.load(exported.file)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ValueError, match="an ONNX file of another model: its metadata have no entry 'mmg'"):
        OnnxNetwork(path)
    with_entry(exported, path, search_size=96)
    with pytest.raises(ValueError, match=r"search tensor\(uint8\) \(B, 3, 64, 64\).* writes .*\(B, 3, 96, 96\)"):
        OnnxNetwork(path)
    with_entry(exported, path, format=2)
    with pytest.raises(ValueError, match="has format 2, and this code reads 1: export it again"):
        OnnxNetwork(path)
    with_entry(exported, path, colour="red")
    with pytest.raises(ValueError, match="lacks, or has besides, colour"):
        OnnxNetwork(path)
    wrong = {"update_interval": "soon", "update_intervals": None, "update": "often", "pixel_mean": [True]}
    for name, value in wrong.items():
        with_entry(exported, path, **{name: value})
        with pytest.raises(ValueError, match=f"no sensible {name}.*: export it again"):
            OnnxNetwork(path)
    for name in ("/etc/cron.d", "../..", "two\nlines", ".hidden", "a b"):  # it names the folder of the results
        with_entry(exported, path, config=name)
        with pytest.raises(ValueError, match="cannot be a name"):
            OnnxNetwork(path)
    with pytest.raises(ValueError, match="'mmg' is not what"):
        TrackingRecipe.from_json("[", "f.onnx")


def test_an_opset_that_the_runtime_does_not_know_is_refused(exported: Export, tmp_path: Path) -> None:
    model = onnx.load(exported.file)
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "w.onnx")
    with pytest.raises(ValueError, match=r"cannot run .*w\.onnx: .* newer opset"):
        OnnxNetwork(tmp_path / "w.onnx")


def test_other_weights_beside_the_file_are_refused(exported: Export) -> None:
    for config, checkpoint in (("mmg_tiny", None), (None, exported.checkpoint)):
        with pytest.raises(ValueError, match="leave out --config and --checkpoint"):
            TrackerSpec("mmg", config, checkpoint, onnx=exported.file)
    with pytest.raises(ValueError, match=r"static is not trained here: leave out .*--onnx"):
        TrackerSpec("static", onnx=exported.file)
    with pytest.raises(ValueError, match=r"w\.onnx is an ONNX file, which .* take by --onnx"):
        TrackerSpec("mmg", checkpoint=exported.file).build()


def test_a_gpu_that_onnxruntime_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_network, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert choose_onnx_device("auto").type == "cpu"
    with pytest.raises(ValueError, match=r"has no CUDA here \(it has CPUExecutionProvider\): .*--device cpu"):
        choose_onnx_device("cuda")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert choose_onnx_device("auto").type == choose_onnx_device("cuda").type == "cuda"


@pytest.mark.parametrize("package", ["onnxscript", "onnxruntime"])
def test_a_missing_package_comes_with_the_command_that_installs_it(
    package: str, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"needs {package} .*pip install -e '\.\[onnx\]'"):
        if package == "onnxscript":
            export_tracker(None, exported.checkpoint, tmp_path / "w.onnx")
        else:
            OnnxNetwork(exported.file)
