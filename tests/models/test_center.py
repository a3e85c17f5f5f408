"""The centre head: where its box is read, and what the window changes."""

import math

import pytest
import torch
from torch import Tensor

from lib.models.center import CenterHead, hann_window, read_center


def maps(*peaks: tuple[int, int, float]) -> tuple[Tensor, Tensor, Tensor]:
    """Return maps of an 8 x 8 grid with scores at rows and columns; size and offset tell the cells apart."""
    score = torch.full((1, 8, 8), 0.1)
    for row, column, value in peaks:
        score[0, row, column] = value
    cells = torch.arange(64).reshape(8, 8) / 64
    return score, torch.stack((cells, cells / 2)).unsqueeze(0), torch.stack((cells, -cells)).unsqueeze(0)


def test_a_box_is_read_where_the_score_is_highest():
    score, size, offset = maps((2, 5, 0.9), (6, 1, 0.8))
    cell = (2 * 8 + 5) / 64
    x, y, width, height = (5 + cell) / 8, (2 - cell) / 8, cell, cell / 2
    expected = torch.tensor([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    torch.testing.assert_close(read_center(score, size, offset), expected)


def test_the_window_is_symmetric_highest_in_the_middle_and_never_zero():
    window = hann_window(8)
    torch.testing.assert_close(window, window.T)
    torch.testing.assert_close(window, window.flip(0))
    assert window[0, 0].item() == pytest.approx(math.sin(math.pi / 9) ** 4)
    assert window[3, 3].item() == pytest.approx(window.max().item()) and window.min() > 0


def test_tracking_prefers_a_peak_near_the_middle_and_training_the_highest(monkeypatch):
    head = CenterHead(4, 8, 8).eval()
    score, size, offset = maps((3, 4, 0.6), (0, 7, 0.9))
    for branch, values in ((head.score, score.unsqueeze(1).logit()), (head.size, size.logit()), (head.offset, offset)):
        monkeypatch.setattr(branch, "forward", lambda features, values=values: values)
    output = head(torch.zeros(1, 64, 4))
    torch.testing.assert_close(output.crop_boxes_xyxy, read_center(*maps((0, 7, 0.9))))
    torch.testing.assert_close(output.tracked_boxes_xyxy, read_center(*maps((3, 4, 0.6))))


def test_a_token_moves_the_score_where_it_lies():
    torch.manual_seed(0)
    head = CenterHead(8, 16, 16).eval()
    tokens = torch.randn(1, 256, 8)
    changed = tokens.clone()
    changed[0, 3 * 16 + 12] += 3  # grid row 3, column 12 of 16
    with torch.no_grad():
        moved = (head(changed).score_map - head(tokens).score_map)[0].abs() > 0
    assert moved[3, 12]
    rows, columns = moved.nonzero().unbind(1)
    # Four convolutions of 3 x 3 reach four tokens.
    assert rows.max() <= 7 and columns.min() >= 8
