"""What a training step costs: its operations, counted, and its time, stage by stage, against the device's limit."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import nn

# The documented way to run a model without storage; its module has an underscore all the same.
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lib.config.consistency import check_stage
from lib.config.schema import Experiment
from lib.data.datasets import open_dataset
from lib.data.samples.mixture import MixedSource, open_sources, sample_id
from lib.data.samples.training_set import Batch, TrainingSet
from lib.models.attention import set_fused_attention
from lib.models.build import build_model
from lib.models.mmg import MMG
from lib.profiling.clock import PeakMeter, Stopwatch, describe_device, watch_parts
from lib.train.loading import PREFETCHED, open_loader
from lib.train.losses import Losses
from lib.train.objectives import AnyBatch, Objective, build_objective
from lib.train.trainer import Trainer

_WARM_UP = {"cpu": 3, "cuda": 10}
_ROUNDS = 6  # of the peak, spread over the steps


@dataclass(frozen=True)
class StepFlops:
    """Floating-point operations of the matrix products and convolutions of one step; a multiply-add is two.

    Those of the forward pass are by part of the network, the total is forward and backward. Recomputed activations do
    not count: they are a price, not a part of the model.
    """

    forward: dict[str, int]
    total: int


@dataclass(frozen=True)
class TrainingCost:
    """A training step, measured.

    Attributes:
        config, device, precision, batch_size, loader, threads, steps: what was measured, and how often.
        step_seconds, stage_seconds: medians; the spread are the 10th and the 90th percentile.
        data_wait_share: of all steps' time, what was spent waiting for data.
        peak_flops: operations a second of this device's best matrix product, of square matrices of `peak_side`,
            measured between the steps.
        utilisation: the step's operations / (its time * peak), in [0, 1].
        steps_per_limit: the step's time / the time that its products need at the peak.
        memory: most bytes of tensors at once, on a CUDA device; None elsewhere.
    """

    config: str
    device: str
    precision: str
    batch_size: int
    loader: bool
    threads: int
    steps: int
    step_seconds: float
    step_seconds_spread: tuple[float, float]
    stage_seconds: dict[str, float]
    samples_per_second: float
    data_wait_share: float
    flops: StepFlops
    peak_flops: float
    peak_side: int
    utilisation: float
    steps_per_limit: float
    memory: int | None


def count_step_flops(experiment: Experiment) -> StepFlops:
    """Count the operations of a step of `train.batch_size` samples, exactly, backward pass included."""
    forward: dict[str, int] = {}
    with sketched_step(experiment, experiment.train.batch_size) as sketch:
        sketch.model.encoder.checkpoint_activations = False
        set_fused_attention(sketch.model, False)  # A fused backward pass repeats products, which do not count.
        with FlopCounterMode(display=False) as counter:

            def enter(name: str) -> None:
                forward[name] = forward.get(name, 0) - counter.get_total_flops()

            def leave(name: str) -> None:
                forward[name] += counter.get_total_flops()

            with watch_parts(named_parts(sketch.model), enter, leave):
                losses = sketch.objective.losses(sketch.objective.network, sketch.batch, torch.Generator())
            losses.total.backward()
        return StepFlops(forward, counter.get_total_flops())


def measure_training(
    experiment: Experiment, device: torch.device, steps: int, *, loader: bool = False, paths_file: Path | None = None
) -> TrainingCost:
    """Take steps from random weights and time them.

    With `loader` real samples of the experiment's data are drawn by its `data.workers`; otherwise one synthetic batch
    stays on the device.
    """
    check_stage(experiment)
    data, train = experiment.data, experiment.train
    flops = count_step_flops(experiment)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    torch.manual_seed(train.seed)
    warm_up = _WARM_UP[device.type]
    if loader:
        samples = TrainingSet(open_sources(data.sources, paths_file), data, experiment.crop, train.seed)
        step = TimedTrainer(experiment, device, samples)
        size = train.batch_size
        ids = ([sample_id(0, number * size + index) for index in range(size)] for number in count())
        batches = iter(open_loader(samples, ids, data.workers, device))
        # What it has drawn ahead while the step was being built must be used up, or nothing seems to wait.
        warm_up += PREFETCHED * data.workers
    else:
        step = TimedTrainer(experiment, device)
        batches = repeat(synthetic_batch(experiment, train.batch_size, device))
    for _ in range(warm_up):
        step.take(partial(next, batches))
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    peak = PeakMeter(device, step.dtype)
    rows = []
    for number in range(steps):
        if number % max(1, steps // _ROUNDS) == 0:
            peak.round()
        rows.append(step.take(partial(next, batches)))
    peak.round()

    medians = {stage: statistics.median(row[stage] for row in rows) for stage in rows[0]}
    seconds = medians.pop("step")
    ordered = sorted(row["step"] for row in rows)
    limit = flops.total / peak.flops
    return TrainingCost(
        config=experiment.name,
        device=describe_device(device),
        precision=str(step.dtype).removeprefix("torch."),
        batch_size=train.batch_size,
        loader=loader,
        threads=torch.get_num_threads(),
        steps=steps,
        step_seconds=seconds,
        step_seconds_spread=(ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]),
        stage_seconds=medians,
        samples_per_second=train.batch_size / seconds,
        data_wait_share=sum(row["data wait"] for row in rows) / sum(row["step"] for row in rows),
        flops=flops,
        peak_flops=peak.flops,
        peak_side=peak.side,
        utilisation=limit / seconds,
        steps_per_limit=seconds / limit,
        memory=memory,
    )


def describe_cost(cost: TrainingCost) -> str:
    """Return a measurement as text."""
    low, high = cost.step_seconds_spread
    data = "real data" if cost.loader else "synthetic tensors that stay on the device"
    lines = [
        f"{cost.config} on {cost.device}: {cost.precision}, {cost.batch_size} samples a step, {data}",
        f"  {cost.samples_per_second:.1f} samples per second; a step takes {1000 * cost.step_seconds:.1f} ms",
        f"  (median of {cost.steps}; 10th to 90th percentile {1000 * low:.1f} to {1000 * high:.1f})",
    ]
    forward = cost.flops.forward
    for stage, seconds in cost.stage_seconds.items():
        work = f"  {forward[stage] / 1e9:9.1f} GFLOP" if stage in forward else ""
        lines.append(f"  {stage:12s} {1000 * seconds:9.1f} ms {seconds / cost.step_seconds:6.1%}{work}")
    lines += [
        f"  waiting for data: {cost.data_wait_share:.1%} of all steps' time",
        f"operations: {cost.flops.total / 1e9:.1f} GFLOP a step, forward and backward, "
        f"{cost.flops.total / cost.batch_size / 1e9:.2f} a sample",
        f"limit: {cost.peak_flops / 1e12:.3f} TFLOP/s in {cost.precision}, products of {cost.peak_side} x "
        f"{cost.peak_side} matrices between the steps",
        f"utilisation: {cost.utilisation:.1%} of the limit; a step takes {cost.steps_per_limit:.2f} times what its "
        "products need there",
    ]
    if cost.memory is not None:
        lines.append(f"memory: at most {cost.memory / 2**20:.0f} MiB of tensors")
    return "\n".join(lines)


def named_parts(model: nn.Module) -> dict[str, nn.Module]:
    """Return the parts that a model has of `encoder`, `decoders`, `head` and `score`, in this order."""
    assert isinstance(model, MMG)
    parts = {"encoder": model.encoder, "decoders": model.decoder, "head": model.head, "score": model.score}
    return {name: part for name, part in parts.items() if part is not None}


class Sketch(NamedTuple):
    """A training step's network, objective and batch, on tensors without storage."""

    model: MMG
    objective: Objective
    batch: Batch


