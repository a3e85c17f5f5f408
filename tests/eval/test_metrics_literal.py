"""The evaluation against one that is written from its definition: a frame at a time, in Python's own numbers.

Random sequences are drawn to be awkward: whole and quarter pixels, so that errors and overlaps meet thresholds exactly;
boxes of no size, in the truth and in the prediction, single and in runs; unannotated and absent frames in any
combination; corners left of and above the picture; files that are longer than the video.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from lib.eval.score.metrics import PROTOCOLS, Protocol, check_predictions, got10k_overlap, score_sequence
from lib.eval.score.scores import MEASURES, BenchmarkScores, SequenceScores
from lib.eval.score.trackingnet import server_curves, server_scores

Box = tuple[float, float, float, float]

OVERLAP = [0.05 * step for step in range(21)]
PIXELS = [float(step) for step in range(51)]
SIDES = [step / 100 for step in range(51)]


class Judged(NamedTuple):
    """One frame: its IoU, centre error and normalised centre error, as the curves count them."""

    overlap: float
    error: float
    norm_error: float


class Video(NamedTuple):
    predicted: list[Box]
    true: list[Box]
    absent: list[bool]


def judge(video: Video, label: str, protocol: Protocol) -> list[Judged]:
    """Judge every frame of a video by the rules, one after the other."""
    judged = []
    previous = video.predicted[0]
    for index, (true, absent) in enumerate(zip(video.true, video.absent, strict=True)):
        predicted = video.predicted[index]
        unannotated = any(math.isnan(number) for number in true)
        if index > 0 and (predicted[2] == 0 or predicted[3] == 0) and not unannotated:
            predicted = previous
        previous = predicted  # the chain starts from row 1 as predicted,
        if index == 0:
            predicted = true  # which only then becomes the true box
        sized = not unannotated and true[2] > 0 and true[3] > 0
        if protocol == "pytracking":
            sized = sized and true[0] > 0 and true[1] > 0
        if sized and not absent:
            judged.append(
                Judged(overlap_of(predicted, true), error_of(predicted, true), norm_error_of(predicted, true))
            )
        else:
            judged.append(judge_invalid(label, protocol, absent))
    return judged


def judge_invalid(label: str, protocol: Protocol, absent: bool) -> Judged:
    """Judge a frame without a usable true box: never an overlap; errors by the quirks of each published tool."""
    hit, miss = -1.0, math.inf
    error = norm_error = miss
    if protocol != "strict":
        if label == "uav":
            error = norm_error = hit
        if label == "lasot_ext":
            norm_error = hit
        if label == "lasot" and not absent:
            norm_error = hit
    return Judged(-1.0, error, norm_error)


def overlap_of(one: Box, other: Box) -> float:
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right = min(one[0] + one[2] - 1, other[0] + other[2] - 1)
    bottom = min(one[1] + one[3] - 1, other[1] + other[3] - 1)
    shared = max(0.0, right - left + 1) * max(0.0, bottom - top + 1)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def centre(box: Box) -> tuple[float, float]:
    return box[0] + 0.5 * (box[2] - 1), box[1] + 0.5 * (box[3] - 1)


def error_of(predicted: Box, true: Box) -> float:
    (x, y), (true_x, true_y) = centre(predicted), centre(true)
    return math.sqrt((x - true_x) * (x - true_x) + (y - true_y) * (y - true_y))


def norm_error_of(predicted: Box, true: Box) -> float:
    """Divide both centres by the sides of the true box, then measure."""
    (x, y), (true_x, true_y) = centre(predicted), centre(true)
    across, down = x / true[2] - true_x / true[2], y / true[3] - true_y / true[3]
    return math.sqrt(across * across + down * down)


def curves_of(frames: list[Judged]) -> list[list[float]]:
    """Return success, precision and normalised precision: shares of all frames."""
    return [
        [sum(frame.overlap > threshold for frame in frames) / len(frames) for threshold in OVERLAP],
        [sum(frame.error <= threshold for frame in frames) / len(frames) for threshold in PIXELS],
        [sum(frame.norm_error <= threshold for frame in frames) / len(frames) for threshold in SIDES],
    ]


def draw_video(rng: np.random.Generator, nan_rows: bool = True) -> Video:
    num_frames = int(rng.integers(1, 40))
    grid = rng.choice([1.0, 0.25, 1e-4])  # pixels; the last is what result files are written to
    spread = rng.choice([0.5, 4.0, 16.0])
    true = rng.uniform((-8, -8, 1, 1), (60, 60, 48, 48), (num_frames, 4))
    extra = int(rng.integers(0, 4))  # rows beyond the end
    predicted = np.concatenate((true, np.tile(true[-1:], (extra, 1)))) + rng.normal(0, spread, (num_frames + extra, 4))
    true, predicted = (np.round(boxes / grid) * grid for boxes in (true, predicted))
    predicted[:, 2:] = np.maximum(predicted[:, 2:], 0)
    # Some predictions are the true box, moved or cut by whole quarters of its sides.
    quarters = rng.random(num_frames) < 0.3
    predicted[:num_frames][quarters] = true[quarters]
    if rng.random() < 0.5:
        predicted[:num_frames, 2] *= np.where(quarters, rng.integers(1, 5, num_frames) / 4, 1)
    else:
        predicted[:num_frames, 0] += np.where(quarters, rng.integers(0, 4, num_frames) / 4 * true[:, 2], 0)
    for boxes in (true, predicted):
        for side in (2, 3):
            boxes[rng.random(len(boxes)) < 0.08, side] = 0
        if len(boxes) > 6:
            boxes[3:6] = 0 if rng.random() < 0.3 else boxes[3:6]  # a run of them
    if nan_rows:
        true[rng.random(num_frames) < 0.08] = np.nan
        true[rng.random(num_frames) < 0.03, 1] = np.nan
    return Video(
        predicted=[tuple(row) for row in predicted.tolist()],
        true=[tuple(row) for row in true.tolist()],
        absent=(rng.random(num_frames) < 0.15).tolist(),
    )


def score(video: Video, label: str, protocol: Protocol) -> SequenceScores:
    true = np.array(video.true)
    predicted = check_predictions(np.array(video.predicted), len(true), "video.txt")
    return score_sequence("video", predicted, true, np.array(video.absent), label=label, protocol=protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("label", ["default", "lasot", "lasot_ext", "uav"])
def test_every_curve_equals_the_one_counted_by_hand(label: str, protocol: Protocol) -> None:
    rng = np.random.default_rng(11)
    for _ in range(40):
        video = draw_video(rng)
        scores = score(video, label, protocol)
        expected = curves_of(judge(video, label, protocol))
        found = (scores.success_curve, scores.precision_curve, scores.norm_precision_curve)
        for curve, by_hand in zip(found, expected, strict=True):
            # The same count over the same number of frames: not close, but equal.
            assert curve.tolist() == by_hand, video


def test_the_awkward_cases_do_occur() -> None:
    rng = np.random.default_rng(11)
    frames = [frame for _ in range(200) for frame in judge(draw_video(rng), "lasot", "stark")]
    for values, thresholds in (
        ([frame.overlap for frame in frames], {0.0, 0.25, 0.5, 0.75, 1.0}),
        ([frame.error for frame in frames], {0.0, 5.0, 10.0}),
        ([frame.norm_error for frame in frames], {0.0, 0.25, 0.5}),
    ):
        assert thresholds <= set(values), "no value lies on a threshold: the draw has become too easy"


def test_an_overlap_of_twentieths_is_not_above_its_own_threshold() -> None:
    """Tools step through the thresholds in ways that differ in the last bit; none may move a frame across one."""
    true = np.tile([10.0, 10, 20, 20], (2, 1))
    for step in range(21):
        # Covers step / 20 of the true box, or nothing.
        predicted = np.array([true[0], [10, 10, 20, step] if step else [100, 100, 20, 20]])
        curve = score_sequence("video", predicted, true, np.zeros(2, bool)).success_curve
        assert curve.tolist() == pytest.approx([((0.05 * k < 1) + (step > k)) / 2 for k in range(21)])


def test_got10k_pools_what_a_frame_by_frame_count_finds() -> None:
    """Boxes are clipped to the picture, frame 1 and hidden frames dropped, and all others of all videos pooled."""
    rng = np.random.default_rng(19)
    width, height = 64.0, 48.0
    scores, by_hand = [], []
    for _ in range(40):
        video = draw_video(rng, nan_rows=False)
        num_frames = len(video.true)
        cover = rng.integers(0, 4, num_frames)
        true, predicted = np.array(video.true), np.array(video.predicted[:num_frames])
        pooled = got10k_overlap(predicted, true, cover, (int(height), int(width)))
        scores.append(score_sequence("video", predicted, true, np.zeros(num_frames, bool), pooled=pooled))
        for index in range(1, num_frames):
            if cover[index] == 0:
                continue
            clipped = []
            for x, y, w, h in (video.predicted[index], video.true[index]):
                left, top = min(max(x, 0.0), width), min(max(y, 0.0), height)
                clipped.append((left, top, min(max(w, 0.0), width - left), min(max(h, 0.0), height - top)))
            empty = all(box[2] * box[3] == 0 for box in clipped)
            by_hand.append(0.0 if empty else overlap_of(*clipped))
    pooled_scores = BenchmarkScores("tracker", tuple(scores))
    assert len(by_hand) > 300 and pooled_scores.ao == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-12)
    assert MEASURES["sr50"].read(pooled_scores) == sum(overlap > 0.5 for overlap in by_hand) / len(by_hand)
    assert MEASURES["sr75"].read(pooled_scores) == sum(overlap > 0.75 for overlap in by_hand) / len(by_hand)


def test_the_servers_formulas_frame_by_frame() -> None:
    """Whole pixels, an overlap that equals its threshold is a success, and areas by trapezoids over 21 thresholds."""
    rng = np.random.default_rng(23)
    curves, by_hand = [], []
    for _ in range(20):
        video = draw_video(rng, nan_rows=False)
        num_frames = len(video.true)
        true, predicted = np.array(video.true), np.array(video.predicted[:num_frames])
        curves.append(server_curves(predicted, true))
        rows = [[0] * 21 for _ in range(3)]
        for index in range(num_frames):
            truth = [float(round(number)) for number in video.true[index]]
            box = truth if index == 0 else [float(round(number)) for number in video.predicted[index]]
            shared = 1.0
            for axis in (0, 1):
                shared *= max(
                    0.0, min(box[axis] + box[axis + 2], truth[axis] + truth[axis + 2]) - max(box[axis], truth[axis])
                )
            union = box[2] * box[3] + truth[2] * truth[3] - shared
            overlap = shared / union if union else 0.0
            across, down = (box[axis] + box[axis + 2] / 2 - truth[axis] - truth[axis + 2] / 2 for axis in (0, 1))
            for step in range(21):
                rows[0][step] += overlap >= np.linspace(0, 1, 21)[step]
                rows[1][step] += math.hypot(across, down) <= 2.5 * step
                if truth[2] > 0 and truth[3] > 0:
                    error = math.sqrt((across / truth[2]) ** 2 + (down / truth[3]) ** 2)
                    rows[2][step] += error <= np.linspace(0, 0.5, 21)[step]
        by_hand.append([[count / num_frames for count in row] for row in rows])
    scores = server_scores(curves)
    for found, row in zip((scores.auc, scores.precision, scores.norm_precision), range(3), strict=True):
        mean = [sum(video[row][step] for video in by_hand) / len(by_hand) for step in range(21)]
        area = sum((one + other) / 2 / 20 for one, other in pairwise(mean))
        assert found == pytest.approx(area, abs=1e-12)
