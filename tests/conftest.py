"""What all tests share: one thread, experiments small enough to train in a second, and the device of `gpu` tests."""

import fcntl
import os
import resource
import runpy
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

from lib.config.load import experiment_to_dict, load, load_any
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.data.samples.mixture import sample_id
from lib.models.build import build_model
from lib.models.head import PyramidCornerHead
from lib.models.mmg import MMG
from lib.tracker.export import export_tracker

COMMANDS = Path(__file__).resolve().parents[1] / "tracking"
SMALL = (
    "crop.template_size=32", "crop.template_factor=2", "crop.search_size=64", "crop.search_factor=4",
    "model.encoder.patch_size=16", "model.encoder.dim=32", "model.encoder.depth=2", "model.encoder.num_heads=2",
    "model.decoder.dim=16", "model.decoder.num_heads=2", "model.head.channels=16", "data.samples_per_epoch=16",
    "data.validation_samples=8", "data.workers=0", "data.curriculum_epochs=0", "train.epochs=2", "train.batch_size=4",
    "train.total_batch=4", "train.warmup_epochs=0", "train.precision=fp32", "train.log_every=2",
    "train.validate_every=1", "train.picture_every=0",
)  # fmt: skip
EXPORTED = (
    "crop.template_size=32", "crop.template_factor=2", "crop.search_size=64", "crop.search_factor=2.5",
    "model.encoder.patch_size=16", "model.encoder.dim=32", "model.encoder.depth=1", "model.encoder.num_heads=2",
    "model.encoder.position=learned", "model.decoder.dim=16", "model.decoder.num_heads=2", "model.head.channels=16",
    "model.score.depth=1", "track.update_interval=4", "track.update_intervals={folder: 3}", "track.score_threshold=0",
    "track.precision=fp32",
)  # fmt: skip


def command(name: str) -> Callable[[Sequence[str]], int]:
    """Load the `main` of a command."""
    return runpy.run_path(str(COMMANDS / f"{name}.py"))["main"]


def write_own_video(folder: Path, pictures: Iterable[np.ndarray], rows: str) -> None:
    """Write a video in the layout of own data: 00000001.png and so on, and the text of its boxes."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, start=1):
        cv2.imwrite(str(folder / f"{number:08d}.png"), picture)
    (folder / "groundtruth.txt").write_text(rows)


@contextmanager
def files_no_longer_than(number: int) -> Iterator[None]:
    """Let the system refuse what goes beyond, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_random_weights(path: Path, experiment: Experiment, seed: int = 0, **entries: object) -> MMG:
    """Write a checkpoint of weights as they are drawn, with further entries, and return the network."""
    torch.manual_seed(seed)
    model = build_model(experiment, pretrained=False).eval()
    torch.save({"config": experiment_to_dict(experiment), "model": model.state_dict(), **entries}, path)
    return model


class Attack:
    """Writes a file when an unrestricted reader opens it."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.evidence), "w")


def weights_of(trainer: Any) -> dict[str, torch.Tensor]:
    """Return a copy of a trainer's weights and statistics."""
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def is_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Tell whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def first_samples(trainer: Any, count: int, first: int = 0) -> Any:
    """Return a batch of a trainer's first epoch."""
    samples = trainer._training_set
    return samples.collate([samples[sample_id(0, index)] for index in range(first, first + count)])


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
def foreign_class(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Any]:
    """Return a function that pretends a class of another program is installed, so that its objects can be written."""

    def define(module: str, name: str) -> Any:
        for dots in range(module.count(".") + 1):
            parent = module.rsplit(".", dots)[0]
            monkeypatch.setitem(sys.modules, parent, sys.modules.get(parent) or ModuleType(parent))
        kind = type(name, (), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], name, kind, raising=False)
        return kind

    return define


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


class Export(NamedTuple):
    """A checkpoint, its ONNX file and the model that both hold."""

    checkpoint: Path
    file: Path
    experiment: Experiment
    model: MMG


