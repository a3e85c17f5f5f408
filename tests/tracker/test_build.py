"""From names and checkpoints to trackers: what is refused, and that the tracker is the trained model."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import SMALL, save_random_weights

from lib.config.load import experiment_to_dict, load
from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.models.trained import RUNS
from lib.tracker import TRACKERS, TrackerSpec
from lib.tracker.build import choose_device
from lib.tracker.classical import StaticBox
from lib.tracker.mmg import MMGTracker, clip_to_frame

FIRST_BOX = np.array((60.0, 40.0, 30.0, 24.0))


def small(*overrides: str) -> Experiment:
    return load("mmg_tiny", (*SMALL, "model.score.depth=1", *overrides))


def config_file(folder: Path, *overrides: str) -> str:
    """Write the small experiment, with further keys, as a config file of its own."""
    plain = experiment_to_dict(small(*overrides))
    del plain["name"]
    (folder / "small.yaml").write_text(yaml.safe_dump(plain))
    return str(folder / "small.yaml")


def frames(number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(number)]


def test_the_tracker_answers_what_the_trained_model_answers(tmp_path: Path) -> None:
    experiment = small("track.update=none", "track.precision=fp32")
    model = save_random_weights(tmp_path / "weights.pth", experiment)
    tracker = TrackerSpec("mmg", checkpoint=tmp_path / "weights.pth", device="cpu").build()
    first, second = frames(2)
    tracker.initialize(first, FIRST_BOX)
    answer = tracker.track(second)

    def crop(image: np.ndarray, factor: float, size: int) -> torch.Tensor:
        return torch.from_numpy(CropWindow.around(FIRST_BOX, factor, size).cut(image)).permute(2, 0, 1)[None]

    template = crop(first, experiment.crop.template_factor, experiment.crop.template_size)
    search = crop(second, experiment.crop.search_factor, experiment.crop.search_size)
    with torch.no_grad():
        crop_box_xyxy = model(template, search, template).crop_boxes_xyxy[0].numpy()
    window = CropWindow.around(FIRST_BOX, experiment.crop.search_factor, experiment.crop.search_size)
    expected = clip_to_frame(window.to_image(crop_box_xyxy), 120, 160, experiment.track.clip_margin)
    np.testing.assert_allclose(answer.box_xywh, expected, atol=1e-4)
    assert np.isnan(answer.score)


def test_the_scored_update_wants_trained_scores(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    spec = TrackerSpec("mmg", checkpoint=path, device="cpu")
    save_random_weights(path, small("track.update=score"))
    with pytest.raises(ValueError, match="not trained: train the second stage"):
        spec.build()
    save_random_weights(path, small("track.update=score"), score_trained=True)
    tracker = spec.build()
    first, second = frames(2)
    tracker.initialize(first, FIRST_BOX)
    assert 0 <= tracker.track(second).score <= 1


def test_a_config_sets_how_its_own_model_tracks(tmp_path: Path) -> None:
    save_random_weights(tmp_path / "weights.pth", small("track.update=score"))
    config = config_file(tmp_path, "track.update=fixed", "track.update_interval=7", "track.update_intervals={slow: 50}")
    for benchmark, interval in (("", 7), ("quick", 7), ("slow", 50)):
        tracker = TrackerSpec("mmg", config, tmp_path / "weights.pth", "cpu", benchmark).build()
        assert isinstance(tracker, MMGTracker)
        assert (tracker._update.mode, tracker._update.interval) == ("fixed", interval)


def test_weights_of_another_config_are_refused_and_the_keys_named(tmp_path: Path) -> None:
    save_random_weights(tmp_path / "weights.pth", small("crop.search_size=96", "model.head.channels=8"))
    spec = TrackerSpec("mmg", config_file(tmp_path), tmp_path / "weights.pth", "cpu")
    with pytest.raises(ValueError, match=r"another model than config .*: crop\.search_size, model\.head\.channels$"):
        spec.build()


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"runs/mmg_tiny/latest\.pth: train it first .*--config mmg_tiny"):
        TrackerSpec("mmg", "mmg_tiny").build()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        TrackerSpec("mmg", checkpoint=Path("nowhere.pth")).build()
    with pytest.raises(ValueError, match="--config NAME"):
        TrackerSpec("mmg").build()
    with pytest.raises(FileNotFoundError, match="did you mean 'mmg_tiny'"):
        TrackerSpec("mmg", "mmg_tyni").build()


def test_the_newest_weights_of_a_config_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RUNS / "small"
    folder.mkdir(parents=True)
    config = config_file(tmp_path)
    save_random_weights(folder / "latest.pth", load(config))
    spec = TrackerSpec("mmg", config, device="cpu")
    assert spec.checkpoint_file == Path("runs/small/latest.pth")
    assert spec.config_name == TrackerSpec("mmg", checkpoint=folder / "latest.pth").config_name == "small"
    assert isinstance(spec.build(), MMGTracker)


def test_a_file_that_is_no_checkpoint_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": {}}, path)
    with pytest.raises(ValueError, match="lacks its config or its weights"):
        TrackerSpec("mmg", checkpoint=path).build()
    save_random_weights(path, small())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"weights\.pth is truncated"):
        TrackerSpec("mmg", checkpoint=path).build()


def test_unknown_names_come_with_a_suggestion() -> None:
    with pytest.raises(
        ValueError, match=r"'sttic' \(did you mean 'static'\?\); known: mmg, static, mil, csrt, kcf, vit, nano"
    ):
        TrackerSpec("sttic")
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        choose_device("gpu")
    with pytest.raises(ValueError, match="cuda:99"):
        choose_device("cuda:99")


@pytest.mark.parametrize("name", [name for name in TRACKERS if name not in ("mmg", "vit", "nano")])
def test_weights_for_a_tracker_without_any_are_refused(name: str, tmp_path: Path) -> None:
    assert TrackerSpec(name).config_name == "default"
    assert TrackerSpec(name).weights_sha256 is None
    with pytest.raises(ValueError, match="takes no --weights"):
        TrackerSpec(name, weights=(tmp_path,))
    with pytest.raises(ValueError, match="leave out --config"):
        TrackerSpec(name, "mmg_tiny")


def test_a_spec_travels_to_another_process() -> None:
    spec = pickle.loads(pickle.dumps(TrackerSpec("static", benchmark="synthetic")))
    assert spec == TrackerSpec("static", benchmark="synthetic")
    assert isinstance(spec.build(), StaticBox)
