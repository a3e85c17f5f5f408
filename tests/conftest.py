"""What all tests share: one thread, experiments small enough to train in a second, and the device of `gpu` tests."""

import os
from collections.abc import Callable, Iterable

import cv2
import pytest
import torch

from lib.config.load import load, load_any
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment

SMALL = (
    "crop.template_size=32", "crop.template_factor=2", "crop.search_size=64", "crop.search_factor=4",
    "model.encoder.patch_size=16", "model.encoder.dim=32", "model.encoder.depth=2", "model.encoder.num_heads=2",
    "model.decoder.dim=16", "model.decoder.num_heads=2", "model.head.channels=16", "data.samples_per_epoch=16",
    "data.validation_samples=8", "data.workers=0", "data.curriculum_epochs=0", "train.epochs=2", "train.batch_size=4",
    "train.total_batch=4", "train.warmup_epochs=0", "train.precision=fp32", "train.log_every=2",
    "train.validate_every=1",
)  # fmt: skip


def load_refine(name: str, overrides: Iterable[str] = ()) -> RefineExperiment:
    """Load a mask network's experiment."""
    experiment = load_any(name, overrides)
    assert isinstance(experiment, RefineExperiment)
    return experiment


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


@pytest.fixture
def small_experiment() -> Callable[..., Experiment]:
    """Return a function that loads an experiment at toy size, with further settings last."""

    def build(*settings: str, config: str = "mmg_tiny") -> Experiment:
        return load(config, (*SMALL, *settings))

    return build


@pytest.fixture
def device() -> torch.device:
    """Return where `gpu` tests run: MMG_TEST_DEVICE=cpu tries their bodies at toy size on a CPU."""
    return torch.device(os.environ.get("MMG_TEST_DEVICE", "cuda"))


@pytest.fixture
def only_cuda(device: torch.device, request: pytest.FixtureRequest) -> None:
    """Skip a test that needs what a CPU has nothing like, which its docstring names."""
    if device.type != "cuda":
        pytest.skip(f"needs {request.function.__doc__.rstrip('.')}")


@pytest.fixture
def gpu_experiment(device: torch.device, small_experiment: Callable[..., Experiment]) -> Callable[..., Experiment]:
    """Return a function that loads `mmg_vitb` with random weights: at its own size on a GPU, at toy size on a CPU."""

    def build(*settings: str) -> Experiment:
        usual = ("model.encoder.pretrained=null", "train.precision=fp32", "model.encoder.drop_path=0")
        return load("mmg_vitb", (*usual, *settings)) if device.type == "cuda" else small_experiment(*usual, *settings)

    return build
