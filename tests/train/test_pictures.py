"""Reconstruction pictures: what is shown as input, as hidden, and as rebuilt."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lib.config.schema import Experiment
from lib.data.samples.training_set import Batch
from lib.draw import RebuiltImage
from lib.models.build import build_model
from lib.models.decoder import MMGReconstruction
from lib.models.mmg import MMG
from lib.train import pictures
from lib.train.pictures import picture_reconstructions, picture_samples

Settings = Callable[..., Experiment]
TWO_IMAGES = ("model.online_template=false", "model.decoder.search_to_online=false", "track.update=none")


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[list[RebuiltImage]]:
    """Collect the rows that pictures are made of."""
    rows: list[list[RebuiltImage]] = []

    def collect(of_sheet: list[RebuiltImage]) -> np.ndarray:
        rows.append(of_sheet)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(pictures, "reconstruction_sheet", collect)
    return rows


def batch_of(experiment: Experiment, number: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    template, search = experiment.crop.template_size, experiment.crop.search_size

    def images(side: int) -> torch.Tensor:
        return torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=generator)

    return Batch(images(template), images(template), images(search), torch.zeros(number, 4), torch.ones(number) > 0)


def perfect(model: MMG) -> Callable[..., MMGReconstruction]:
    """Replace what the decoders rebuild by the truth, in whatever form they are trained to give it."""
    assert model.decoder is not None
    rebuild = model.decoder.forward

    def forward(*arguments: object) -> MMGReconstruction:
        rebuilt = rebuild(*arguments)  # pyright: ignore[reportArgumentType]
        return rebuilt._replace(
            coarse_online=rebuilt.target_online,
            fine_online=rebuilt.target_online,
            coarse_search=rebuilt.target_search,
            fine_search=rebuilt.target_search,
        )

    return forward


def test_every_sample_has_a_row_per_rebuilt_image(small_experiment, sheets):
    experiment = small_experiment()
    batch = batch_of(experiment, 2)
    picture_reconstructions(build_model(experiment), batch)
    rows = sheets[0]
    assert [row.label for row in rows] == ["online template", "search"] * 2
    for row, images in zip(rows, (batch.online_template[0], batch.search[0]), strict=False):
        np.testing.assert_array_equal(row.original, images.permute(1, 2, 0).numpy())


def test_hidden_patches_are_grey_and_the_others_are_the_input(small_experiment, sheets):
    experiment = small_experiment()
    picture_reconstructions(build_model(experiment), batch_of(experiment, 1))
    for row, kept in zip(sheets[0], (1, 4), strict=True):  # a quarter of 4 and of 16 patches
        side = row.original.shape[0] // 16
        corners = [(16 * y, 16 * x) for y in range(side) for x in range(side)]
        patches = [np.s_[top : top + 16, left : left + 16] for top, left in corners]
        same = [patch for patch in patches if np.array_equal(row.masked[patch], row.original[patch])]
        hidden = [patch for patch in patches if len(np.unique(row.masked[patch].reshape(-1, 3), axis=0)) == 1]
        assert (len(same), len(hidden)) == (kept, len(patches) - kept)
        assert row.coarse is not None and row.fine is not None
        for patch in same:
            np.testing.assert_array_equal(row.fine[patch], row.original[patch])
        for patch in hidden:
            assert not np.array_equal(row.fine[patch], row.original[patch])
            assert not np.array_equal(row.fine[patch], row.coarse[patch])


@pytest.mark.parametrize("normalize", ["true", "false"])
@pytest.mark.parametrize("mask_ratio", ["0.75", "0"])
def test_a_perfect_reconstruction_looks_like_the_input(normalize, mask_ratio, small_experiment, sheets, monkeypatch):
    experiment = small_experiment(
        f"model.decoder.normalize_target={normalize}", f"model.decoder.mask_ratio={mask_ratio}"
    )
    model = build_model(experiment)
    assert model.decoder is not None
    monkeypatch.setattr(model.decoder, "forward", perfect(model))
    picture_reconstructions(model, batch_of(experiment, 2))
    for row in sheets[0]:
        for image in (row.coarse, row.fine):
            assert image is not None
            assert np.abs(image.astype(int) - row.original).max() <= 1


def test_with_nothing_masked_the_prediction_is_shown(small_experiment, sheets):
    experiment = small_experiment("model.decoder.mask_ratio=0")
    picture_reconstructions(build_model(experiment), batch_of(experiment, 1))
    for row in sheets[0]:
        np.testing.assert_array_equal(row.masked, row.original)
        assert row.fine is not None and np.abs(row.fine.astype(int) - row.original).mean() > 10


def test_stages_and_images_that_are_off_are_left_out(small_experiment, sheets):
    experiment = small_experiment(*TWO_IMAGES, "model.decoder.self_decoder=false")
    picture_reconstructions(build_model(experiment), batch_of(experiment, 2))
    assert [(row.label, row.coarse is None, row.fine is None) for row in sheets[0]] == [("search", True, False)] * 2


def test_the_model_is_left_in_the_mode_it_had_and_its_statistics_as_they_were(small_experiment):
    experiment = small_experiment()
    model = build_model(experiment)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for training in (True, False):
        model.train(training)
        picture_reconstructions(model, batch_of(experiment, 2))
        assert model.training == training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_pictures_of_a_checkpoint_follow_from_the_seed(small_experiment):
    experiment = small_experiment()
    state = build_model(experiment).state_dict()
    one, same, other = (picture_samples(experiment, state, 1, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_model_without_decoders_is_refused(small_experiment):
    off = [f"model.decoder.{name}=false" for name in ("self_decoder", "online_to_search", "search_to_online")]
    experiment = small_experiment(*off)
    with pytest.raises(ValueError, match="has no decoders"):
        picture_samples(experiment, build_model(experiment).state_dict(), 1, seed=0)
