"""The documentation's links lead somewhere, and its commands are read by the commands' own parsers."""

import argparse
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib import __version__
from lib.config.load import load_any

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "pretrained_models").glob("*.md"),
                *(ROOT / "experiments").rglob("*.md")])  # fmt: skip
RECORD = ROOT / "experiments" / "LOG.md"  # what was run, by the commands of its day
COMMANDS = {path.stem: path for path in (ROOT / "tracking").glob("*.py")}
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?$\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`", re.DOTALL)
_COMMAND = re.compile(r"(?:\w+=\S+ )*(?:(?:srun )?torchrun .*?-- |python )tracking/\w+\.py|mmg-\w+(?: |$)|make(?: |$)")
_ASSIGNMENT = re.compile(r"\w+=.*")


class ParsedError(Exception):
    """A command's words were all read; what would be done with them is not."""

    def __init__(self, namespace: argparse.Namespace) -> None:
        super().__init__()
        self.namespace = namespace


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def command_lines(page: Path) -> list[str]:
    """Return the commands of a page, from its blocks and from within its sentences, without their comments."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for block in _FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in _CODE.findall(_FENCE.sub("", text))]
    return [line for line in lines if _COMMAND.match(line)]


def words_of(line: str) -> list[str]:
    """Return a command line's words, first the script's name or `make`, without variables and launchers before it."""
    words = shlex.split(line, comments=True)
    while _ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    if "torchrun" in words:
        words = words[words.index("--") + 1 :]
    elif words[0] == "python":
        words.pop(0)
    return [Path(words[0]).stem.removeprefix("mmg-"), *words[1:]]


def anchors(page: Path) -> set[str]:
    """Return what headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], argparse.Namespace]:
    """Return a function that gives words to a script of tracking/ and stops it when it has read them."""
    for method in ("parse_args", "parse_intermixed_args"):
        read = getattr(argparse.ArgumentParser, method)

        def read_and_stop(self: Any, *arguments: Any, read: Callable[..., Any] = read, **options: Any) -> None:
            raise ParsedError(read(self, *arguments, **options))

        monkeypatch.setattr(argparse.ArgumentParser, method, read_and_stop)

    def run(command: str, words: list[str]) -> argparse.Namespace:
        with pytest.raises(ParsedError) as parsed:
            runpy.run_path(str(COMMANDS[command]))["main"](words)
        return parsed.value.namespace

    return run


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{name(page)}: {link} leads nowhere"
        assert not heading or heading in anchors(target), f"{name(page)}: no heading for {link}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != RECORD], ids=name)
def test_every_command_is_read_by_its_parser(
    page: Path, parse: Callable[[str, list[str]], argparse.Namespace], capsys: pytest.CaptureFixture[str]
) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets_and_variables = set(re.findall(r"^[a-z]+(?=:)|(?<=\$\()[A-Z]+(?=\))", makefile, re.MULTILINE))
    for line in command_lines(page):
        place = f"{name(page)}: {line}"
        command, *words = words_of(line)
        if command == "make":
            assert {word.partition("=")[0] for word in words} <= targets_and_variables, place
            continue
        assert command in COMMANDS, place
        if not words:  # its name alone, in a sentence
            continue
        try:
            check_config(parse(command, words))
        except SystemExit as stop:  # what argparse ends with: 0 for --help and --version
            assert stop.code == 0, f"{place}\n{capsys.readouterr().err}"
        except (ValueError, FileNotFoundError) as error:
            raise AssertionError(f"{place}\n{error}") from error


def check_config(namespace: argparse.Namespace) -> None:
    """Load the config that a command names, with the keys that it sets; FILE.yaml and CONFIG stand for the user's."""
    options = vars(namespace)
    config = options.get("config")
    settings = options.get("set") or options.get("overrides") or options.get("settings") or []
    if config is None or config.isupper() or config.endswith(".yaml"):
        return
    load_any(config, settings)


def test_the_readme_can_be_read_at_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_changes_and_citation_are_of_this_version() -> None:
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
