"""The cost of a tracked frame: complete stages, a limit that follows from its figures, a baseline in turn."""

import json

import pytest
import torch

from lib.models import peak
from lib.models.build import build_model
from lib.models.inference import TrackingNetwork
from lib.tracker import frame_cost
from lib.tracker.frame_cost import TimedFrame, describe_frame, measure_frame
from lib.tracker.profile import profile_model

STAGES = ["crop", "upload", "normalisation", "patch embedding", "blocks", "head", "back to the image"]


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    monkeypatch.setattr(peak, "_SIDES", {"cpu": (64, 128)})


def test_stages_are_complete_and_in_order(small_experiment):
    cost = measure_frame(small_experiment(), "cpu", frames=3)
    assert list(cost.stage_seconds) == STAGES
    scored = measure_frame(small_experiment("track.update=score"), "cpu", frames=1)
    assert list(scored.stage_seconds) == [*STAGES[:5], "score", *STAGES[5:]]
    assert scored.flops > cost.flops


def test_the_limit_follows_from_operations_and_peak(small_experiment):
    experiment = small_experiment("track.precision=bf16")
    cost = measure_frame(experiment, "cpu", frames=2, baseline=experiment)
    assert set(cost.peaks) == {"float32", "bfloat16"}
    assert cost.limit_seconds == pytest.approx(cost.flops / cost.peaks["bfloat16"])
    assert cost.times_limit == pytest.approx(cost.seconds / cost.limit_seconds)
    low, high = cost.seconds_spread
    assert low <= cost.seconds <= high
    assert cost.baseline == "mmg_tiny"
    assert cost.baseline_seconds is not None and cost.baseline_seconds > 0
    assert "plain float32, in turn" in describe_frame(cost)
    assert set(measure_frame(small_experiment("track.precision=fp32"), "cpu", frames=1).peaks) == {"float32"}


def test_operations_are_fewer_than_the_plain_network_s(small_experiment):
    """Templates are embedded once, and the last block computes two thirds or so of its tokens."""
    experiment, cpu = small_experiment("model.score.enabled=false"), torch.device("cpu")
    plain = build_model(experiment).without_decoder().eval()
    all_of_it = TimedFrame(experiment, plain, cpu, {}).count_flops()
    templates, tokens, width = 2 * 2**2, 2 * 2**2 + 4**2, 32
    embedded = templates * 2 * 3 * 16 * 16 * width
    # Of the last block: query, projection and feed-forward of the templates' tokens, and their rows of attention.
    last = templates * 2 * (10 * width**2 + 2 * tokens * width)
    ready = TimedFrame(experiment, TrackingNetwork(plain), cpu, {}).count_flops()
    assert all_of_it - ready == embedded + last


def test_figures_are_written_as_json(small_experiment, tmp_path):
    file = tmp_path / "frame.json"
    report = profile_model(small_experiment(), device_name="cpu", frames=1, json_file=file)
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["frame"]["frames"] == 1
    assert found["size"]["parameters"]["encoder"] > 0
    assert "frames per second" in report
    assert "frames per second" not in profile_model(small_experiment())


def test_what_cannot_be_measured_is_refused(small_experiment):
    with pytest.raises(ValueError, match="--frames 0"):
        measure_frame(small_experiment(), "cpu", frames=0)
    with pytest.raises(ValueError, match="fp16 is for GPUs"):
        measure_frame(small_experiment("track.precision=fp16"), "cpu", frames=1)


@pytest.mark.gpu
def test_a_frame_on_a_gpu_compiled_and_not(small_experiment, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(frame_cost, "_WARM_UP", {"cuda": 20})
    eager = measure_frame(small_experiment("track.precision=bf16"), "cuda", frames=50)
    graphs = measure_frame(small_experiment("track.precision=bf16", "track.compile=true"), "cuda", frames=50)
    assert list(graphs.stage_seconds) == ["crop", "upload", "network", "back to the image"]
    assert graphs.seconds < eager.seconds
