"""The tracker around stand-in networks: geometry, clipping, bad output, template update."""

from collections.abc import Sequence as Indexed

import numpy as np
import pytest
import torch
from torch import Tensor

from lib.data.crop import CropWindow
from lib.models.mmg import TrackOutput
from lib.tracker.mmg import MMGTracker, TargetCrops, TrackingModel, clip_to_frame, smooth_size
from lib.tracker.template_update import TemplateUpdate, UpdateMode

TEMPLATE_SIZE, SEARCH_SIZE = 32, 64
NAN = float("nan")


def make_tracker(
    model: TrackingModel, mode: UpdateMode = "none", interval: int = 100, size: int = SEARCH_SIZE, online: bool = True
) -> MMGTracker:
    update, crops = TemplateUpdate(mode, interval), TargetCrops(TEMPLATE_SIZE, 2.0, size, 4.0)
    return MMGTracker(model, crops, update, online_template=online)


class BrightBoxFinder:
    """A network that truly looks: it answers the extent of the bright pixels in the search crop, to sub-pixels."""

    score = None

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        light = search[0].double().mean(dim=0) / 255
        extents = []
        for axis in (0, 1):
            profile = light.sum(dim=axis)
            positions = torch.arange(len(profile)) + 0.5
            extents.append(((profile * positions).sum() / profile.sum(), profile.sum() / profile.max()))
        (x, width), (y, height) = extents
        corners = torch.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2)) / search.shape[-1]
        return TrackOutput(corners.float().unsqueeze(0), None)


