"""Training from the first step to the last, resumable at any step with the same result."""

import signal
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Generic, cast

import cv2
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from lib.config.load import experiment_to_dict, flatten
from lib.config.schema import Experiment
from lib.data.training_set import sample_id
from lib.models.attention import set_fused_attention
from lib.models.pretrained import load_model_state
from lib.train import distributed
from lib.train.checkpoint import load_newest, save_checkpoint
from lib.train.log import RunLog
from lib.train.losses import Losses
from lib.train.objective import BatchT, Objective, Samples, SampleT
from lib.train.optim import build_optimizer, learning_rate_factor, set_learning_rate

_VALIDATION_EPOCH = 10**6  # an epoch number that training never reaches, so validation noise is its own
_PICTURED = 4  # samples in a TensorBoard picture


@dataclass
class Progress:
    """Where a run stands: the number of finished steps."""

    step: int = 0


class Interrupted(Exception):  # noqa: N818 - it reports no fault
    """SIGTERM or Ctrl-C arrived; the state is saved."""


class Trainer(Generic[SampleT, BatchT]):
    """Trains one experiment in one folder; a folder that holds checkpoints of the same experiment is continued."""

    def __init__(
        self,
        experiment: Experiment,
        objective: Objective[BatchT],
        training_set: Samples[SampleT, BatchT],
        validation_set: Samples[SampleT, BatchT] | None,
        run: Path,
        device: torch.device,
    ) -> None:
        """Build optimiser, loaders and records, and load the newest checkpoint of `run` if there is one.

        Args:
            experiment: its `data` and `train` sections count here.
            objective: what is taught.
            training_set, validation_set: samples; without a validation set nothing is validated.
            run: folder of checkpoints and records.
            device: of the network.

        Raises:
            ValueError: the folder holds another experiment, or a checkpoint that cannot be read.
        """
        self.experiment = experiment
        self.run = run
        self.device = device
        self.objective = objective
        self.model = objective.model.to(device)
        self.optimizer = build_optimizer(self.model, experiment.train)
        self.progress = Progress()
        self._resume()

        train, world = experiment.train, distributed.world_size()
        self.steps_per_epoch = max(1, experiment.data.samples_per_epoch // (train.batch_size * world))
        self.num_steps = self.steps_per_epoch * train.epochs
        total = train.batch_size * world
        if total != train.total_batch and distributed.is_main():
            warnings.warn(
                f"{world} x {train.batch_size} samples make {total} a step, and the learning rates are set for "
                f"train.total_batch: {train.total_batch}; scale train.lr and train.encoder_lr with it",
                stacklevel=2,
            )
        self._parallel: nn.Module = DistributedDataParallel(self.model) if world > 1 else self.model
        self._autocast_dtype = resolve_precision(train.precision, device)
        # On CPUs the fused attention's bfloat16 backward pass is slower than the plain products; measured in LOG.md.
        set_fused_attention(self.model, device.type != "cpu")
        self._training_set = training_set
        self._validation_set = validation_set
        self._generator = torch.Generator(device=device)
        self._stop_signal = 0
        self.log = RunLog(run, start_step=self.progress.step, enabled=distributed.is_main())

    def fit(self) -> None:
        """Train until the last step; validate, log and save on the way.

        Raises:
            Interrupted: after SIGTERM or Ctrl-C, with the state saved.
            FloatingPointError: a loss is not finite; the last checkpoint is intact.
        """
        train = self.experiment.train
        stops = (signal.SIGINT, signal.SIGTERM)
        previous_handlers = {number: signal.signal(number, self._on_signal) for number in stops}
        try:
            batches = iter(self._loader(self._training_set, StepSampler(self)))
            while self.progress.step < self.num_steps:
                self._train_epoch(batches)
                epoch = self.progress.step // self.steps_per_epoch
                last = epoch == train.epochs
                if self._validation_set is not None and (last or epoch % train.validate_every == 0):
                    self.validate(epoch)
                if skipped := self._training_set.num_skipped:
                    self.log.say(f"epoch {epoch}: {skipped} draws have met an unreadable frame so far")
                if train.picture_every and (last or epoch % train.picture_every == 0) and distributed.is_main():
                    self._record_pictures()
                if last or epoch % train.checkpoint_every == 0:
                    self.save()
        finally:
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)
            self.log.close()

    def _train_epoch(self, batches: Iterator[BatchT]) -> None:
        """Run the steps that are left of the current epoch."""
        train = self.experiment.train
        epoch = self.progress.step // self.steps_per_epoch
        done = self.progress.step % self.steps_per_epoch
        bar = tqdm(
            total=self.steps_per_epoch,
            initial=done,
            desc=f"epoch {epoch + 1}/{train.epochs}",
            unit="step",
            disable=not distributed.is_main(),
            mininterval=1.0,
        )
        meter = _Meter()
        self.objective.train()
        with bar:
            for _ in range(self.steps_per_epoch - done):
                waited = time.perf_counter()
                batch = next(batches).to(self.device)
                waited = time.perf_counter() - waited
                losses, gradient_norm = self.train_step(batch)
                meter.add(losses, gradient_norm, waited, batch.num_samples * distributed.world_size())
                bar.update()
                if self.progress.step % train.log_every == 0 or self.progress.step % self.steps_per_epoch == 0:
                    values = meter.read_and_reset()
                    values["lr"] = self.optimizer.param_groups[-1]["lr"]
                    self.log.scalars("train", self.progress.step, values, epoch=epoch + 1)
                    shown = ("total", *losses.measures)
                    bar.set_postfix_str(" ".join(f"{name} {values[name]:.3f}" for name in shown))
                if self._stop_signal:
                    self.save()
                    raise Interrupted(signal.Signals(self._stop_signal).name)

    def train_step(self, batch: BatchT) -> tuple[Losses, torch.Tensor]:
        """Take one step and return the losses and the gradient norm before clipping.

        Masks and drop-path are functions of (seed, step, rank), so a resumed run takes the same step.
        """
        train = self.experiment.train
        self._seed_step(self.progress.step)
        set_learning_rate(self.optimizer, learning_rate_factor(train, self.progress.step / self.steps_per_epoch))
        losses = self._forward(self._parallel, batch)
        if not torch.isfinite(losses.total):
            bad = [name for name, term in losses.terms.items() if not torch.isfinite(term)]
            raise FloatingPointError(f"step {self.progress.step}: loss terms {bad or ['total']} are not finite")
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        gradient_norm = nn.utils.clip_grad_norm_(self.model.parameters(), train.clip_norm)
        if not torch.isfinite(gradient_norm):
            raise FloatingPointError(f"step {self.progress.step}: the gradient is not finite")
        self.optimizer.step()
        self.progress.step += 1
        return losses, gradient_norm

    @torch.no_grad()
    def validate(self, epoch: int) -> dict[str, float]:
        """Return and record the mean losses and IoU over the validation samples, the same ones every time."""
        assert self._validation_set is not None
        data, world, rank = self.experiment.data, distributed.world_size(), distributed.rank()
        batch_size = self.experiment.train.batch_size
        ids = [sample_id(_VALIDATION_EPOCH, index) for index in range(data.validation_samples)]
        groups = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)][rank::world]
        self.model.eval()
        sums: dict[str, float] = {}
        measures: dict[str, Tensor] = {}
        count = 0
        for number, batch in enumerate(self._loader(self._validation_set, groups)):
            batch = batch.to(self.device)
            self._generator.manual_seed(number)
            losses = self._forward(self.model, batch)
            measures = losses.measures
            values = {**losses.terms, "total": losses.total, **losses.measures}
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value) * batch.num_samples
            count += batch.num_samples
        means = torch.tensor([value / max(count, 1) for value in sums.values()], dtype=torch.float64)
        results = dict(zip(sums, distributed.mean_over_ranks(means).tolist(), strict=True))
        self.log.scalars("validation", self.progress.step, results, epoch=epoch)
        shown = ", ".join(f"{name} {results[name]:.4f}" for name in ("total", *measures))
        self.log.say(f"epoch {epoch}: validation {shown}")
        self.objective.train()
        return results

    def _forward(self, network: nn.Module, batch: BatchT) -> Losses:
        with torch.autocast(self.device.type, self._autocast_dtype, enabled=self._autocast_dtype is not None):
            return self.objective.losses(network, batch, self._generator)

    def _record_pictures(self) -> None:
        """Show what becomes of the same few samples every time."""
        samples = self._validation_set or self._training_set
        batch = samples.collate([samples[sample_id(_VALIDATION_EPOCH, index)] for index in range(_PICTURED)]).to(
            self.device
        )
        for name, picture in self.objective.pictures(batch, self._generator):
            self.log.picture(name, self.progress.step, picture)

    def save(self) -> None:
        """Write the state of the run; in the main process only."""
        if not distributed.is_main():
            return
        state = {
            "config": experiment_to_dict(self.experiment),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "score_trained": self.objective.score_trained,
            "step": self.progress.step,
            "samples": self.progress.step * self.experiment.train.batch_size * distributed.world_size(),
        }
        save_checkpoint(self.run, self.progress.step, state, self.experiment.train.keep_checkpoints)

    def _resume(self) -> None:
        state = load_newest(self.run)
        if state is None:
            return
        missing = {"config", "model", "optimizer", "step"} - state.keys()
        if missing:
            raise ValueError(
                f"{self.run} holds a checkpoint that is none of this trainer's: it lacks {sorted(missing)}"
            )
        changed = changed_keys(state["config"], experiment_to_dict(self.experiment))
        if changed:
            raise ValueError(
                f"{self.run} holds a run of another config; these keys differ: {', '.join(changed)}. Choose another "
                "--run folder, restore the keys, or remove the folder to start anew"
            )
        load_model_state(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress.step = state["step"]

    def _loader(self, samples: Samples[SampleT, BatchT], batches: Any) -> DataLoader:
        workers = self.experiment.data.workers
        # Before the workers are forked: OpenCV's own threads do not survive a fork, and a worker that then calls it
        # waits for them for ever. The workers are the parallelism.
        cv2.setNumThreads(0)
        return DataLoader(
            cast(Dataset[SampleT], samples),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=samples.collate,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_leave_interrupts_to_the_trainer,
            prefetch_factor=4 if workers else None,
        )

    def _seed_step(self, step: int) -> None:
        seed = (self.experiment.train.seed * 1_000_003 + step) * 4096 + distributed.rank()
        torch.manual_seed(seed)  # drop-path draws from the default generator
        self._generator.manual_seed(seed)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_signal = number


class StepSampler(Sampler[list[int]]):
    """Yields the sample ids of this rank for each step from the trainer's position to the end of training."""

    def __init__(self, trainer: Trainer) -> None:
        self._start, self._stop = trainer.progress.step, trainer.num_steps
        self._steps_per_epoch = trainer.steps_per_epoch
        self._batch_size = trainer.experiment.train.batch_size

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[list[int]]:
        world, rank = distributed.world_size(), distributed.rank()
        for step in range(self._start, self._stop):
            epoch, step_in_epoch = divmod(step, self._steps_per_epoch)
            first = (step_in_epoch * world + rank) * self._batch_size
            yield [sample_id(epoch, index) for index in range(first, first + self._batch_size)]


def resolve_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast type for a precision of the schema, or None for plain float32.

    `auto` chooses bfloat16 where matrix units multiply it: CUDA devices from Ampere on, CPUs with AMX.
    """
    if name == "fp32":
        return None
    if name == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else None
    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16", False) else None


# A run may be continued with other values of these: they do not change what is computed.
_FREE_KEYS = (
    "name",
    "data.workers",
    "data.on_bad_frame",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.picture_every",
    "train.validate_every",
    "track.",
)


def changed_keys(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the dotted keys that differ between two configs and that change what training computes."""
    one, other = flatten(stored), flatten(wanted)
    differing = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return [key for key in differing if not key.startswith(_FREE_KEYS)]


class _Meter:
    """Means of what happened since the last log line; keeps tensors, so a GPU is waited for once a line."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._rows: list[dict[str, torch.Tensor]] = []
        self._waited = 0.0
        self._samples = 0

    def add(self, losses: Losses, gradient_norm: torch.Tensor, waited: float, samples: int) -> None:
        row = {**losses.terms, "total": losses.total, **losses.measures, "gradient_norm": gradient_norm}
        self._rows.append({name: value.detach() for name, value in row.items()})
        self._waited += waited
        self._samples += samples

    def read_and_reset(self) -> dict[str, float]:
        values = {name: float(torch.stack([row[name].float() for row in self._rows]).mean()) for name in self._rows[0]}
        elapsed = time.perf_counter() - self._started
        values |= {"samples_per_second": self._samples / elapsed, "data_wait": self._waited / elapsed}
        self._started, self._rows, self._waited, self._samples = time.perf_counter(), [], 0.0, 0
        return values


def _leave_interrupts_to_the_trainer(worker: int) -> None:
    """A terminal sends Ctrl-C to the loaders too; they must live until the trainer has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
