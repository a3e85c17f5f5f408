"""Two published trackers on LaSOT's test set get their published numbers."""

import tarfile
from pathlib import Path

import pytest

from lib.eval.benchmarks import BENCHMARKS
from lib.eval.score.analysis import Analysis, Result, analyze, by_attribute
from lib.eval.score.metrics import Protocol

MATERIAL = Path(__file__).resolve().parents[2] / "shared" / "real" / "lasot_test"
LASOT = BENCHMARKS["lasot"]


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
    return analyze(LASOT, LASOT.open(material / "annotations"), results, protocol=protocol)


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


def test_attributes_cover_the_published_sequences(stark: Analysis) -> None:
    # A list that lost a sequence or shifted a column would change these counts.
    counts = {attribute: len(results[0].sequences) for attribute, results in by_attribute(stark).items()}
    assert len(counts) == 14 and (counts["Scale Variation"], counts["Fast Motion"]) == (273, 53)


def test_protocols_agree_on_lasot_to_a_hundredth_point(stark: Analysis, material: Path) -> None:
    strict = analyze_both(material, "strict")
    for one, other in zip(stark.scores, strict.scores, strict=True):
        assert one.auc == other.auc and one.precision == other.precision
        assert abs(one.norm_precision - other.norm_precision) < 1e-4
