"""Tracking on a CUDA device: graphs, lockstep, memory and ONNX give what the plain frame gives, and nothing waits."""

import copy
import re

import numpy as np
import pytest
import torch

from lib.config.load import experiment_to_dict
from lib.config.schema import Experiment
from lib.data.datasets.synthetic import SyntheticDataset
from lib.models.build import build_model
from lib.models.head import PyramidCornerHead
from lib.models.inference import TrackingNetwork
from lib.models.mmg import MMG, TrackOutput
from lib.profiling.frame import Mode, measure_frames
from lib.tracker.batch import CudaMemory, LockstepTracker
from lib.tracker.build import as_tracked, build_tracker_of
from lib.tracker.export import draw_crops, export_tracker
from lib.tracker.mmg import MMGTracker
from lib.tracker.onnx_tracker import OnnxNetwork, choose_onnx_device

pytestmark = pytest.mark.gpu

UPDATES = ("track.update=fixed", "track.update_interval=7")


@pytest.fixture
def tracked(gpu_experiment, device, tmp_path):
    """Return an experiment, its network on the device, saved as w.pth, and drawn videos of 61 frames.

    Weights as they are drawn give the middle of the crop whatever they are shown; these give boxes that all three
    images move.
    """

    def build(*settings: str) -> tuple[Experiment, MMG, SyntheticDataset]:
        asked = gpu_experiment(*UPDATES, *settings)
        wanted = as_tracked(asked, score=asked.track.update == "score")
        torch.manual_seed(3)
        model = build_model(wanted).eval()
        with torch.no_grad():
            model.encoder.get_parameter("blocks.0.attn.proj.weight").mul_(100)
            assert isinstance(model.head, PyramidCornerHead)
            for branch in (model.head.top_left, model.head.bottom_right):
                branch.fine_logits.weight.mul_(30)
        about = {"config": experiment_to_dict(wanted), "score_trained": wanted.model.score.enabled}
        torch.save({**about, "model": model.state_dict()}, tmp_path / "w.pth")
        return wanted, model.to(device), SyntheticDataset("val", num_sequences=4, num_frames=61)

    return build


class Compared:
    """Answers as one network does, and keeps how far another's boxes for the same crops are from it."""

    score = None

    def __init__(self, answers: TrackingNetwork, other: TrackingNetwork) -> None:
        self._answers, self._other = answers, other
        self.differences: list[float] = []
        self.stale: list[float] = []
        self._first: torch.Tensor | None = None

    def track(self, template, search, online_template=None) -> TrackOutput:
        if self._first is None:
            self._first = online_template
        answer = self._answers.track(template, search, online_template)
        found = self._other.track(template, search, online_template)
        self.differences.append(_largest(found, answer))
        if online_template is not self._first:
            self.stale.append(_largest(self._answers.track(template, search, self._first), answer))
        return answer


def _largest(one: TrackOutput, other: TrackOutput) -> float:
    return (one.crop_boxes_xyxy - other.crop_boxes_xyxy).abs().max().item()


def follow(tracker: MMGTracker, videos: SyntheticDataset, number: int = 0) -> np.ndarray:
    video = videos[number]
    tracker.initialize(video.frames[0], video.boxes_xywh[0])
    return np.stack([tracker.track(video.frames[index]).box_xywh for index in range(1, len(video))])


def test_a_cuda_graph_gives_the_eager_boxes_and_reads_no_stale_template(device, only_cuda, tracked):
    """CUDA graphs."""
    wanted, model, videos = tracked()
    plain, graph = TrackingNetwork(copy.deepcopy(model)), TrackingNetwork(model, compiled=True)
    both = Compared(plain, graph)
    follow(build_tracker_of(both, wanted, device, ""), videos)
    assert len(both.differences) == 60 and max(both.differences) < 1e-3
    assert len(both.stale) > 50 and max(both.stale) > 5e-3, "the online template counts, so an old one would show"


