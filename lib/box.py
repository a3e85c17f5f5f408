"""Box formats, IoU and CIoU on tensors; nothing else in the tree computes them for training."""

import math

import torch
from torch import Tensor

_EPSILON = 1e-7


def xyxy_to_xywh(boxes_xyxy: Tensor) -> Tensor:
    """Convert (..., 4) boxes from two corners to left, top, width, height."""
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    return torch.stack((left, top, right - left, bottom - top), dim=-1)


def iou(boxes_xyxy: Tensor, target_xyxy: Tensor) -> Tensor:
    """Intersection over union of paired (..., 4) boxes; an inverted or empty box has area zero.

    Returns (...) in [0, 1]; zero where both boxes are empty.
    """
    near = torch.maximum(boxes_xyxy[..., :2], target_xyxy[..., :2])
    far = torch.minimum(boxes_xyxy[..., 2:], target_xyxy[..., 2:])
    intersection = _area(torch.cat((near, far), dim=-1))
    union = _area(boxes_xyxy) + _area(target_xyxy) - intersection
    return intersection / union.clamp(min=_EPSILON)


def complete_iou_loss(boxes_xyxy: Tensor, target_xyxy: Tensor) -> Tensor:
    """CIoU loss of paired (..., 4) boxes: 1 - IoU + centre distance + aspect penalty.

    Finite, with a finite gradient, for every four finite numbers: inverted and empty boxes included.
    torchvision's version gives NaN on an empty box, which is why this one exists.

    Source: Zheng et al., "Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression", 2020.

    Returns:
        (...) in [0, 3]; the aspect weight carries no gradient, as published.
    """
    overlap = iou(boxes_xyxy, target_xyxy)

    # The enclosing box is taken over all four corners, so an inverted box cannot make its diagonal negative.
    corners = torch.stack((boxes_xyxy[..., :2], boxes_xyxy[..., 2:], target_xyxy[..., :2], target_xyxy[..., 2:]))
    enclosing = corners.amax(dim=0) - corners.amin(dim=0)
    diagonal = enclosing.square().sum(dim=-1)
    centre_offset = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:] - target_xyxy[..., :2] - target_xyxy[..., 2:]) / 2
    distance = centre_offset.square().sum(dim=-1) / diagonal.clamp(min=_EPSILON)

    aspect = 4 / math.pi**2 * (_aspect_angle(boxes_xyxy) - _aspect_angle(target_xyxy)).square()
    with torch.no_grad():
        weight = aspect / (1 - overlap + aspect).clamp(min=_EPSILON)
    return 1 - overlap + distance + weight * aspect


def _area(boxes_xyxy: Tensor) -> Tensor:
    width, height = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0).unbind(-1)
    return width * height


def _aspect_angle(boxes_xyxy: Tensor) -> Tensor:
    """Return atan(width / height), with sides held above zero and the gradient of the published code.

    The true gradient carries 1 / (width^2 + height^2), which explodes on small boxes; the authors replace it by 1.
    """
    width, height = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=_EPSILON).unbind(-1)
    angle = torch.atan2(width, height)
    square = (width.square() + height.square()).detach()
    return angle.detach() + (angle - angle.detach()) * square
