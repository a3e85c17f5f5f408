"""The static box and OpenCV's trackers, on a textured patch that moves, and on a stand-in for OpenCV's own class."""

from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from lib.tracker import TrackerSpec
from lib.tracker.classical import OpenCVTracker, StaticBox

INSTALLED = [name for name in ("MIL", "CSRT", "KCF") if f"Tracker{name}" in vars(cv2)]
FIRST_BOX = np.array((100.0, 100.0, 40.0, 30.0))


@pytest.fixture(scope="module")
def video() -> list[np.ndarray]:
    """Return 10 frames of 240 x 320 in which a patch starts at FIRST_BOX and moves 2 px right a frame."""
    rng = np.random.default_rng(0)
    backdrop = cv2.resize(rng.integers(0, 255, (15, 20, 3), dtype=np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    patch = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (40, 30), interpolation=cv2.INTER_CUBIC)
    frames = [backdrop.copy() for _ in range(10)]
    for number, frame in enumerate(frames):
        frame[100:130, 100 + 2 * number : 140 + 2 * number] = patch
    return frames


class FakeOpenCV:
    """Stands where OpenCV keeps a tracker's class; answers prepared updates."""

    answers: ClassVar[list[tuple[bool, tuple[int, int, int, int]]]] = []
    started: ClassVar[list[tuple[np.ndarray, tuple[int, int, int, int]]]] = []
    updated: ClassVar[list[np.ndarray]] = []

    @classmethod
    def create(cls) -> "FakeOpenCV":
        cls.started, cls.updated = [], []
        return cls()

    def init(self, image: np.ndarray, box: tuple[int, int, int, int]) -> None:
        self.started.append((image, box))

    def update(self, image: np.ndarray) -> tuple[bool, tuple[int, int, int, int]]:
        self.updated.append(image)
        return self.answers[len(self.updated) - 1]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeOpenCV]:
    monkeypatch.setattr(cv2, "TrackerMIL", FakeOpenCV)
    return FakeOpenCV


def test_the_static_box_stays_and_is_the_callers_to_keep(video: list[np.ndarray]) -> None:
    tracker = StaticBox()
    tracker.initialize(video[0], FIRST_BOX)
    tracker.track(video[1]).box_xywh[:] = 0
    prediction = tracker.track(video[2])
    np.testing.assert_array_equal(prediction.box_xywh, FIRST_BOX)
    assert np.isnan(prediction.score) and prediction.finite
    with pytest.raises(ValueError, match="outside the frame"):
        tracker.initialize(video[0], np.array((400, 0, 10, 10)))


@pytest.mark.parametrize("algorithm", INSTALLED)
def test_opencv_follows_a_patch_by_the_video_alone(algorithm: str, video: list[np.ndarray]) -> None:
    tracker = OpenCVTracker(algorithm)
    tracker.initialize(video[0], FIRST_BOX)
    boxes = [tracker.track(frame).box_xywh for frame in video[1:]]
    # The patch is 18 px further right; MIL draws its samples and wobbles.
    assert (np.abs(boxes[-1] - (118, 100, 40, 30)) <= (8, 12, 8, 8)).all()
    tracker.initialize(video[0], FIRST_BOX)
    np.testing.assert_array_equal([tracker.track(frame).box_xywh for frame in video[1:5]], boxes[:4])


@pytest.mark.parametrize("algorithm", INSTALLED)
@pytest.mark.parametrize(
    "box_xywh",
    [(100, 100, 1, 1), (100, 100, 4, 4), (319, 100, 5, 30), (-20, -10, 40, 30), (300, 220, 40, 30), (0, 0, 320, 240)],
)
def test_opencv_starts_on_odd_boxes(algorithm: str, box_xywh: tuple[int, ...], video: list[np.ndarray]) -> None:
    # Fed as they are, several of these make MIL run for ever, and CSRT and MIL fail.
    tracker = OpenCVTracker(algorithm)
    tracker.initialize(video[0], np.array(box_xywh))
    prediction = tracker.track(video[0])
    assert np.isfinite(prediction.box_xywh).all()
    sides = np.array(box_xywh[2:])
    assert (prediction.box_xywh[2:] > sides / 2).all() and (prediction.box_xywh[2:] < sides * 2).all()


@pytest.mark.parametrize("algorithm", INSTALLED)
def test_frames_on_which_opencv_would_never_return_are_refused(algorithm: str, video: list[np.ndarray]) -> None:
    tracker = OpenCVTracker(algorithm)
    with pytest.raises(ValueError, match=rf"frame of 12 x 240 pixels is too small for OpenCV's {algorithm}"):
        tracker.initialize(video[0][:, :12], np.array((2, 2, 6, 6)))
    tracker.initialize(video[0][:17, :17], np.array((2, 2, 6, 6)))
    assert np.isfinite(tracker.track(video[0][:17, :17]).box_xywh).all()


def test_answers_keep_the_relation_of_the_true_box_to_the_one_that_opencv_was_given(fake: type[FakeOpenCV]) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    fake.answers = [(True, (10, 20, 40, 30)), (True, (50, 40, 80, 60)), (False, (0, 0, 0, 0))]
    tracker = OpenCVTracker("MIL")
    tracker.initialize(image, np.array((9.6, 20.4, 40.8, 29.7)))
    assert fake.started[0][1] == (10, 20, 40, 30)  # 9.6 .. 50.4 and 20.4 .. 50.1, rounded
    np.testing.assert_allclose(tracker.track(image).box_xywh, (9.6, 20.4, 40.8, 29.7))
    # Twice as large, so the offsets of -0.4 and 0.4 are doubled, too.
    moved = (49.2, 40.8, 81.6, 59.4)
    np.testing.assert_allclose(tracker.track(image).box_xywh, moved)
    lost = tracker.track(image)
    np.testing.assert_allclose(lost.box_xywh, moved)
    assert lost.score == 0 and lost.finite


