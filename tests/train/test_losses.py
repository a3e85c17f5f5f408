"""The objective by hand: named terms unweighted, weights applied once, masked error on masked tokens only."""

import math

import pytest
import torch

from lib.config.refine_schema import RefineLoss
from lib.config.schema import Loss
from lib.models.decoder import MMGReconstruction
from lib.models.head import CornerOutput
from lib.models.mmg import MMGOutput
from lib.train.losses import (
    center_map,
    focal_loss,
    mask_loss,
    masked_mean_squared_error,
    reconstruction_losses,
    soft_iou,
    tracking_loss,
)


def constant(value: float, tokens: int = 4) -> torch.Tensor:
    return torch.full((2, tokens, 3), value)


def reconstruction(**changes) -> MMGReconstruction:
    masked = torch.tensor([[True, True, True, False]]).repeat(2, 1)
    fields = {
        "coarse_online": constant(1.0), "coarse_search": constant(2.0), "fine_online": constant(3.0),
        "fine_search": constant(4.0), "mask_online": masked, "mask_search": masked, "target_online": constant(0.0),
        "target_search": constant(0.0),
    }  # fmt: skip
    return MMGReconstruction(**{**fields, **changes})


def test_masked_error_counts_masked_tokens_only():
    prediction, target = torch.zeros(1, 4, 2), torch.zeros(1, 4, 2)
    prediction[0, 0] = 3.0  # seen: does not count
    prediction[0, 2] = 2.0  # masked: 4 on one of two masked tokens
    masked = torch.tensor([[False, False, True, True]])
    assert masked_mean_squared_error(prediction, target, masked).item() == pytest.approx(2.0)


def test_without_masked_tokens_the_mean_runs_over_all():
    prediction = torch.full((1, 4, 2), 2.0, requires_grad=True)
    loss = masked_mean_squared_error(prediction, torch.zeros(1, 4, 2), torch.zeros(1, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(4.0)
    assert prediction.grad is not None and torch.isfinite(prediction.grad).all()


def test_mean_over_images_sum_over_stages():
    terms = reconstruction_losses(reconstruction())
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"coarse_online": 1, "coarse_search": 4, "fine_online": 9, "fine_search": 16, "reconstruction": 2.5 + 12.5}
    )


def test_what_is_off_has_no_term():
    terms = reconstruction_losses(reconstruction(coarse_online=None, coarse_search=None, fine_online=None))
    assert {name: term.item() for name, term in terms.items()} == {"fine_search": 16, "reconstruction": 16}


def test_weights_are_applied_once_and_terms_stay_unweighted():
    corners = CornerOutput(torch.tensor([[0.1, 0.1, 0.5, 0.5]] * 2), torch.zeros(2, 1, 1), torch.zeros(2, 1, 1))
    targets = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.3, 0.1, 0.7, 0.5]])
    output = MMGOutput(corners, reconstruction(), None)
    losses = tracking_loss(output, targets, Loss(reconstruction=2.0, l1=3.0, complete_iou=7.0))
    distance = 0.04 / (0.36 + 0.16)
    assert losses.terms["l1"].item() == pytest.approx(0.05)
    assert losses.terms["complete_iou"].item() == pytest.approx((0 + 1 - 1 / 3 + distance) / 2, rel=1e-4)
    expected = 3 * losses.terms["l1"] + 7 * losses.terms["complete_iou"] + 2 * 15.0
    assert losses.total.item() == pytest.approx(expected.item())
    assert losses.measures["mean_iou"].item() == pytest.approx((1 + 1 / 3) / 2, rel=1e-4)


def test_the_map_of_centres_peaks_at_the_token_corner_nearest_to_the_centre():
    target = center_map(torch.tensor([[0.25, 0.5, 0.75, 0.9], [0.0, 0.0, 0.1, 0.1]]), 16)
    assert target[0].argmax().item() == 11 * 16 + 8 and target[0, 11, 8] == 1  # the centre is (8, 11.2) of 16
    # Sides 8 and 6.4 reach sqrt((.7 * 14.4)^2 + 4 * .7 * .3 * 51.2) - .7 * 14.4 = 1.95 tokens, so 1; sigma is 3 / 6.
    assert target[0, 11, 9].item() == pytest.approx(math.exp(-2))
    assert target[0, 10, 7].item() == pytest.approx(math.exp(-4))
    assert (target[0] > 0).sum() == 9
    assert (target[1] > 0).sum() == 1 and target[1, 1, 1] == 1


def test_the_focal_loss_is_cornernet_s():
    score, target = torch.tensor([[0.5, 0.25, 0.75]]), torch.tensor([[1.0, 0.5, 0.0]])
    here = 0.5**2 * math.log(0.5)
    beside = 0.5**4 * 0.25**2 * math.log(0.75) + 0.75**2 * math.log(0.25)
    assert focal_loss(score, target).item() == pytest.approx(-(here + beside))
    twice = focal_loss(score.repeat(2, 1), torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 0.0]]))
    other = 0.5**2 * math.log(0.5) + beside
    assert twice.item() == pytest.approx(-(here + beside + other))


def test_soft_iou_by_hand():
    probability = torch.tensor([[[0.5, 1.0], [0.0, 0.25]]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    # Intersection .5 + 1; union .5 + 1 - .5 + 1 ... = (.5+1-.5) + (1+1-1) + 0 + .25.
    assert soft_iou(probability, target).item() == pytest.approx(1.5 / 2.25, abs=1e-5)
    nothing = torch.zeros(1, 2, 2)
    assert soft_iou(nothing, nothing).item() == pytest.approx(1)


def test_terms_of_masks_are_unweighted_and_their_total_weighted():
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    mask = torch.tensor([[[True, False], [False, False]]])
    losses = mask_loss(logits, mask, RefineLoss(cross_entropy=2.0, iou=3.0))
    # Every pixel at probability one half: intersection .5, union .5 * 3 + 1.
    assert losses.terms["cross_entropy"].item() == pytest.approx(math.log(2))
    assert losses.terms["iou"].item() == pytest.approx(1 - 0.5 / 2.5, abs=1e-5)
    assert losses.total.item() == pytest.approx(2 * math.log(2) + 3 * 0.8, abs=1e-5)
    losses.total.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0] < 0 and (logits.grad.flatten()[1:] > 0).all()


def test_the_measure_of_masks_is_the_iou_of_hard_masks():
    logits = torch.tensor([[[3.0, 0.1], [-0.1, -3.0]]])
    mask = torch.tensor([[[True, False], [True, False]]])
    losses = mask_loss(logits, mask, RefineLoss(cross_entropy=1.0, iou=0.0))
    assert losses.measures["mask_iou"].item() == pytest.approx(1 / 3, abs=1e-5)
