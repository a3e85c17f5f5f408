"""The published splits: how many, which, and what two of them share."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.data.datasets.annotation import parse_range, read_split_file
from lib.data.datasets.got10k import GOT10K_SPLITS, split_numbers

FACTS = Path(__file__).resolve().parents[2] / "shared" / "facts"


def facts(name: str) -> dict:
    """Return the facts of a benchmark as others state them, to compare ours with."""
    path = FACTS / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return json.loads(path.read_text())


def expand(ranges: str) -> Iterator[int]:
    for text in ranges.split(","):
        first, _, last = text.partition("-")
        yield from range(int(first), int(last or first) + 1)


def spelled(plain: dict, name: str) -> tuple[str, ...]:
    marks = plain["sequences"][name]
    return tuple(full for full, mark in zip(plain["names"], marks, strict=True) if mark == "1")


@pytest.mark.parametrize(
    ("split", "count"),
    [("train", 9335), ("vottrain", 7086), ("vottrain_strict", 7086), ("votval", 1249), ("votval_strict", 1249),
     ("val", 180), ("test", 180)],
)  # fmt: skip
def test_got10k_counts(split: str, count: int) -> None:
    numbers = split_numbers(split)
    assert split in GOT10K_SPLITS
    assert len(numbers) == len(set(numbers)) == count
    assert numbers == sorted(numbers) and numbers[0] >= 1 and numbers[-1] <= 9335


@pytest.mark.parametrize("suffix", ["", "_strict"])
def test_got10k_training_and_validation_share_nothing(suffix: str) -> None:
    assert not set(split_numbers(f"vottrain{suffix}")) & set(split_numbers(f"votval{suffix}"))


def test_the_published_lists_contain_forbidden_videos_and_the_strict_ones_none() -> None:
    rows = read_split_file("got10k").rows
    forbidden = {number for key, *texts in rows if key == "forbidden" for text in texts for number in parse_range(text)}
    assert len(forbidden) == 1000
    assert len(forbidden & set(split_numbers("vottrain"))) == 765
    assert len(forbidden & set(split_numbers("votval"))) == 125
    strict = set(split_numbers("vottrain_strict")) | set(split_numbers("votval_strict"))
    assert strict == set(range(1, 9336)) - forbidden


def test_got10k_lists_are_the_published_ones() -> None:
    plain = facts("got10k_train")
    assert split_numbers("vottrain") == sorted(expand(plain["vottrain_published"]))
    assert split_numbers("votval") == sorted(expand(plain["votval_published"]))
    rows = read_split_file("got10k").rows
    forbidden = {number for key, *texts in rows if key == "forbidden" for text in texts for number in parse_range(text)}
    assert forbidden == set(expand(plain["forbidden_1k"]))


def test_lasot_lists_are_the_published_ones() -> None:
    plain, attributes = facts("lasot_test")["test"], facts("lasot_attributes")
    published = read_split_file("lasot")
    ours = {name: published.spell_out(tuple(short)) for name, *short in published.rows}
    assert ours == {name: spelled(attributes, name) for kind, numbers in plain.items() for number in numbers
                    if (name := f"{kind}-{number}")}  # fmt: skip
    assert list(published.attributes.items()) == list(zip(attributes["short"], attributes["names"], strict=True))
    extension = {row[0] for row in read_split_file("lasot_ext").rows}
    assert extension == set(facts("lasot_ext")["test"])
    assert len(extension) == 15


def test_uav123_lists_are_the_published_ones() -> None:
    plain, attributes = facts("uav123")["sequences"], facts("uav123_attributes")
    published = read_split_file("uav123")
    ours = [[name, folder, numbers, kind, published.spell_out(tuple(short))]
            for name, folder, numbers, kind, *short in published.rows]  # fmt: skip
    assert ours == [[name, folder, f"{first}-{last}", kind, spelled(attributes, name)]
                    for name, folder, first, last, kind in plain]  # fmt: skip


def test_otb100_and_nfs_lists_are_the_published_ones() -> None:
    rows = {name: (folder, parse_range(numbers), options) for name, folder, numbers, *options
            in read_split_file("otb100").rows}  # fmt: skip
    plain = facts("otb100")["sequences"]
    assert list(rows) == [row[0] for row in plain]
    for name, images, first, last, digits, _, boxes, omitted in plain:
        folder, numbers, options = rows[name]
        assert f"{folder}/img" == images
        assert (numbers[0], numbers[-1]) == (first + omitted, last)
        stated = dict(option.split("=") for option in options)
        assert stated.get("digits", "4") == str(digits)
        assert f"{folder}/{stated.get('boxes', 'groundtruth_rect.txt')}" == boxes
        assert stated.get("skip", "0") == str(omitted)
    nfs = [(f"nfs_{name}", int(count)) for name, count in read_split_file("nfs").rows]
    assert nfs == [(row[0], row[3]) for row in facts("nfs30")["sequences"]]
