"""Experiments are read strictly: every mistake is named with its place, key and value."""

from itertools import pairwise
from pathlib import Path

import pytest

from lib.config.load import (
    EXPERIMENTS,
    describe,
    differing_keys,
    experiment_from_dict,
    experiment_to_dict,
    find_experiment,
    flatten,
    load,
    load_any,
    refine_from_dict,
)
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment

ABLATIONS = sorted((EXPERIMENTS / "ablations").glob("*.yaml"))


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_loads_and_survives_a_round_trip(path):
    if path.stem.startswith("paths"):
        pytest.skip("paths of data sets, not an experiment")
    experiment = load_any(path)
    assert experiment.name == path.stem
    from_dict = refine_from_dict if isinstance(experiment, RefineExperiment) else experiment_from_dict
    assert from_dict(experiment_to_dict(experiment), "stored") == experiment


def test_the_paper_recipe_states_every_value_in_its_own_file():
    text = (EXPERIMENTS / "mmg_vitb.yaml").read_text(encoding="utf-8")
    assert "base:" not in text
    experiment = load("mmg_vitb")
    paper = {
        "crop.template_size": 128, "crop.search_size": 256, "model.decoder.dim": 512, "model.decoder.self_depth": 8,
        "model.decoder.guided_depth": 8, "model.decoder.mask_ratio": 0.75, "train.epochs": 500, "train.batch_size": 20,
        "train.lr": 1e-4, "train.encoder_lr": 1e-5, "train.weight_decay": 1e-4, "train.drop_epoch": 400,
        "train.loss.reconstruction": 1.0, "train.loss.l1": 5.0, "train.loss.complete_iou": 5.0,
        "data.samples_per_epoch": 60000, "track.update_interval": 100, "track.score_threshold": 0.5,
    }  # fmt: skip
    stored = flatten(experiment_to_dict(experiment))
    assert {key: stored[key] for key in paper} == paper


# The switches of each ablation row, and nothing else, differ from its base.
ABLATION_KEYS = {
    "table4": {"model.decoder.self_decoder", "model.decoder.online_to_search", "model.decoder.search_to_online"},
    "table5": {"model.decoder.mask_ratio"},
    "table6": {"track.update"},
}


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_differs_from_its_base_in_its_keys_only(path):
    base = load("mmg_tiny" if path.stem.startswith("tiny_") else "mmg_vitb")
    one, other = flatten(experiment_to_dict(base)), flatten(experiment_to_dict(load(path)))
    differing = {key for key in one if one[key] != other.get(key)} - {"name"}
    table = path.stem.removeprefix("tiny_").split("_")[0]
    assert differing <= ABLATION_KEYS[table]
    same_as_base = {"table4_all", "table5_mask75", "table6_score", "tiny_table4_all", "tiny_table5_mask75"}
    assert differing or path.stem in same_as_base or load(path).track.update == base.track.update


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.lrr=1", r"unknown key train\.lrr \(did you mean 'train\.lr'\?\)"),
        ("train.lr=fast", r"train\.lr must be a number, got 'fast'"),
        ("train.lr=-1", r"train\.lr must be at least 0, got -1"),
        ("train.lr=.nan", r"train\.lr must be at least 0, got nan"),
        ("train.epochs=1.5", r"train\.epochs must be a whole number, got 1\.5"),
        ("train.epochs=true", r"train\.epochs must be a whole number, got True"),
        ("model.decoder.mask_ratio=2", r"mask_ratio must be in \[0, 0\.99\], got 2\.0"),
        ("model.score.enabled=1", r"model\.score\.enabled must be true or false, got 1"),
        ("track.update=fix", r"track\.update must be one of none, fixed, score, got 'fix' \(did you mean 'fixed'\?\)"),
        ("train=3", r"train is a section, got 3"),
        ("data.sources=lasot", r"data\.sources must be a list"),
        ("data.sources=[{dataset: lasot}]", r"data\.sources\[0\]\.split is missing"),
        ("data.sources=[{dataset: lasot, splitt: train, ratio: 1}]", r"unknown key data\.sources\[0\]\.splitt"),
        ("data.sources=[]", r"data\.sources must name at least one"),
        ("track.update_intervals.lasot=often", r"update_intervals\.lasot must be a whole number"),
        ("model.online_template=false", r"search_to_online needs model\.online_template"),
        ("train.epochs=300", r"train\.drop_epoch 400 lies beyond train\.epochs 300"),
        ("train.warmup_epochs=501", r"train\.warmup_epochs 501\.0 is more than train\.epochs 500"),
        ("TRAIN.LR=1e-4", r"unknown key TRAIN.LR \(did you mean 'train.lr'\?\)"),
        ("lr=1e-4", r"unknown key lr \(did you mean 'train.lr'\?\)"),
        ("epoch=1", r"unknown key epoch \(did you mean 'train.epochs' or 'train.drop_epoch' or"),
        ("size=1", r"'crop.search_size' or .*'crop.template_size'"),
        ("e=1", r"unknown key e$"),
        ("name=other", "named by its file"),
        ("train.lr", r"write it as section\.key=value"),
        ("train.lr=[", r"--set train\.lr: not valid YAML"),
    ],
)
def test_a_bad_setting_is_refused_with_its_name(setting, message):
    with pytest.raises(ValueError, match=message):
        load("mmg_vitb", [setting])


def test_scientific_notation_is_a_number(tmp_path):
    path = write(tmp_path, "base: mmg_vitb\ntrain: {lr: 1e-4, encoder_lr: 2E-5, weight_decay: 5.e-2}\n")
    train = load(path).train
    assert (train.lr, train.encoder_lr, train.weight_decay) == (1e-4, 2e-5, 5e-2)


