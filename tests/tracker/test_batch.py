"""Many targets in one pass of the network: each gets what it would get alone, and memory is asked for beforehand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.inference import TrackingNetwork
from lib.models.mmg import TrackOutput
from lib.tracker.base import Prediction
from lib.tracker.batch import CudaMemory, LockstepTracker, check_memory
from lib.tracker.classical import StaticBox
from lib.tracker.mmg import MMGTracker, Target, TargetCrops, TrackingModel
from lib.tracker.template_update import TemplateUpdate


class Brightness:
    """A network that answers a box and a score from the means of its three crops, and remembers what it was shown."""

    score = torch.nn.Identity()

    def __init__(self) -> None:
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        assert online_template is not None
        self.shown.append((template, search, online_template))
        crops = (template, search, online_template)
        first, middle, last = (crop.double().mean(dim=(1, 2, 3)) / 255 for crop in crops)
        corners = torch.stack((first / 2, middle / 2, 0.55 + last / 3, 0.6 + middle / 3), dim=1)
        return TrackOutput(corners.float(), (0.2 + middle).float())


def make_tracker(model: TrackingModel, update: TemplateUpdate | None = None, online: bool = True) -> MMGTracker:
    update = update or TemplateUpdate("score", interval=3, threshold=0.3)
    return MMGTracker(model, TargetCrops(32, 2.0, 64, 4.0), update, online_template=online)


def video(seed: int, num_frames: int) -> list[np.ndarray]:
    """Make frames of random brightness; every video has a size of its own."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (num_frames, 80 + 10 * seed, 120 - 7 * seed, 3))
    return list((noise * rng.uniform(0.3, 1, (num_frames, 1, 1, 1))).astype(np.uint8))


def first_box(seed: int) -> np.ndarray:
    return np.array([20.0 + 3 * seed, 15.5, 24, 30 - 2 * seed])


def alone(tracker: MMGTracker, seed: int, num_frames: int) -> list[Prediction]:
    images = video(seed, num_frames)
    tracker.initialize(images[0], first_box(seed))
    return [tracker.track(image) for image in images[1:]]


def step(tracker: LockstepTracker, targets: list[Target], images: list[np.ndarray]) -> list[Prediction]:
    crops = [target.prepare(image) for target, image in zip(targets, images, strict=True)]
    located = tracker.locate(targets, crops)
    return [target.accept(image, found) for target, image, found in zip(targets, images, located, strict=True)]


@pytest.mark.parametrize("size", [3, 5])
def test_targets_that_come_and_go_get_what_they_get_alone(size: int) -> None:
    lengths = {0: 9, 1: 5, 2: 7, 3: 6}
    expected = {seed: alone(make_tracker(Brightness()), seed, length) for seed, length in lengths.items()}
    tracker = LockstepTracker(make_tracker(Brightness()), size)
    images = {seed: video(seed, length) for seed, length in lengths.items()}
    waiting, under_way = list(lengths), dict[int, Target]()
    answers: dict[int, list[Prediction]] = {seed: [] for seed in lengths}
    while waiting or under_way:
        while waiting and len(under_way) < 3:
            seed = waiting.pop(0)
            under_way[seed] = tracker.start(images[seed].pop(0), first_box(seed))
        predictions = step(tracker, list(under_way.values()), [images[seed].pop(0) for seed in under_way])
        for seed, prediction in zip(list(under_way), predictions, strict=True):
            answers[seed].append(prediction)
            if not images[seed]:
                del under_way[seed]
    for seed, predictions in expected.items():
        assert len(answers[seed]) == len(predictions) == lengths[seed] - 1
        for ours, theirs in zip(answers[seed], predictions, strict=True):
            np.testing.assert_allclose(ours.box_xywh, theirs.box_xywh, rtol=0, atol=1e-4)
            assert ours.score == pytest.approx(theirs.score, abs=1e-6)


@pytest.mark.parametrize("settings", [(), ("model.online_template=false", "model.decoder.search_to_online=false")])
def test_the_network_gives_each_of_a_batch_what_it_gives_one(
    settings: tuple[str, ...], small_experiment: Callable[..., Experiment]
) -> None:
    """The stated tolerance of one step in float32, with real layers: 0.001 px."""
    experiment = small_experiment("track.update=none", *settings)
    torch.manual_seed(3)
    network = TrackingNetwork(build_model(experiment, pretrained=False).eval())

    def make() -> MMGTracker:
        return make_tracker(network, TemplateUpdate("none"), experiment.model.online_template)

    together, seeds = LockstepTracker(make(), 4), (0, 1, 2)
    targets = [together.start(video(seed, 2)[0], first_box(seed)) for seed in seeds]
    for seed, prediction in zip(seeds, step(together, targets, [video(seed, 2)[1] for seed in seeds]), strict=True):
        (expected,) = alone(make(), seed, 2)
        np.testing.assert_allclose(prediction.box_xywh, expected.box_xywh, rtol=0, atol=1e-3)


def test_templates_stay_the_same_tensor_until_one_of_them_changes() -> None:
    """By that, the network knows that it need not look at them again."""
    model = Brightness()
    tracker = LockstepTracker(make_tracker(model, TemplateUpdate("fixed", interval=3)), 3)
    targets = [tracker.start(video(seed, 1)[0], first_box(seed)) for seed in (0, 1)]
    for number in range(7):
        if number == 5:
            targets.append(tracker.start(video(2, 1)[0], first_box(2)))
        step(tracker, targets, [video(seed, 1)[0] for seed in range(len(targets))])
    templates, searches, online_templates = zip(*model.shown, strict=True)
    assert {len(search) for search in searches} == {3}, "the batch keeps its size"
    changes = [number for number in range(1, 7) if templates[number] is not templates[number - 1]]
    online_changes = [number for number in range(1, 7) if online_templates[number] is not online_templates[number - 1]]
    assert changes == [5], "a target came"
    assert online_changes == [3, 5, 6], "the interval of the two ended, a target came, the next interval ended"


def test_a_tracker_without_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"only a tracker with a network .* leave out --batch"):
        LockstepTracker(StaticBox(), 2)
    with pytest.raises(ValueError, match="a batch of 0"):
        LockstepTracker(make_tracker(Brightness()), 0)


class FakeMemory(CudaMemory):
    """Memory of `room` bytes, of which each target takes `each`, half of it until the templates of the next batch.

    A batch of more than 8 takes `workspace` as well.
    """

    def __init__(self, room: int, each: int, workspace: int) -> None:
        super().__init__(torch.device("cuda"))
        self._room, self._each, self._workspace = room, each, workspace
        self._templates = self._peak = 0

    def run(self, size: int) -> None:
        templates = size * self._each // 2
        self._peak = max(self._templates + templates, size * self._each)
        self._templates = templates
        if size * self._each + (self._workspace if size > 8 else 0) > self._room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def free(self) -> int:
        return self._room

    def taken_by(self, work: Callable[[], object]) -> int:
        before = self._templates
        work()
        return self._peak - before


@pytest.mark.parametrize(("workspace", "fits"), [(0, 13), (2_000_000_000, 11)])
def test_a_batch_that_does_not_fit_is_refused_with_what_is_missing_and_what_fits(workspace: int, fits: int) -> None:
    memory = FakeMemory(10_000_000_000, 700_000_000, workspace)
    message = rf"a batch of 16 .* needs about 10\.5 GB, and 10\.0 GB are free, 0\.5 GB too little; {fits} would fit"
    with pytest.raises(ValueError, match=message):
        check_memory(memory.run, 16, memory)
    check_memory(memory.run, fits, memory)
