"""The measuring command: options that would do nothing are refused before anything is measured."""

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = Path(__file__).resolve().parents[2] / "tracking" / "measure.py"
TINY = ("--config", "mmg_tiny")


@pytest.mark.parametrize(
    ("arguments", "option", "purpose"),
    [
        (("model", *TINY, "--no-speed", "--frames", "3"), "--frames", "model --no-speed"),
        (("model", *TINY, "--no-speed", "--baseline", "ostrack_tiny"), "--baseline", "model --no-speed"),
        (("train", *TINY, "--memory", "--steps", "3"), "--steps", "train --memory"),
        (("train", *TINY, "--memory", "--loader"), "--loader", "train --memory"),
        (("train", *TINY, "--paths", "paths.yaml"), "--paths", "train without --loader"),
        (("data", "--crops", "--dataset", "got10k"), "--dataset", "data --crops"),
        (("data", "--crops", "--workers", "1"), "--workers", "data --crops"),
        (("data", "--dataset", "synthetic", "--quality", "50"), "--quality", "data --dataset"),
        (("data", "--root", "videos"), "--root", "data without --dataset"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments: tuple[str, ...], option: str, purpose: str) -> None:
    done = subprocess.run([sys.executable, str(MEASURE), *arguments], capture_output=True, text=True)
    said = f"error: {option} means nothing for {purpose}: leave it out\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_sizes_alone_are_asked_for_by_an_option_that_is_taken() -> None:
    done = subprocess.run([sys.executable, str(MEASURE), "model", *TINY, "--no-speed"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "multiply-adds" in done.stdout and "tracked frames" not in done.stdout