def test_inheritance_takes_the_nearest_value_and_finds_loops(tmp_path):
    write(tmp_path, "base: mmg_vitb\ntrain: {epochs: 450, seed: 7}\n", "parent")
    child = write(tmp_path, "base: parent\ntrain: {epochs: 490}\n", "child")
    assert (load(child).train.epochs, load(child).train.seed) == (490, 7)
    write(tmp_path, "base: two\n", "one")
    with pytest.raises(ValueError, match="leads back to itself"):
        load(write(tmp_path, "base: one\n", "two"))


def test_yaml_cannot_build_objects(tmp_path):
    marker = tmp_path / "executed"
    path = write(tmp_path, f"base: mmg_vitb\ntrain: {{lr: !!python/object/apply:pathlib.Path.touch ['{marker}']}}\n")
    with pytest.raises(ValueError, match=r"train\.lr has no value that can be read"):
        load(path)
    assert not marker.exists()


def test_names_are_found_in_subfolders_and_misspelt_ones_get_a_suggestion():
    assert find_experiment("table4_none").parent.name == "ablations"
    with pytest.raises(FileNotFoundError, match=r"did you mean 'mmg_vitb'"):
        load("mmg_vitbb")
    with pytest.raises(FileNotFoundError, match="no experiment file"):
        load("nowhere.yaml")


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden"])
def test_a_stored_name_cannot_lead_out_of_the_results(name):
    stored = {**experiment_to_dict(load("mmg_tiny")), "name": name}
    with pytest.raises(ValueError, match="name"):
        experiment_from_dict(stored, "stored")


def test_every_knob_is_described():
    for kind, first in ((Experiment, "crop.template_size"), (RefineExperiment, "kind")):
        lines = describe(kind)
        assert len(lines) > 40 and lines[0].startswith(f"{first}: ")
        assert all(line.split(". ", 1)[1].strip() for line in lines)


NINE = [f"{after}: &{after} [{','.join(9 * ['*' + before])}]\n" for before, after in pairwise("abcdefghi")]
LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(NINE)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("base: mmg_vitb\ntrain:\n  epochs: 3\n  lrr: 1\n", r"mine\.yaml:4: unknown key train\.lrr"),
        ("crop: {search_size: 256}\n", r"crop\.template_size is missing"),
        ("base: mmg_vitb\ntrain: {epochs: 3}\ntrain: {seed: 3}\n", r":3: train is given twice"),
        ("- 1\n- 2\n", "needs a mapping"),
        ("just words\n", "needs a mapping"),
        (LAUGHS, "holds more than"),
        ("train: &t {lr: *t}", "train holds more than"),
        ("crop: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("base: mmg_tiny\ntrain:\n  lr: 2020-99-99", r"mine.yaml:3: train.lr"),
        ("base: mmg_tiny\ntrain:\n  compile: !!bool maybe", r"mine.yaml:3: train.compile"),
        ("base: mmg_tiny\ntrain:\n  lr: " + "9" * 400, r"mine.yaml:3: train.lr"),
        ("base: mmg_tiny\ntrain:\n  seed: " + "9" * 5000, r"mine.yaml:3: train.seed"),
        ("base: mmg_tiny\ntrain:\n  lr: .nan", r"mine.yaml:3: train.lr"),
        ("base: mmg_tiny\nmodel:\n  encoder:\n    dim: 100000000", r"mine.yaml:4: model.encoder.dim"),
        ("# a\nbase: mmg_tin\n", r"mine\.yaml:2: base: no experiment named 'mmg_tin' .* 'mmg_tiny'"),
        ("base: " + "a" * 300, r"mine\.yaml:1: base: "),
    ],
    ids=["line", "missing", "twice", "list", "words", "aliases", "itself", "deep", "date", "bool", "400 digits",
         "5000 digits", "nan", "wide", "base", "long base"],
)  # fmt: skip
def test_damaged_and_hostile_yaml_is_refused_by_place_and_key(tmp_path, text, named):
    with pytest.raises(ValueError, match=named) as raised:
        load(write(tmp_path, text))
    assert len(str(raised.value)) < 600


def test_anchors_are_allowed(tmp_path):
    path = write(
        tmp_path, "base: mmg_tiny\ndata:\n  sources: &s [{dataset: synthetic, split: val, ratio: 1}]\n  validation: *s"
    )
    assert load(path).data.sources == load(path).data.validation


def test_a_stored_config_that_holds_itself_is_refused():
    stored = experiment_to_dict(load("mmg_tiny"))
    stored["train"]["loss"] = stored
    with pytest.raises(ValueError, match="nested without end"):
        experiment_from_dict(stored, "latest.pth")


def test_a_key_that_is_gone_is_ignored_where_it_had_its_default():
    stored = experiment_to_dict(load("mmg_tiny"))
    stored["model"]["encoder"]["init"] = "default"
    assert experiment_from_dict(stored, "latest.pth") == load("mmg_tiny")
    stored["model"]["encoder"]["init"] = "mimetic"
    with pytest.raises(ValueError, match=r"latest.pth: model.encoder.init is gone"):
        experiment_from_dict(stored, "latest.pth")


def test_free_keys_do_not_make_two_experiments_differ():
    free = ["data.workers=9", "train.log_every=7", "track.update_intervals={lasot: 3}", "track.compile=true"]
    one, other = load("mmg_tiny"), load("mmg_tiny", [*free, "train.lr=0.5", "model.decoder.mask_ratio=0.5"])
    assert differing_keys(one, other) == ["model.decoder.mask_ratio", "train.lr"]
