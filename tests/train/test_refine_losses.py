"""Mask losses against values by hand."""

import math

import pytest
import torch

from lib.config.refine_schema import RefineLoss
from lib.train.losses import mask_loss, soft_iou


def test_soft_iou_by_hand():
    probability = torch.tensor([[[0.5, 1.0], [0.0, 0.25]]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    # Intersection .5 + 1; union .5 + 1 - .5 + 1 ... = (.5+1-.5) + (1+1-1) + 0 + .25.
    assert soft_iou(probability, target).item() == pytest.approx(1.5 / 2.25, abs=1e-5)
    nothing = torch.zeros(1, 2, 2)
    assert soft_iou(nothing, nothing).item() == pytest.approx(1)


def test_terms_are_unweighted_and_the_total_weighted():
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


def test_the_measure_is_the_iou_of_hard_masks():
    logits = torch.tensor([[[3.0, 0.1], [-0.1, -3.0]]])
    mask = torch.tensor([[[True, False], [True, False]]])
    losses = mask_loss(logits, mask, RefineLoss(cross_entropy=1.0, iou=0.0))
    assert losses.measures["mask_iou"].item() == pytest.approx(1 / 3, abs=1e-5)
