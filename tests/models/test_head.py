"""The corner head: where a cell lies, and the pyramid as it is published."""

import pytest
import torch
from torch.nn.functional import interpolate

from lib.models.center import CenterHead
from lib.models.head import CornerBranch, PyramidCornerHead, soft_argmax


def test_a_one_hot_map_gives_the_centre_of_its_cell():
    logits = torch.full((2, 8, 16), -1e4)
    logits[0, 3, 5] = logits[1, 7, 0] = 1e4
    expected = torch.tensor([[5.5 / 16, 3.5 / 8], [0.5 / 16, 7.5 / 8]])
    torch.testing.assert_close(soft_argmax(logits), expected, rtol=0, atol=1e-6)


def test_a_flat_map_gives_the_middle_and_two_peaks_the_mean():
    torch.testing.assert_close(soft_argmax(torch.zeros(1, 6, 6)), torch.tensor([[0.5, 0.5]]))
    logits = torch.full((1, 4, 4), -1e4)
    logits[0, 0, 0] = logits[0, 2, 3] = 7.0
    torch.testing.assert_close(soft_argmax(logits), torch.tensor([[(0.5 + 3.5) / 8, (0.5 + 2.5) / 8]]))


def test_corners_are_computed_in_float32_under_autocast():
    torch.manual_seed(0)
    logits = (8 * torch.randn(3, 64, 64)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        corners = soft_argmax(logits)
    assert corners.dtype == torch.float32
    torch.testing.assert_close(corners, soft_argmax(logits.float()), rtol=0, atol=1e-6)


def test_a_branch_is_the_published_pyramid():
    torch.manual_seed(0)
    branch = CornerBranch(12, 32).eval()
    for module in branch.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
    features = torch.randn(2, 12, 4, 4)

    def up(tensor: torch.Tensor, factor: int) -> torch.Tensor:
        return interpolate(tensor, scale_factor=factor, mode="nearest")

    coarse = branch.coarse(features)
    middle = branch.middle(up(coarse, 2) + up(branch.middle_lateral(features), 2))
    fine = branch.fine(up(middle, 2) + up(branch.fine_lateral(features), 4))
    logits = branch.fine_logits(fine) + up(branch.coarse_logits(coarse), 4) + up(branch.middle_logits(middle), 2)
    assert logits.shape == (2, 1, 16, 16)
    torch.testing.assert_close(branch(features), logits[:, 0], rtol=0, atol=1e-6)


def test_a_token_moves_the_logits_where_it_lies():
    torch.manual_seed(0)
    head = PyramidCornerHead(8, 16, 16).eval()
    tokens = torch.randn(1, 256, 8)
    changed = tokens.clone()
    changed[0, 3 * 16 + 12] += 3  # grid row 3, column 12 of 16
    with torch.no_grad():
        before, after = head(tokens), head(changed)
    for one, other in zip(before[1:], after[1:], strict=True):  # the logits of both corners
        moved = (one - other)[0].abs()
        rows, columns = moved.sum(dim=1), moved.sum(dim=0)
        centre = torch.arange(64) + 0.5
        assert ((rows * centre).sum() / rows.sum()).item() == pytest.approx(4 * 3.5, abs=2.5)
        assert ((columns * centre).sum() / columns.sum()).item() == pytest.approx(4 * 12.5, abs=2.5)


def test_the_box_reads_top_left_then_bottom_right():
    torch.manual_seed(0)
    head = PyramidCornerHead(8, 4, 16).eval()
    output = head(torch.randn(2, 16, 8))
    torch.testing.assert_close(output.crop_boxes_xyxy[:, :2], soft_argmax(output.top_left_logits))
    torch.testing.assert_close(output.crop_boxes_xyxy[:, 2:], soft_argmax(output.bottom_right_logits))
    assert output.top_left_logits.shape == (2, 16, 16)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    head = PyramidCornerHead(16, 4, 32)
    head(torch.randn(4, 16, 16)).crop_boxes_xyxy.square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_channels_that_cannot_be_halved_three_times_are_refused():
    for kind in (PyramidCornerHead, CenterHead):
        with pytest.raises(ValueError, match="channels 100 must be a multiple of 8"):
            kind(16, 4, 100)
