"""The measuring command: options that would do nothing are refused before anything is measured."""

import re
from collections.abc import Callable, Sequence

import pytest
from conftest import command

TINY = ("--config", "mmg_tiny")


@pytest.fixture(scope="module")
def measure() -> Callable[[Sequence[str]], int]:
    return command("measure")


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
def test_an_option_that_would_do_nothing_is_refused(measure, arguments, option, purpose):
    with pytest.raises(ValueError, match=f"^{re.escape(f'{option} means nothing for {purpose}: leave it out')}$"):
        measure(arguments)


def test_sizes_alone_are_asked_for_by_an_option_that_is_taken(measure, capsys):
    assert measure(["model", *TINY, "--no-speed"]) == 0
    said = capsys.readouterr().out
    assert "multiply-adds" in said and "tracked frames" not in said
