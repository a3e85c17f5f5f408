"""One training step after another, each cut into stages that are timed."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn

from lib.config.schema import Experiment
from lib.data.samples.training_set import Batch
from lib.models.build import build_model
from lib.models.noise import StepNoise
from lib.models.parts import named_parts, watch_parts
from lib.models.stopwatch import Stopwatch
from lib.train.layout import prepare_network
from lib.train.optim import build_optimizer
from lib.train.precision import build_scaler, resolve_precision
from lib.train.start import build_objective


class TimedStep:
    """Takes the steps of a `Trainer` in one process and one pass, and says where their time went.

    Left out are the look at whether a step is finite, and the running average of the weights.

    The stages are `data wait`, the parts of the network that run, `rest` (normalisation, masks and losses), `backward`
    and `optimiser`; without the parts, but with `forward`, where they are compiled.

    Args:
        experiment: what is trained, from random weights.
        device: where.
    """

    def __init__(self, experiment: Experiment, device: torch.device) -> None:
        train = experiment.train
        self.device = device
        self.model = build_model(experiment, pretrained=False).to(device)
        self._objective = build_objective(experiment, self.model)
        self._objective.train()
        self._optimizer = build_optimizer(self.model, train)
        self._dtype = resolve_precision(train.precision, device)
        self._scaler = build_scaler(self._dtype, device)
        self._noise = StepNoise(self.model, train.seed, train.batch_size, device)
        self._clip_norm = train.clip_norm
        self._compiled = train.compile
        self._step = 0
        prepare_network(self.model, device, compiled=train.compile)
        self.parts = [] if train.compile else list(named_parts(self.model))

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the products."""
        return self._dtype or torch.float32

    def take(self, next_batch: Callable[[], Batch]) -> dict[str, float]:
        """Take one step over a batch on any device, and return the seconds of its stages and their sum, `step`."""
        watch = Stopwatch(self.device)
        mark = watch.mark
        batch = next_batch().to(self.device)
        mark("data wait")
        self._optimizer.zero_grad(set_to_none=True)
        self._noise.begin_pass(self._step, 0, batch.num_samples)
        rest = "forward" if self._compiled else "rest"
        parts = nullcontext() if self._compiled else watch_parts(self.model, lambda name: mark(rest), mark)
        with parts, torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None):
            losses = self._objective.losses(self._objective.network, batch, self._noise.generator)
        mark(rest)
        self._scaler.scale(losses.total).backward()
        mark("backward")
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        mark("optimiser")
        self._step += 1
        seconds = watch.stop()
        return {**seconds, "step": sum(seconds.values())}
