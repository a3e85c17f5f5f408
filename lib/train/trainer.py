"""Training from the first step to the last, resumable at any step with the same result."""

import contextlib
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from lib.config.load import experiment_to_dict
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.data.samples.mask_set import MaskSet
from lib.data.samples.mixture import VALIDATION_EPOCH, sample_id
from lib.data.samples.training_set import TrainingSet
from lib.models.noise import StepNoise
from lib.models.pretrained import load_model_state
from lib.train import distributed
from lib.train.checkpoint import Progress, lock_run, read_state, remove_remains, save_checkpoint
from lib.train.distributed import Interrupted, StopSignals
from lib.train.loading import StepSampler, advice, learning_rate_scale, open_loader, plan_batching, validation_share
from lib.train.log import Meter, RunLog, describe
from lib.train.losses import Losses, mean_losses
from lib.train.nonfinite import NonfinitePolicy
from lib.train.objectives import AnyBatch, Objective
from lib.train.optim import (
    WeightAverage,
    build_optimizer,
    build_scaler,
    learning_rate_factor,
    load_optimizer,
    prepare_network,
    resolve_precision,
    scale_may_fall,
    set_learning_rate,
)

_PICTURED = 4  # samples in a TensorBoard picture


class Trainer:
    """Trains one experiment in one folder; a folder that holds checkpoints of the same experiment is continued."""

    def __init__(
        self,
        experiment: Experiment | RefineExperiment,
        objective: Objective,
        training_set: TrainingSet | MaskSet,
        validation_set: TrainingSet | MaskSet | None,
        run: Path,
        device: torch.device,
    ) -> None:
        """Build optimiser, loaders and records, and load the newest checkpoint of the folder `run` if there is one.

        Of the experiment its `data` and `train` count here. Without a validation set nothing is validated.
        """
        train = experiment.train
        self.experiment = experiment
        self.run = run
        self.device = device
        self.objective = objective
        self.model = objective.model.to(device)
        self._training_set = training_set
        self._validation_set = validation_set

        self.batching = plan_batching(train, distributed.world_size())
        self.steps_per_epoch = max(1, experiment.data.samples_per_epoch // self.batching.total)
        self.num_steps = self.steps_per_epoch * train.epochs
        if (said := advice(train, self.batching)) is not None and distributed.is_main():
            warnings.warn(said, stacklevel=2)

        self._autocast_dtype = resolve_precision(train.precision, device)
        self.scaler = build_scaler(self._autocast_dtype, device)
        self.optimizer = build_optimizer(self.model, train)
        self.average = WeightAverage(self.model, train.ema_decay) if train.ema_decay else None
        self.progress = Progress()
        self._lock = lock_run(run) if distributed.is_main() else None
        self._resume()

        prepare_network(self.model, device, compiled=train.compile)
        self._noise = StepNoise(self.model, train.seed, self.batching.total, device)
        self._nonfinite = NonfinitePolicy(run, self.model, train)
        # Each process normalises by its own samples, as the trackers of this line do: 20 samples give every channel of
        # the head thousands of values. The running statistics are those of rank 0.
        self._parallel = distributed.share_gradients(objective.network, device)
        self._stops = StopSignals()
        self._agreed_stop = 0
        self.log = RunLog(run, start_step=self.progress.step, enabled=distributed.is_main())

    def fit(self) -> None:
        """Train until the last step; validate, log and save on the way.

        Raises:
            Interrupted: after SIGTERM or Ctrl-C, with the state saved.
            FloatingPointError: a loss is not finite; the last checkpoint is intact.
            OSError: the last state cannot be written.
        """
        if distributed.is_main():
            remove_remains(self.run)
        steps = StepSampler(self.progress.step, self.num_steps, self.steps_per_epoch, self.batching, distributed.rank())
        try:
            with self._stops:
                workers = self.experiment.data.workers
                batches = iter(open_loader(self._training_set, steps, workers, self.device))
                for epoch in range(self.progress.epochs, self.experiment.train.epochs):
                    self._train_epoch(epoch, batches)
                    self._close_epoch(epoch + 1)
        except Interrupted:
            self.save()
            distributed.wait_for_all()  # torchrun ends the others as soon as one has gone
            raise
        finally:
            self.log.close()
            if self._lock is not None:
                self._lock.close()

    def _train_epoch(self, epoch: int, batches: Iterator[AnyBatch]) -> None:
        """Run the steps that are left of an epoch."""
        train, steps = self.experiment.train, self.steps_per_epoch
        done = self.progress.step - epoch * steps
        meter = Meter()
        self.objective.train()
        with tqdm(
            total=steps,
            initial=done,
            desc=f"epoch {epoch + 1}/{train.epochs}",
            unit="step",
            disable=None if distributed.is_main() else True,  # None: shown on a terminal only
            mininterval=1.0,
        ) as bar:
            for _ in range(steps - done):
                started = time.perf_counter()
                self._report("loading data")
                passes = [next(batches).to(self.device) for _ in range(self.batching.passes)]
                waited = time.perf_counter() - started
                losses, gradient_norm = self.train_step(*passes)
                values = {**losses.terms, "total": losses.total, **losses.measures, "gradient_norm": gradient_norm}
                meter.add(values, waited, self.batching.total)
                bar.update()
                if self.progress.step % train.log_every == 0 or self.progress.step % steps == 0:
                    self._log_step(meter, epoch)
                self._stop_if(self._agreed_stop or (self._stops.number if distributed.world_size() == 1 else 0))

    def train_step(self, *batches: AnyBatch) -> tuple[Losses, Tensor]:
        """Take one step over one batch a pass; return the mean losses and the gradient norm before clipping.

        Masks and drop-path are functions of (seed, step) and of a sample's place in the step, so a resumed run takes
        the same step, and so do several processes or passes with small batches and one with a large batch.
        """
        train, step = self.experiment.train, self.progress.step
        factor = learning_rate_factor(train, step / self.steps_per_epoch)
        set_learning_rate(self.optimizer, factor * learning_rate_scale(train, self.batching.total))
        self.optimizer.zero_grad(set_to_none=True)
        self._nonfinite.begin_step()
        passes: list[Losses] = []
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else self._keep_gradients():
                self._report("computing")
                losses = self.forward(batch, step, self.batching.first_row(number, distributed.rank()))
                self._report("waiting for the other ranks" if last else "computing")
                self.backward(losses.total / len(batches))
            passes.append(losses)
        losses = mean_losses(passes)
        self.scaler.unscale_(self.optimizer)
        gradient_norm = nn.utils.clip_grad_norm_(self.model.parameters(), train.clip_norm)
        if self._agree_on_finite(losses, gradient_norm):
            self.scaler.step(self.optimizer)
            if self.average is not None:
                self.average.update(self.model, step + 1)
        else:
            first_rows = [self.batching.first_row(number, distributed.rank()) for number in range(len(batches))]
            said = self._nonfinite.leave_out(self._state(), distributed.rank(), first_rows, batches, passes)
            self.progress.left_out += 1
            self.log.warn(said)
        self.scaler.update()
        self.progress.step += 1
        return losses, gradient_norm

    def forward(self, batch: AnyBatch, step: int, first_row: int) -> Losses:
        """Return what a batch costs, whose samples are number `first_row` and on of a step."""
        self._noise.begin_pass(step, first_row, batch.num_samples)
        with self._autocast():
            return self.objective.losses(self._parallel, batch, self._noise.generator)

    def backward(self, loss: Tensor) -> None:
        """Add a pass's gradients to the parameters'."""
        self.scaler.scale(loss).backward()

    @torch.no_grad()
    def validate(self, epoch: int) -> None:
        """Record the mean losses and measures over the validation samples, the same ones every time.

        A running average of the weights is validated in their place, since it is what a tracker uses.
        """
        assert self._validation_set is not None
        data = self.experiment.data
        share = validation_share(
            data.validation_samples, self.batching.batch_size, distributed.rank(), distributed.world_size()
        )
        loader = open_loader(self._validation_set, [group.ids for group in share], data.workers, self.device)
        generator = torch.Generator(device=self.device)

        sums = {"samples": 0.0}
        measures: list[str] = []
        self.model.eval()
        with self._averaged():
            for group, batch in zip(share, loader, strict=True):
                self._agree_to_go_on()
                self._report("recording")
                generator.manual_seed(group.number)
                with self._autocast():
                    losses = self.objective.losses(self.objective.network, batch.to(self.device), generator)
                measures = list(losses.measures)
                samples = 0 if group.repeated else batch.num_samples
                sums["samples"] += samples
                for name, value in {**losses.terms, "total": losses.total, **losses.measures}.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * samples
            self._agree_to_go_on()
        totals = torch.tensor(list(sums.values()), dtype=torch.float64, device=self.device)
        num_samples, *values = distributed.sum_over_ranks(totals).tolist()
        results = {name: value / num_samples for name, value in zip(list(sums)[1:], values, strict=True)}
        self.log.scalars("validation", self.progress.step, results, epoch=epoch)
        shown = ", ".join(f"{name} {results[name]:.4f}" for name in ("total", *measures))
        self.log.say(f"epoch {epoch}: validation {shown}")
        self.objective.train()

    def save(self) -> None:
        """Write the state of the run; in the main process only."""
        if distributed.is_main():
            train = self.experiment.train
            keep_every = train.keep_every * self.steps_per_epoch
            save_checkpoint(self.run, self.progress.step, self._state(), train.keep_checkpoints, keep_every)

    def _close_epoch(self, epoch: int) -> None:
        """Validate, draw and save, as the experiment wants after `epoch` epochs."""
        train = self.experiment.train
        last = epoch == train.epochs
        self._report("recording")
        if self._validation_set is not None and (last or epoch % train.validate_every == 0):
            self.validate(epoch)
        if skipped := self._training_set.num_skipped:
            self.log.say(f"epoch {epoch}: {skipped} draws have met an unreadable frame so far")
        if train.picture_every and (last or epoch % train.picture_every == 0) and distributed.is_main():
            self._record_pictures()
        self.progress.epochs = epoch
        if last:
            self.save()
        elif epoch % train.checkpoint_every == 0 or (train.keep_every and epoch % train.keep_every == 0):
            try:
                self.save()
            except OSError as error:  # a full disk, perhaps not for long: the next epoch tries again
                self.log.warn(f"the checkpoint of epoch {epoch} could not be written, training goes on: {error}")

    def _state(self) -> dict[str, Any]:
        """Return all that a run needs to go on as if it had not stopped; tensors and plain values."""
        state = {
            "config": experiment_to_dict(self.experiment),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "score_trained": self.objective.score_trained,
            "step": self.progress.step,
            "epochs": self.progress.epochs,
            "left_out": self.progress.left_out,
            "samples": self.progress.step * self.batching.total,
            "total": self.batching.total,
        }
        if self.average is not None:
            state["average"] = self.average.state
        return state

    def _resume(self) -> None:
        state = read_state(self.run, self.experiment, self.batching.total)
        if state is not None:
            load_model_state(self.model, state["model"], source=str(self.run))
            try:
                load_optimizer(self.optimizer, state["optimizer"])
                if self.scaler.is_enabled():
                    self.scaler.load_state_dict(state["scaler"])
                if self.average is not None:
                    self.average.load(state["average"])
            except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
                raise ValueError(f"{self.run} holds a checkpoint that this trainer cannot continue: {error}") from error
            step = state["step"]
            self.progress = Progress(step, state.get("epochs", step // self.steps_per_epoch), state.get("left_out", 0))
        own = torch.tensor([self.progress.step, -self.progress.step], device=self.device)
        latest, earliest = distributed.largest_over_ranks(own).tolist()
        if latest != -earliest:
            raise ValueError(f"one process continues {self.run} at step {latest} and another at {-earliest}: the "
                             "folder has to be one that all machines share")  # fmt: skip

    def _agree_on_finite(self, losses: Losses, gradient_norm: Tensor) -> bool:
        """Return whether the step may be taken, the same in all processes; learn whether one of them has to stop."""
        bad = torch.stack([~torch.isfinite(losses.total.detach()), ~torch.isfinite(gradient_norm)])
        own = torch.cat([bad.long(), torch.tensor([self._stops.number], device=self.device)])
        bad_loss, bad_gradient, self._agreed_stop = distributed.largest_over_ranks(own).tolist()
        return not bad_loss and (not bad_gradient or scale_may_fall(self.scaler))

    def _log_step(self, meter: Meter, epoch: int) -> None:
        self._report("waiting for the other ranks")
        values = meter.read_and_reset(self.device)
        self._report("recording")
        values["lr"] = self.optimizer.param_groups[-1]["lr"]
        if self.scaler.is_enabled():
            values["scale"] = self.scaler.get_scale()
        self.log.scalars("train", self.progress.step, values, epoch=epoch + 1)
        self.log.say(f"step {self.progress.step}/{self.num_steps}  {describe(values)}")

    def _record_pictures(self) -> None:
        """Show what becomes of the same few samples every time."""
        samples: Any = self._validation_set or self._training_set
        batch = samples.collate([samples[sample_id(VALIDATION_EPOCH, index)] for index in range(_PICTURED)])
        with self._averaged():
            for name, picture in self.objective.pictures(batch.to(self.device), torch.Generator(self.device)):
                self.log.picture(name, self.progress.step, picture)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self._autocast_dtype, enabled=self._autocast_dtype is not None)

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.average is None else self.average.applied(self.model)

    def _keep_gradients(self) -> contextlib.AbstractContextManager[None]:
        """Leave the gradients of a pass in this process, to be added up with the next pass's."""
        parallel = self._parallel
        return parallel.no_sync() if isinstance(parallel, DistributedDataParallel) else contextlib.nullcontext()

    def _report(self, doing: str) -> None:
        distributed.report(self.progress.step, doing)

    def _agree_to_go_on(self) -> None:
        """Stop where any process has caught a signal; all have to ask at the same point."""
        self._report("waiting for the other ranks")
        self._stop_if(self._stops.agreed(self.device))

    def _stop_if(self, number: int) -> None:
        if number:
            raise Interrupted(signal.Signals(number).name)