def test_opencv_gets_frames_of_one_size_in_bgr(fake: type[FakeOpenCV]) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[..., 0] = 255
    fake.answers = [(True, (20, 20, 40, 30)), (False, (0, 0, 0, 0))]
    tracker = OpenCVTracker("MIL")
    tracker.initialize(image, np.array((10, 20, 40, 30)))
    assert fake.started[0][0][0, 0].tolist() == [0, 0, 255]
    half = image[:50, :100]
    # Half the size: found at (20, 20) in a frame of the first size, which is (10, 10) here.
    np.testing.assert_allclose(tracker.track(half).box_xywh, (10, 10, 20, 15))
    assert fake.updated[0].shape == (100, 200, 3)
    # The last box of a lost target is scaled to the frame in which it is reported.
    np.testing.assert_allclose(tracker.track(image).box_xywh, (20, 20, 40, 30))


# What OpenCV's Vit and Nano want of a network: here the brightest part of the search region wins.
NETWORKS = {
    "vit": ("""vit (float[1,3,128,128] template, float[1,3,256,256] search)
        => (float[1,1,16,16] output1, float[1,2,16,16] output2, float[1,2,16,16] output3) {
        zero = Constant<value = float {0.0}>()  quarter = Constant<value = float {0.25}>()
        half = Constant<value = float {0.5}>()  grey = ReduceMean(template)  nothing = Mul(grey, zero)
        bright = ReduceMean<axes = [1]>(search)
        coarse = AveragePool<kernel_shape = [16, 16], strides = [16, 16]>(bright)
        probable = Sigmoid(coarse)  output1 = Add(probable, nothing)  two = Concat<axis = 1>(output1, output1)
        none = Mul(two, zero)  output2 = Add(none, quarter)  output3 = Add(none, half) }""",),
    "nano": ("""backbone (float[1,3,H,W] input) => (float[1,3,h,w] output1) {
        output1 = AveragePool<kernel_shape = [15, 15], strides = [16, 16]>(input) }""",
        """head (float[1,3,8,8] input1, float[1,3,16,16] input2)
        => (float[1,2,16,16] output1, float[1,4,16,16] output2) {
        zero = Constant<value = float {0.0}>()  far = Constant<value = float {20.0}>()  grey = ReduceMean(input1)
        nothing = Mul(grey, zero)  mean = ReduceMean<axes = [1]>(input2)  bright = Add(mean, nothing)
        dark = Neg(bright)  output1 = Concat<axis = 1>(dark, bright)  two = Mul(output1, zero)
        four = Concat<axis = 1>(two, two)  output2 = Add(four, far) }"""),
}  # fmt: skip


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ...]]:
    """Write the files that each of OpenCV's trackers with a network takes."""
    onnx, folder = pytest.importorskip("onnx"), tmp_path_factory.mktemp("networks")
    written: dict[str, tuple[Path, ...]] = {}
    for name, texts in NETWORKS.items():
        written[name] = tuple(folder / f"{name}{number}.onnx" for number in range(len(texts)))
        for path, text in zip(written[name], texts, strict=True):
            onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}'), path)
    return written


@pytest.mark.parametrize("name", ["vit", "nano"])
def test_a_network_s_boxes_and_scores_are_opencv_s_own(name: str, networks: dict, video: list[np.ndarray]) -> None:
    spec = TrackerSpec(name, weights=networks[name])
    assert spec.config_name == networks[name][0].stem and spec.weights_sha256 is not None
    tracker = spec.build()
    kind = f"Tracker{name.capitalize()}"
    parameters = vars(cv2)[f"{kind}_Params"]()
    for parameter, path in zip({"vit": ["net"], "nano": ["backbone", "neckhead"]}[name], networks[name], strict=True):
        setattr(parameters, parameter, str(path))
    own = vars(cv2)[kind].create(parameters)
    tracker.initialize(video[0], FIRST_BOX)
    own.init(cv2.cvtColor(video[0], cv2.COLOR_RGB2BGR), (100, 100, 40, 30))
    for frame in video[1:4]:
        prediction = tracker.track(frame)
        found, box_xywh = own.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        assert found and prediction.score == own.getTrackingScore()
        np.testing.assert_allclose(prediction.box_xywh, box_xywh)


def test_weights_that_are_missing_or_no_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nano needs --weights BACKBONE\.onnx HEAD\.onnx"):
        TrackerSpec("nano")
    with pytest.raises(FileNotFoundError, match=r"vit\.onnx.*pretrained_models/README\.md"):
        TrackerSpec("vit", weights=(tmp_path / "vit.onnx",))
    (tmp_path / "vit.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"cannot read .*vit\.onnx as the networks of its Vit"):
        TrackerSpec("vit", weights=(tmp_path / "vit.onnx",)).build()


@pytest.mark.parametrize(
    ("name", "cure"), [("CSRT", "make classical"), ("KCF", "make classical"), ("Vit", r"pip install -U opencv-python")]
)
def test_a_build_of_opencv_without_the_tracker_says_what_to_install(name, cure, tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(cv2, f"Tracker{name}", raising=False)
    weights = (tmp_path / "vit.onnx",) if name == "Vit" else ()
    for path in weights:
        path.touch()
    with pytest.raises(ValueError, match=rf"no {name} tracker.*{cure}"):
        TrackerSpec(name.lower(), weights=weights).build()
