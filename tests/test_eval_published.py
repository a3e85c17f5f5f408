"""Two published trackers on LaSOT's test set get their published numbers."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from lib.data.sequence import Sequence
from lib.data.table import read_table
from lib.eval.analysis import Analysis, Result, analyze
from lib.eval.benchmarks import Benchmark
from lib.eval.metrics import Protocol

MATERIAL = Path(__file__).resolve().parents[2] / "shared" / "real" / "lasot_test"
LASOT = Benchmark("lasot", "LaSOT", "lasot", "test", label="lasot")


class NoFrames:
    """Frames that are not at hand: their number is enough to score."""

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames

    def __len__(self) -> int:
        return self._num_frames

    def __getitem__(self, index: int) -> np.ndarray:
        raise AssertionError("scoring must not read frames")


class Annotations:
    """LaSOT's layout without frames."""

    images_only = False

    def __init__(self, root: Path) -> None:
        self._folders = sorted(root.glob("*/*/"))
        self.names = [folder.name for folder in self._folders]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sequence:
        folder = self._folders[index]
        boxes_xywh = read_table(folder / "groundtruth.txt", 4)
        absent = self._flags(folder / "full_occlusion.txt") | self._flags(folder / "out_of_view.txt")
        return Sequence(folder.name, NoFrames(len(boxes_xywh)), boxes_xywh, ~absent, absent)

    def _flags(self, path: Path) -> np.ndarray:
        return np.array(path.read_text().strip().split(",")) == "1"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack annotations and results into a temporary folder."""
    archives = [MATERIAL / name for name in ("annotations.tar.xz", "raw_results.tar.xz")]
    for archive in archives:
        if not archive.is_file():
            pytest.skip(f"needs the published results in {archive}")
    folder = tmp_path_factory.mktemp("lasot")
    for archive in archives:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    return folder


def analyze_both(material: Path, protocol: Protocol) -> Analysis:
    results = [Result(name, material / name) for name in ("ATOM", "SiamRPN++")]
    return analyze(LASOT, Annotations(material / "annotations"), results, protocol=protocol)


@pytest.fixture(scope="module")
def stark(material: Path) -> Analysis:
    return analyze_both(material, "stark")


def test_published_numbers_to_the_published_digit(stark: Analysis) -> None:
    atom, siamrpn = stark.scores
    assert stark.num_scored == 280
    assert sum(scores.num_frames for scores in atom.sequences) == 685_360
    assert 51.4 <= 100 * atom.auc <= 51.5
    assert round(100 * atom.precision, 1) == 50.5
    assert round(100 * siamrpn.auc, 1) == 49.6
    assert round(100 * siamrpn.norm_precision, 1) == 56.9
    assert round(100 * siamrpn.precision, 1) == 49.1


def test_protocols_agree_on_lasot_to_a_hundredth_point(stark: Analysis, material: Path) -> None:
    strict = analyze_both(material, "strict")
    for one, other in zip(stark.scores, strict.scores, strict=True):
        assert one.auc == other.auc and one.precision == other.precision
        assert abs(one.norm_precision - other.norm_precision) < 1e-4