class Watched:
    """Ends the watch over waiting once the network has been asked: reading the box may wait, and only that."""

    score = None

    def __init__(self, network: TrackingNetwork) -> None:
        self._network = network

    def track(self, template, search, online_template=None) -> TrackOutput:
        output = self._network.track(template, search, online_template)
        torch.cuda.set_sync_debug_mode("default")
        return output


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_nothing_in_a_frame_waits_for_the_device_but_the_box(dtype, device, only_cuda, tracked):
    """CUDA's sync debug mode."""
    wanted, model, videos = tracked()
    tracker = build_tracker_of(Watched(TrackingNetwork(model, dtype)), wanted, device, "")
    video = videos[0]
    tracker.initialize(video.frames[0], video.boxes_xywh[0])
    tracker.track(video.frames[1])  # loads kernels
    try:
        for index in range(2, 20):
            torch.cuda.set_sync_debug_mode("error")
            tracker.track(video.frames[index])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_many_in_lockstep_are_those_followed_one_by_one(device, tracked):
    wanted, model, videos = tracked()
    tracker = build_tracker_of(TrackingNetwork(model), wanted, device, "")
    alone = [follow(tracker, videos, number)[:10] for number in range(3)]
    together = LockstepTracker(tracker, 4)
    shown = [videos[number] for number in range(3)]
    targets = [together.start(video.frames[0], video.boxes_xywh[0]) for video in shown]
    for index in range(1, 11):
        crops = [target.prepare(video.frames[index]) for target, video in zip(targets, shown, strict=True)]
        located = together.locate(targets, crops)
        for number, (target, video) in enumerate(zip(targets, shown, strict=True)):
            box_xywh = target.accept(video.frames[index], located[number]).box_xywh
            np.testing.assert_allclose(box_xywh, alone[number][index - 1], atol=0.5, rtol=0)


def test_a_batch_that_does_not_fit_is_refused_with_one_that_does(device, tracked):
    if device.type != "cuda":
        pytest.skip("needs a GPU's memory, which alone is predicted")
    wanted, model, _ = tracked()
    tracker = build_tracker_of(TrackingNetwork(model), wanted, device, "")
    # All but two gigabytes, so that it takes no time.
    filled = torch.empty(max(0, CudaMemory(device).free() - 2_000_000_000), dtype=torch.uint8, device=device)
    try:
        with pytest.raises(ValueError, match="would fit") as refused:
            LockstepTracker(tracker, 20_000)
        found = re.search(r"(\d+) would fit", str(refused.value))
        assert found is not None and int(found[1]) > 4
        LockstepTracker(tracker, int(found[1]))
    finally:  # or a failure would keep it, and leave nothing to the tests that follow
        del filled
        torch.cuda.empty_cache()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_network_made_ready_gives_the_model_s_boxes(precision, device, tracked):
    wanted, model, _ = tracked()
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    crops = [crop.to(device) for crop in draw_crops(wanted, 3)]
    expected = model.track(*crops)
    found = TrackingNetwork(copy.deepcopy(model), dtype).track(*crops)
    assert _largest(found, expected) < (1e-3 if dtype is None else 2e-2)
    assert expected.crop_boxes_xyxy.std(dim=0).max() > 0.01


def test_the_exported_network_gives_the_boxes_of_pytorch(device, tracked, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, exc_type=ImportError)
    chosen = choose_onnx_device("auto")
    if device.type == "cuda" and chosen.type != "cuda":
        pytest.skip("onnxruntime has no CUDA provider here")
    wanted, model, _ = tracked()
    export_tracker(None, tmp_path / "w.pth", tmp_path / "w.onnx")
    crops = draw_crops(wanted, 3)
    expected = model.to(device).track(*(crop.to(device) for crop in crops))
    found = OnnxNetwork(tmp_path / "w.onnx", chosen).track(*crops)
    torch.testing.assert_close(found.crop_boxes_xyxy.cpu(), expected.crop_boxes_xyxy.cpu(), rtol=0, atol=1e-3)


def test_frames_are_timed_in_every_mode_that_the_device_has(device, gpu_experiment):
    modes: list[Mode] = ["eager", "compiled", "graph"] if device.type == "cuda" else ["eager"]
    costs = measure_frames(gpu_experiment(), device.type, frames=20 if device.type == "cuda" else 3, modes=modes)
    assert [cost.mode for cost in costs] == modes
    assert all(sum(each.median for each in cost.stages.values()) < 1.5 * cost.frame.median for cost in costs)
    assert costs[-1].frame.median <= costs[0].frame.median
