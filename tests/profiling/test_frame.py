"""The cost of a tracked frame: complete stages, a limit that follows from its figures, variants in turn."""

import json

import pytest
import torch
from matplotlib.patches import Rectangle

from lib.profiling import clock as peak
from lib.profiling import frame as frame_cost
from lib.profiling.frame import describe_frames, measure_frames
from lib.profiling.frame_plot import draw_frames
from lib.profiling.report import profile_model

STAGES = ["crop", "upload", "patch embedding", "blocks", "head", "back to the image"]


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    monkeypatch.setattr(peak, "SIDES", {"cpu": (64, 128)})


def test_stages_are_complete_and_in_order(small_experiment):
    (cost,) = measure_frames(small_experiment(), "cpu", frames=3)
    assert list(cost.stages) == STAGES
    (scored,) = measure_frames(small_experiment("track.update=score"), "cpu", frames=1)
    assert list(scored.stages) == [*STAGES[:-1], "score", STAGES[-1]]
    for stage in ("patch embedding", "blocks", "head"):
        assert scored.flops[stage] >= cost.flops[stage] > 0
    assert scored.flops["score"] > 0
    assert cost.flops["crop"] == cost.flops["upload"] == cost.flops["back to the image"] == 0
    # Patches of the search region: 4 x 4, of 16 x 16 pixels in three colours, to 32 numbers.
    assert cost.flops["patch embedding"] == 2 * 16 * (3 * 16 * 16) * 32


def test_the_limit_follows_from_operations_and_peak(small_experiment, monkeypatch):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "amx_bf16": True}, raising=False
    )
    experiment = small_experiment()
    costs = measure_frames(experiment, "cpu", frames=2, precisions=["bf16", "fp32"], baseline=experiment)
    assert [(cost.precision, cost.mode) for cost in costs] == [
        ("bfloat16", "eager"), ("float32", "eager"), ("float32", "plain")
    ]  # fmt: skip
    for cost in costs:
        # Those that are used here, and no other: a CPU without units for bfloat16 multiplied it for ten minutes.
        assert set(cost.peaks) == {"float32", "bfloat16"}
        assert cost.limit_seconds == pytest.approx(sum(cost.flops.values()) / cost.peaks[cost.precision])
        assert cost.times_limit == pytest.approx(cost.frame.median / cost.limit_seconds)
        for timing in (cost.frame, *cost.stages.values()):
            assert timing.low <= timing.median <= timing.high
    assert costs[0].flops == costs[1].flops
    assert list(costs[2].stages) == ["crop", "upload", "network", "back to the image"]
    report = describe_frames(costs)
    assert "mmg_tiny, bfloat16, eager" in report
    assert f"{costs[0].times_limit:.2f} times" in report


def test_figures_are_written_as_json_and_drawn(small_experiment, tmp_path):
    file, picture = tmp_path / "frame.json", tmp_path / "frame.png"
    report = profile_model(
        small_experiment(), device_name="cpu", frames=1, baseline=small_experiment(), json_file=file, plot_file=picture
    )
    found = json.loads(file.read_text(encoding="utf-8"))
    assert [cost["frames"] for cost in found["frames"]] == [1, 1]
    assert found["size"]["parameters"]["encoder"] > 0
    assert picture.stat().st_size > 10_000
    assert "frames per second" in report
    assert "frames per second" not in profile_model(small_experiment())
    with pytest.raises(ValueError, match=r"frame\.txt"):
        profile_model(small_experiment(), plot_file=tmp_path / "frame.txt")


def test_every_bar_is_as_long_as_what_it_stands_for(small_experiment):
    costs = measure_frames(small_experiment(), "cpu", frames=1, baseline=small_experiment())
    (plot,) = draw_frames(costs).axes
    ends: dict[int, float] = {}
    for bar in plot.patches:
        assert isinstance(bar, Rectangle)
        place = round(bar.get_y() + bar.get_height() / 2)
        ends[place] = max(ends.get(place, 0.0), bar.get_x() + bar.get_width())
    whole = [costs[1].frame.median, costs[0].frame.median]
    # The stages' medians are those of one frame here, so they add up to it.
    assert [ends[place] for place in range(3)] == pytest.approx(
        [1000 * seconds for seconds in [*whole, costs[0].limit_seconds]]
    )


def test_frames_are_timed_for_a_while_only(small_experiment, monkeypatch):
    monkeypatch.setattr(frame_cost, "SECONDS", 0.0)
    (cost,) = measure_frames(small_experiment(), "cpu")
    assert cost.frames == 3


def test_what_cannot_be_measured_is_refused(small_experiment):
    with pytest.raises(ValueError, match="fp16 is for GPUs"):
        measure_frames(small_experiment("track.precision=fp16"), "cpu", frames=1)
    with pytest.raises(ValueError, match="--mode graph captures a CUDA graph, and the device is cpu"):
        measure_frames(small_experiment(), "cpu", modes=["graph"])