def save_model_that_moves(path: Path, experiment: Experiment, seed: int = 3) -> MMG:
    """Write a checkpoint of random weights that give boxes of changing size and place, and return the network.

    All three images count. Weights that were drawn and left so give the middle of the crop whatever they are shown.
    """
    torch.manual_seed(seed)
    model = build_model(experiment, pretrained=False).eval()
    head = model.head
    near = (torch.arange(4) < 2)[:, None] & (torch.arange(4) < 2)
    with torch.no_grad():
        model.encoder.get_parameter("blocks.0.attn.proj.weight").mul_(100)
        # The top left quarter of the tokens speaks for one corner, the bottom right for the other.
        model.encoder.search_position[0, near.flatten(), 0] += 3
        model.encoder.search_position[0, near.flip(0, 1).flatten(), 1] += 3
        for channel, branch in enumerate(
            (head.top_left, head.bottom_right) if isinstance(head, PyramidCornerHead) else ()
        ):
            weights = [block.get_parameter("0.weight") for block in (branch.middle_lateral, branch.middle)]
            weights += [branch.middle_logits.get_parameter(f"{number}.0.weight") for number in (0, 1)]
            for weight, source in zip(weights, (channel, 0, 0, 0), strict=True):
                weight[0, source, 1, 1] += 1
    about = {"config": experiment_to_dict(experiment), "score_trained": model.score is not None}
    torch.save({**about, "model": model.state_dict()}, path)
    return model


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return the export of a model of three images with scores; made once for all processes, for it takes seconds."""
    torch.set_num_threads(1)
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "exported"
    folder.mkdir(exist_ok=True)
    experiment = load("mmg_tiny_score", EXPORTED)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "w.onnx").is_file():
            save_model_that_moves(folder / "w.pth", experiment)
            export_tracker(None, folder / "w.pth", folder / "w.onnx")
    model = build_model(experiment, pretrained=False).eval()
    model.load_state_dict(torch.load(folder / "w.pth")["model"])
    return Export(folder / "w.pth", folder / "w.onnx", experiment, model)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a headless browser that selenium drives; skip without one."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e .[browser]")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("needs Chromium and chromedriver, such as Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync",
        "force-prefers-reduced-motion",  # no smooth scrolling: what is clicked must stand still
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
        "window-size=1300,900",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    session.implicitly_wait(1)
    yield session
    session.quit()


class FakeTrax(ModuleType):
    """Speaks for the toolkit: hands out requests, and writes down in `events` what this process does."""

    TraxStatus = SimpleNamespace(INITIALIZE="initialize", FRAME="frame", QUIT="quit")
    Region = SimpleNamespace(MASK="mask")
    Image = SimpleNamespace(PATH="path")
    Mask = SimpleNamespace(create=lambda array: array)

    def __init__(self, requests: list[Any]) -> None:
        super().__init__("trax")
        self.events: list[Any] = []
        self._requests = requests

    def Server(self, *formats: list[str]) -> "FakeTrax":  # noqa: N802
        self.events.append(("open", *formats))
        return self

    def wait(self) -> Any:
        self.events.append("wait")
        return self._requests.pop(0)

    def status(self, objects: list[tuple[np.ndarray, dict[str, str]]]) -> None:
        ((mask, _),) = objects
        assert mask.dtype == np.uint8 and mask.flags.c_contiguous
        self.events.append(mask.tolist())

    def quit(self, reason: str | None = None) -> None:
        self.events.append(("quit", reason))


def vot_request(kind: str, frame: str = "", *masks: np.ndarray) -> SimpleNamespace:
    objects = [(SimpleNamespace(array=lambda normalize, mask=mask: mask if normalize else None), {}) for mask in masks]
    return SimpleNamespace(type=kind, image={"color": SimpleNamespace(path=lambda: frame)}, objects=objects)


QUIT = SimpleNamespace(type="quit", image=None, objects=None)
