"""The memory of a training step: every live storage counted once, under its owner's name."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from conftest import SMALL
from torch import nn

from lib.config.load import load
from lib.models.build import build_model
from lib.profiling import memory as memory_table
from lib.profiling.memory import (
    LiveBytes,
    StepMemory,
    compute_memory,
    describe_memory,
    tabulate_memory,
)
from lib.profiling.training import Sketch, build_objective, sketched_step, synthetic_batch

CPU = torch.device("cpu")
KIB = 1024


def test_storages_are_counted_once_from_their_making_to_their_end():
    model = nn.Linear(256, 1, bias=False)
    with LiveBytes(model) as memory:
        first = torch.zeros(256)  # 1 KiB
        memory.label = "second"
        second = torch.zeros(2, 256)
        view, also = second.view(-1), second[0]
        small = torch.zeros(1)  # takes a block of 512 bytes
        assert memory.live == {"rest": KIB, "second": 2 * KIB + KIB // 2}
        del second, view
        assert memory.live["second"] == 2 * KIB + KIB // 2, "a view keeps the whole storage"
        del also, first, small
        assert memory.total == 0
    assert memory.peak == 3 * KIB + KIB // 2
    assert memory.at_peak == {"rest": KIB, "second": 2 * KIB + KIB // 2}


@cache
def memory_of(*settings: str) -> StepMemory:
    return compute_memory(load("mmg_tiny", (*SMALL, "model.encoder.dim=128", "train.batch_size=16", *settings)), CPU)


def live_after_forward(sketch: Sketch) -> int:
    with LiveBytes(sketch.model) as memory:
        losses = sketch.objective.losses(sketch.objective.network, sketch.batch, torch.Generator())
        assert losses.total.requires_grad
        return memory.total


@pytest.mark.parametrize("checkpointed", ["false", "true"])
def test_a_sketch_takes_what_the_real_step_takes(small_experiment, checkpointed):
    experiment = small_experiment(f"model.encoder.checkpoint_activations={checkpointed}")
    model = build_model(experiment)
    real = Sketch(model, build_objective(experiment, model), synthetic_batch(experiment, 4))
    real.objective.train()
    expected = live_after_forward(real)
    with sketched_step(experiment, 4) as sketch:
        assert live_after_forward(sketch) == expected


def test_what_lives_after_the_forward_pass_is_what_the_graph_keeps(small_experiment):
    """Counted a second time, by torch's own hooks; what lives beyond that are the losses themselves."""
    experiment = small_experiment("train.batch_size=16", "model.encoder.dim=128")
    model = build_model(experiment)
    step = Sketch(model, build_objective(experiment, model), synthetic_batch(experiment, 16))
    step.objective.train()
    before = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers(), *step.batch)}
    kept: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in before:
            kept[storage.data_ptr()] = -(-storage.nbytes() // 512) * 512
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        live = live_after_forward(step)
    assert sum(kept.values()) == pytest.approx(live, rel=0.03)


@pytest.mark.slow
def test_bfloat16_and_recomputation_save_what_they_should():
    full, half = memory_of(), memory_of("train.precision=bf16")
    recomputed = memory_of("model.encoder.checkpoint_activations=true")
    assert full.weight_copies == 0 < half.weight_copies < full.parameters
    assert 0.45 < half.activations["encoder"] / full.activations["encoder"] < 0.75
    # Of two blocks their inputs stay, and the tokens that go to decoders and head.
    assert recomputed.activations["encoder"] < 0.3 * full.activations["encoder"]
    assert recomputed.activations["decoders"] == full.activations["decoders"]


def test_what_does_not_learn_has_neither_moments_nor_activations():
    first = memory_of("train.ema_decay=0.99")
    assert first.average == first.parameters
    assert first.optimizer == 2 * first.buckets
    second = memory_of(
        "train.stage=score", "data.negatives=0.5", "train.start_from=x", "model.score.enabled=true"
    )  # fmt: skip
    assert second.average == 0
    assert second.buckets < 0.5 * second.parameters, "only the score module learns"
    assert "decoders" not in second.activations
    assert second.activations.get("encoder", 0) < 0.1 * first.activations["encoder"]


def test_the_table_says_what_was_not_measured_and_what_fits(monkeypatch):
    monkeypatch.setattr(memory_table, "compute_memory", lambda experiment, device: memory_of())
    table = tabulate_memory(load("mmg_tiny", SMALL), CPU)
    text = describe_memory(table)
    assert "computed, not measured" in text
    assert text.count("fits") == 4
    large = dict.fromkeys(table.other_settings, 12 * 2**30)
    assert describe_memory(replace(table, other_settings=large)).count("1024 too much") == 4
    assert "all tensors, measured" in describe_memory(replace(table, measured=2**30))
