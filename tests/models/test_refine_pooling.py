"""Precise RoI pooling is the integral of the bilinear surface: checked against numeric integration."""

import pytest
import torch

from lib.models.refine.network import precise_roi_pool

BOXES_XYXY = torch.tensor([[1.3, 2.1, 7.9, 6.05], [4.0, 4.0, 8.0, 8.0]])


@pytest.fixture
def features():
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(3))


def integrate(features: torch.Tensor, boxes_xyxy: torch.Tensor, size: int, samples: int) -> torch.Tensor:
    """Average the surface, a sum of tents, over samples x samples points in each bin, in float64."""
    cells_y, cells_x = (torch.arange(side, dtype=torch.float64) for side in features.shape[-2:])
    points = (torch.arange(size * samples, dtype=torch.float64) + 0.5) / (size * samples)
    pooled = []
    for image, (left, top, right, bottom) in zip(features.double(), boxes_xyxy.double(), strict=True):
        x, y = left + points * (right - left), top + points * (bottom - top)
        tents_x = (1 - (x[:, None] - cells_x).abs()).clamp(min=0)
        tents_y = (1 - (y[:, None] - cells_y).abs()).clamp(min=0)
        surface = tents_y @ image @ tents_x.T
        pooled.append(surface.unflatten(2, (size, samples)).unflatten(1, (size, samples)).mean(dim=(2, 4)))
    return torch.stack(pooled)


def test_it_equals_numeric_integration(features):
    difference = precise_roi_pool(features, BOXES_XYXY, 4) - integrate(features, BOXES_XYXY, 4, samples=400)
    assert difference.abs().max() < 2e-5


def test_a_linear_surface_gives_the_value_at_each_bins_centre():
    ramp = torch.arange(10.0).expand(1, 1, 10, 10)
    pooled = precise_roi_pool(ramp, torch.tensor([[2.0, 1.0, 6.0, 9.0]]), 4)
    assert torch.allclose(pooled[0, 0], torch.tensor([2.5, 3.5, 4.5, 5.5]).expand(4, 4))


def test_the_surface_falls_to_zero_outside_the_map():
    ones = torch.ones(1, 1, 5, 5)
    # From cell 4, the last, to 5 the surface falls from one to zero: its mean is one half; beyond there is nothing.
    pooled = precise_roi_pool(ones, torch.tensor([[4.0, 0.0, 6.0, 2.0]]), 2)
    assert torch.allclose(pooled[0, 0], torch.tensor([[0.5, 0.0], [0.5, 0.0]]))


def test_the_gradient_reaches_features_and_box(features):
    box = BOXES_XYXY[:1].clone().requires_grad_()
    target = features[:1].clone().requires_grad_()
    precise_roi_pool(target, box, 3).square().sum().backward()
    assert box.grad is not None and target.grad is not None
    moved = [
        precise_roi_pool(features[:1], box.detach() + torch.tensor([[step, 0, 0, 0]]), 3) for step in (-0.01, 0.01)
    ]
    numeric = (moved[1].square().sum() - moved[0].square().sum()) / 0.02
    assert box.grad[0, 0].item() == pytest.approx(numeric.item(), rel=0.02)
    assert target.grad.abs().sum() > 0
