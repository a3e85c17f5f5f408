"""CIoU and IoU: hand values, torchvision on regular boxes, and finite answers on the boxes that break others."""

import math

import pytest
import torch
from torchvision.ops import complete_box_iou_loss

from lib.box import complete_iou_loss, iou, xyxy_to_xywh

ODD_BOXES = [
    [0.0, 0.0, 0.0, 0.0],
    [0.5, 0.5, 0.5, 0.9],
    [0.9, 0.9, 0.1, 0.1],
    [0.9, 0.1, 0.1, 0.9],
    [-5.0, -5.0, 7.0, 9.0],
    [0.2, 0.2, 0.2000001, 0.2000001],
]


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator)
    return torch.cat((corner, corner + 0.01 + torch.rand(count, 2, generator=generator)), dim=1)


def test_iou_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 4.0, 1.0]])
    targets = torch.tensor([[1.0, 1.0, 3.0, 3.0], [1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 4.0, 1.0]])
    assert iou(boxes, targets).tolist() == pytest.approx([1 / 7, 0.0, 1.0])


def test_complete_iou_by_hand():
    # Target 2 x 2 at the origin, prediction 4 x 2 beside its left half: intersection 4, union 8.
    box, target = torch.tensor([0.0, 0.0, 4.0, 2.0]), torch.tensor([0.0, 0.0, 2.0, 2.0])
    distance = 1.0 / (16 + 4)  # centres 1 apart, enclosing diagonal squared 20
    aspect = 4 / math.pi**2 * (math.atan(2.0) - math.atan(1.0)) ** 2
    expected = 0.5 + distance + aspect * aspect / (0.5 + aspect)
    assert complete_iou_loss(box, target).item() == pytest.approx(expected, rel=1e-5)


def test_complete_iou_agrees_with_torchvision_on_regular_boxes():
    boxes, targets = random_boxes(200, 1), random_boxes(200, 2)
    torch.testing.assert_close(
        complete_iou_loss(boxes, targets), complete_box_iou_loss(boxes, targets), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("box", ODD_BOXES)
@pytest.mark.parametrize("target", ODD_BOXES)
def test_complete_iou_is_finite_with_finite_gradient_on_inverted_and_empty_boxes(box, target):
    prediction = torch.tensor(box, requires_grad=True)
    loss = complete_iou_loss(prediction, torch.tensor(target))
    loss.backward()
    assert prediction.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(prediction.grad).all()


def test_complete_iou_pulls_an_inverted_box_towards_the_target():
    box, target = torch.tensor([0.6, 0.6, 0.4, 0.4], requires_grad=True), torch.tensor([0.2, 0.2, 0.5, 0.5])
    optimizer = torch.optim.SGD([box], lr=0.001)
    for _ in range(2000):
        optimizer.zero_grad()
        (complete_iou_loss(box, target) + (box - target).abs().mean()).backward()
        optimizer.step()
    assert iou(box.detach(), target).item() > 0.8


def test_aspect_gradient_stays_small_on_a_tiny_box():
    box = torch.tensor([0.5, 0.5, 0.5001, 0.5002], requires_grad=True)
    complete_iou_loss(box, torch.tensor([0.2, 0.2, 0.8, 0.4])).backward()
    assert box.grad is not None and box.grad.abs().max() < 10


def test_corners_become_sides_by_hand():
    boxes_xyxy = torch.tensor([[[1.0, 2.0, 4.0, 8.0]], [[-3.0, 0.5, -1.0, 0.5]]])
    assert xyxy_to_xywh(boxes_xyxy).tolist() == [[[1.0, 2.0, 3.0, 6.0]], [[-3.0, 0.5, 2.0, 0.0]]]