class Script:
    """A network that answers prepared boxes and scores, and remembers what it was shown."""

    def __init__(self, boxes_xyxy: Indexed[Indexed[float]], scores: Indexed[float] | None = None) -> None:
        self.score = None if scores is None else torch.nn.Identity()
        self._boxes = list(boxes_xyxy)
        self._scores = scores
        self.shown: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def track(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> TrackOutput:
        number = len(self.shown)
        self.shown.append((template, search, online_template))
        scores = None if self._scores is None else torch.tensor([self._scores[number]])
        return TrackOutput(torch.tensor([self._boxes[number]], dtype=torch.float32), scores)


def picture(height: int, width: int, box_xywh: Indexed[int]) -> np.ndarray:
    """Return a black frame with a white box of whole pixels."""
    image = np.zeros((height, width, 3), np.uint8)
    left, top, box_width, box_height = box_xywh
    image[max(top, 0) : top + box_height, max(left, 0) : left + box_width] = 255
    return image


def noise(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_what_the_network_sees_comes_back_where_it_is_in_the_frame() -> None:
    truth = [(40, 30, 24, 32), (44, 36, 26, 30), (52, 44, 30, 28), (66, 40, 36, 24), (90, 52, 40, 20)]
    tracker = make_tracker(BrightBoxFinder(), size=256)
    tracker.initialize(picture(120, 160, truth[0]), np.array(truth[0]))
    for box_xywh in truth[1:]:
        prediction = tracker.track(picture(120, 160, box_xywh))
        np.testing.assert_allclose(prediction.box_xywh, box_xywh, atol=0.1)
        assert prediction.finite and np.isnan(prediction.score)


def test_frames_may_change_their_size() -> None:
    tracker = make_tracker(BrightBoxFinder(), size=256)
    tracker.initialize(picture(120, 160, (60, 50, 30, 20)), np.array((60, 50, 30, 20)))
    for height, width in ((240, 320), (90, 100), (75, 161)):
        prediction = tracker.track(picture(height, width, (55, 48, 30, 20)))
        np.testing.assert_allclose(prediction.box_xywh, (55, 48, 30, 20), atol=0.1)


@pytest.mark.parametrize("first", [(-20, -10, 40, 30), (150, 110, 40, 40), (-50, -50, 400, 300), (70, 60, 1, 1)])
def test_a_first_box_across_the_border_or_tiny_starts(first: tuple[int, int, int, int]) -> None:
    tracker = make_tracker(Script([(0.25, 0.25, 0.75, 0.75)]))
    image = noise(0)
    tracker.initialize(image, np.array(first))
    left, top, width, height = tracker.track(image).box_xywh
    assert left >= 0 and top >= 0 and left + width <= 160 and top + height <= 120 and min(width, height) >= 10


@pytest.mark.parametrize(
    ("box_xywh", "message"),
    [((10, 10, 0, 5), "no area"), ((170, 10, 20, 20), "outside the frame"), ((NAN, 1, 2, 3), "finite")],
)
def test_a_box_that_cannot_start_a_track_is_refused(box_xywh: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_tracker(Script([])).initialize(noise(0), np.array(box_xywh))


@pytest.mark.parametrize(
    ("box_xywh", "clipped"),
    [
        ((20, 30, 15, 25), (20, 30, 15, 25)),  # inside: as it is
        ((-5, -8, 40, 40), (0, 0, 35, 32)),  # across the top left corner
        ((95, 70, 20, 20), (90, 70, 10, 10)),  # 5 px inside: moved until 10 are
        ((300, -90, 20, 20), (90, 0, 10, 10)),  # far outside
        ((-300, 30, 20, 20), (0, 30, 10, 20)),
        ((50, 50, -20, 4), (50, 50, 10, 10)),  # inverted, and too thin
        ((-10, -10, 500, 500), (0, 0, 100, 80)),  # larger than the frame
    ],
)
def test_clipping_by_hand(box_xywh: tuple[float, ...], clipped: tuple[float, ...]) -> None:
    np.testing.assert_allclose(clip_to_frame(np.array(box_xywh, dtype=float), 80, 100, 10.0), clipped)


def test_smoothing_a_size_by_hand() -> None:
    last = np.array((0.0, 0.0, 10.0, 20.0))
    predicted = np.array((100.0, 100.0, 40.0, 5.0))  # four times as wide, a quarter as high; four is more than e
    width, height = 10 * np.e**0.5, 20 * np.e**-0.5
    expected = (120 - width / 2, 102.5 - height / 2, width, height)
    np.testing.assert_allclose(smooth_size(last, predicted, 0.5), expected)
    np.testing.assert_allclose(smooth_size(last, predicted, 0.0)[2:], last[2:])
    modest = np.array((100.0, 100.0, 12.0, 15.0))
    np.testing.assert_allclose(smooth_size(last, modest, 1.0), modest)


def test_clipped_boxes_lie_in_the_frame_and_clip_to_themselves() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        height, width = rng.integers(1, 300, 2)
        margin = float(rng.choice([0.0, 3.0, 10.0]))
        box_xywh = clip_to_frame(rng.normal(0, 300, 4), int(height), int(width), margin)
        assert (box_xywh[:2] >= 0).all() and (box_xywh[:2] + box_xywh[2:] <= (width + 1e-9, height + 1e-9)).all()
        assert (box_xywh[2:] >= np.minimum(max(margin, 1.0), (width, height)) - 1e-9).all()
        np.testing.assert_allclose(clip_to_frame(box_xywh, int(height), int(width), margin), box_xywh, atol=1e-9)


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_output_that_is_not_finite_keeps_the_last_box_and_says_so(bad: float) -> None:
    script = Script([(0.5, 0.5, 0.75, 0.75), (bad, 0.2, 0.6, 0.6), (0.375, 0.375, 0.625, 0.625)])
    tracker = make_tracker(script)
    image = noise(1)
    tracker.initialize(image, np.array((60, 40, 30, 30)))
    good, kept, after = (tracker.track(image) for _ in range(3))
    assert (good.finite, kept.finite, after.finite) == (True, False, True)
    np.testing.assert_array_equal(kept.box_xywh, good.box_xywh)
    # The last answer is the middle of the window, and the window stands around the kept box.
    center, expected = (box[:2] + box[2:] / 2 for box in (after.box_xywh, good.box_xywh))
    np.testing.assert_allclose(center, expected, atol=1e-4)


def test_a_frame_with_such_output_never_becomes_the_template() -> None:
    script = Script([(NAN, 0.2, 0.6, 0.6)] * 2, scores=[0.99, 0.99])
    tracker = make_tracker(script, "fixed", 1)
    tracker.initialize(noise(0), np.array((60, 40, 30, 30)))
    tracker.track(noise(1))
    tracker.track(noise(2))
    for template, _, online_template in script.shown:
        assert online_template is not None
        torch.testing.assert_close(online_template, template)


def test_the_best_crop_of_an_interval_becomes_the_online_template() -> None:
    scores = [0.6, 0.9, 0.7, 0.2, 0.3]
    script = Script([(0.3, 0.4, 0.7, 0.6)] * 5, scores)
    tracker = make_tracker(script, "score", 3)
    frames = [noise(seed) for seed in range(6)]
    tracker.initialize(frames[0], np.array((60, 40, 30, 30)))
    predictions = [tracker.track(frame) for frame in frames[1:]]
    assert [prediction.score for prediction in predictions] == pytest.approx(scores)

    first = template_crop(frames[0], np.array((60, 40, 30, 30)))
    best = template_crop(frames[2], predictions[1].box_xywh)
    for number, (template, _, online_template) in enumerate(script.shown):
        assert online_template is not None
        torch.testing.assert_close(template, first, msg="the first template stays for ever")
        torch.testing.assert_close(online_template, first if number < 3 else best)


def template_crop(image: np.ndarray, box_xywh: np.ndarray) -> Tensor:
    crop = CropWindow.around(box_xywh, 2.0, TEMPLATE_SIZE).cut(image)
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None]


def test_a_new_video_forgets_the_last_one() -> None:
    script = Script([(0.3, 0.4, 0.7, 0.6)] * 3, [0.9] * 3)
    tracker = make_tracker(script, "fixed", 2)
    tracker.initialize(noise(0), np.array((60, 40, 30, 30)))
    tracker.track(noise(1))
    tracker.initialize(noise(2), np.array((20, 20, 40, 20)))
    tracker.track(noise(3))
    tracker.track(noise(4))
    # One frame of the old video and one of the new: no interval of two has ended before the last frame.
    for template, _, online_template in script.shown[1:]:
        torch.testing.assert_close(template, template_crop(noise(2), np.array((20, 20, 40, 20))))
        torch.testing.assert_close(online_template, template)


def test_the_crops_are_uint8_with_channels_first_in_rgb() -> None:
    script = Script([(0.3, 0.4, 0.7, 0.6)])
    tracker = make_tracker(script)
    image = np.zeros((120, 160, 3), np.uint8)
    image[..., 0] = 200
    tracker.initialize(image, np.array((60, 40, 30, 30)))
    tracker.track(image)
    template, search, _ = script.shown[0]
    assert template.shape == (1, 3, TEMPLATE_SIZE, TEMPLATE_SIZE) and search.shape == (1, 3, SEARCH_SIZE, SEARCH_SIZE)
    assert template.dtype == search.dtype == torch.uint8
    assert template[0, 0].eq(200).all() and template[0, 1:].eq(0).all()


def test_a_two_image_model_gets_no_online_template() -> None:
    script = Script([(0.3, 0.4, 0.7, 0.6)])
    tracker = make_tracker(script, online=False)
    tracker.initialize(noise(0), np.array((60, 40, 30, 30)))
    tracker.track(noise(1))
    assert script.shown[0][2] is None


def test_an_update_that_the_model_cannot_serve_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score module: set track.update to 'fixed' or 'none'"):
        make_tracker(Script([]), "score")
    with pytest.raises(ValueError, match=r"'fixed' needs a model with an online template"):
        make_tracker(Script([]), "fixed", online=False)


def test_a_prediction_is_the_callers_to_keep() -> None:
    tracker = make_tracker(Script([(0.3, 0.4, 0.7, 0.6), (NAN, 0, 0, 0)]))
    tracker.initialize(noise(0), np.array((60, 40, 30, 30)))
    prediction = tracker.track(noise(1))
    before = prediction.box_xywh.copy()
    prediction.box_xywh[:] = 0
    np.testing.assert_array_equal(tracker.track(noise(1)).box_xywh, before)