def synthetic_batch(experiment: Experiment, batch_size: int, device: torch.device | str = "cpu") -> Batch:
    """Return random images of the experiment's sizes with boxes in the middle; every other sample shows its target."""
    crop = experiment.crop
    template, online_template, search = (
        torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8, device=device)
        for size in (crop.template_size, crop.template_size, crop.search_size)
    )
    box_xyxy = torch.tensor([[0.4, 0.4, 0.6, 0.6]], device=device).repeat(batch_size, 1)
    present = torch.arange(batch_size, device=device) % 2 == 0
    return Batch(template, online_template, search, box_xyxy, present)


@contextmanager
def sketched_step(experiment: Experiment, batch_size: int) -> Iterator[Sketch]:
    """Give a sketch to run inside the `with` block; nothing of it may be read as a number.

    It runs every operation of the step, forward and backward, on tensors that have no storage. A counter of operations
    or of bytes that watches it sees what the step would do, for ViT-Base in seconds and without its memory.
    """
    with torch.device("meta"):
        model = build_model(experiment, pretrained=False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device="cpu")
        objective = build_objective(experiment, model)
        objective.train()
        yield Sketch(model, objective, synthetic_batch(experiment, batch_size))


class TimedTrainer(Trainer):
    """A trainer that says where the time of its steps went, from random weights and without a run folder to keep.

    The stages are `data wait`, the parts of the network that run, `rest` (normalisation, masks and losses), `backward`
    and `optimiser`, which ends with the running average of the weights. No training set is needed where every step is
    given its batch.
    """

    def __init__(self, experiment: Experiment, device: torch.device, training_set: TrainingSet | None = None) -> None:
        self._watch = Stopwatch(device)
        train = dataclasses.replace(experiment.train, accumulate_to=None, total_batch=experiment.train.batch_size)
        objective = build_objective(experiment, build_model(experiment, pretrained=False))
        if training_set is None:
            drawn = [MixedSource(open_dataset("synthetic", "train"), 1.0)]
            training_set = TrainingSet(drawn, experiment.data, experiment.crop, train.seed)
        with TemporaryDirectory() as run:
            alone = dataclasses.replace(experiment, train=train)
            super().__init__(alone, objective, training_set, None, Path(run), device)
            self.log.close()
        self.objective.train()
        self._parts = named_parts(self.model)

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the products."""
        return self._autocast_dtype or torch.float32

    def take(self, next_batch: Callable[[], Batch]) -> dict[str, float]:
        """Take one step over a batch on any device, and return the seconds of its stages and their sum, `step`."""
        self._watch = watch = Stopwatch(self.device)
        batch = next_batch().to(self.device)
        watch.mark("data wait")
        with watch_parts(self._parts, lambda name: watch.mark("rest"), watch.mark):
            self.train_step(batch)
        watch.mark("optimiser")
        seconds = watch.stop()
        return {**seconds, "step": sum(seconds.values())}

    def forward(self, batch: AnyBatch, step: int, first_row: int) -> Losses:
        losses = super().forward(batch, step, first_row)
        self._watch.mark("rest")
        return losses

    def backward(self, loss: torch.Tensor) -> None:
        super().backward(loss)
        self._watch.mark("backward")
