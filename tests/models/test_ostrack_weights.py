"""OSTrack's published files: as they are downloaded they become a model, and what else they hold stays dead."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Attack
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from lib.config.load import load
from lib.data.crop import WholePixelWindow
from lib.models.build import build_model
from lib.models.center import CenterOutput
from lib.models.mmg import MMG
from lib.models.pretrained import load_model_state, read_checkpoint
from lib.models.trained import read_trained_model
from lib.tracker import TrackerSpec
from lib.tracker.mmg import clip_to_frame
from lib.train.session import build_starting_model

CONFIGS = ("ostrack_256", "ostrack_256_ce", "ostrack_384", "ostrack_384_ce")

TINY = """base: {base}
model:
  encoder: {{dim: 32, depth: 4, num_heads: 2, eliminate_at: [1, 2]}}
  head: {{channels: 16}}
"""


def published(model: MMG) -> dict[str, Tensor]:
    """Return a model's weights under the names of the public code."""
    state = {"backbone.cls_token": torch.zeros(1, 1, 32), "backbone.pos_embed": torch.zeros(1, 197, 32)}
    maps = {"score": "ctr", "offset": "offset", "size": "size"}
    for name, value in model.state_dict().items():
        part, rest = name.split(".", 1)
        if part == "head":
            kind, layer, weight = rest.split(".", 2)
            state[f"box_head.conv{int(layer) + 1}_{maps[kind]}.{weight}"] = value
        else:
            rest = {"template_position": "pos_embed_z", "search_position": "pos_embed_x"}.get(rest, rest)
            state[f"backbone.{rest}"] = value
    return state


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "tiny_ostrack.yaml"
    path.write_text(TINY.format(base="ostrack_256_ce"))
    return str(path)


@pytest.fixture
def model(config: str) -> MMG:
    torch.manual_seed(0)
    return build_model(load(config), pretrained=False).eval()


@pytest.fixture
def path(tmp_path: Path, model: MMG, foreign_class, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a file such as the public training program does, with its own objects in it."""
    settings = foreign_class("lib.train.admin.settings", "Settings")()
    settings.device, settings.env = torch.device("cpu"), type(settings)()
    path = tmp_path / "OSTrack_ep0300.pth.tar"
    torch.save({"epoch": 300, "net": published(model), "constructor": None, "settings": settings}, path)
    for module in ("lib.train.admin.settings", "lib.train.admin"):
        monkeypatch.delitem(sys.modules, module)
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configs_have_the_published_sizes(name):
    experiment = load(name)
    large, eliminating = "384" in name, name.endswith("_ce")
    sizes = (192, 2.0, 384, 5.0) if large else (128, 2.0, 256, 4.0)
    crop = experiment.crop
    assert (crop.template_size, crop.template_factor, crop.search_size, crop.search_factor) == sizes
    assert experiment.model.encoder.eliminate_at == ((3, 6, 9) if eliminating else ())
    assert (experiment.model.head.kind, experiment.model.head.channels) == ("center", 256)
    assert experiment.track.whole_pixels and experiment.track.update == "none"


def test_a_published_file_becomes_the_model_that_it_was_made_of(path, config, model):
    assert "lib.train.admin" not in sys.modules
    trained = read_trained_model(path, config)
    assert "lib.train.admin" not in sys.modules
    other = build_model(trained.experiment, pretrained=False)
    load_model_state(other, trained.state)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert TrackerSpec("mmg", config, path, device="cpu").config_name == "tiny_ostrack"


def test_it_tracks_with_windows_of_whole_pixels_and_the_hann_window(path, config, model):
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(2))
    box_xywh = np.array((100.3, 80.6, 41.0, 30.0))
    tracker = TrackerSpec("mmg", config, path, device="cpu").build()
    tracker.initialize(first, box_xywh)
    found = tracker.track(second)
    windows = [WholePixelWindow.around(box_xywh, factor, size) for factor, size in ((2.0, 128), (4.0, 256))]
    template, search = (
        torch.from_numpy(window.cut(image)).permute(2, 0, 1)[None]
        for window, image in zip(windows, (first, second), strict=True)
    )
    with torch.no_grad():
        located = model(template, search).located
    assert isinstance(located, CenterOutput)
    expected = windows[1].to_image(located.tracked_boxes_xyxy[0].numpy())
    np.testing.assert_allclose(found.box_xywh, clip_to_frame(expected, 240, 320, 10), atol=1e-3)


def test_the_encoder_of_an_mmg_starts_from_it(path, model, small_experiment, tmp_path):
    sizes = ("model.encoder.dim=32", "model.encoder.depth=4", "model.encoder.patch_size=16", f"train.start_from={path}")
    experiment = small_experiment(*sizes, "crop.search_size=96")
    started = build_starting_model(experiment, tmp_path / "run")
    ours, theirs = started.encoder.state_dict(), model.encoder.state_dict()
    for name, value in ours.items():
        if name.endswith("_position"):  # resampled from 8 x 8 and 16 x 16 tokens
            grid = {"template_position": 2, "search_position": 6}[name]
            assert torch.equal(value, resample_abs_pos_embed(theirs[name], [grid, grid], num_prefix_tokens=0))
        else:
            assert torch.equal(value, theirs[name]), name
    with pytest.raises(ValueError, match="does not fit this model"):
        build_starting_model(small_experiment(*sizes, "model.encoder.depth=3"), tmp_path / "run")
    with pytest.raises(ValueError, match="serve the first stage"):
        build_starting_model(small_experiment(*sizes, config="mmg_tiny_score"), tmp_path / "run")


def test_the_published_network_s_head_is_trained_further(path, model, config, tmp_path):
    started = build_starting_model(load(config, (f"train.start_from={path}",)), tmp_path / "run")
    for name, value in model.state_dict().items():
        assert torch.equal(started.state_dict()[name], value), name


def test_without_a_config_the_error_names_those_there_are(path):
    with pytest.raises(ValueError, match=", ".join(sorted(CONFIGS[:1]))):
        read_trained_model(path)


def test_another_network_s_weights_are_listed(path, config):
    content = read_checkpoint(path, inert=True)
    weights = content["net"]
    weights["box_head.conv1_tl.0.weight"] = weights.pop("box_head.conv1_ctr.0.weight")
    torch.save({"net": weights}, path)
    with pytest.raises(ValueError, match=r"missing: head\.score\.0\.0\.weight; .*unexpected: box_head\.conv1_tl"):
        TrackerSpec("mmg", config, path, device="cpu").build()


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_in_a_file_are_neither_imported_nor_run(tmp_path, model, config, zipped):
    evidence, path = tmp_path / "evidence", tmp_path / "evil.pth.tar"
    content = {"net": published(model), "settings": Attack(evidence)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert read_trained_model(path, config).state.keys() == model.state_dict().keys()
    assert not evidence.exists()
    # The file is a real attack: an unrestricted reader does run it.
    torch.load(path, weights_only=False)
    assert evidence.exists()
