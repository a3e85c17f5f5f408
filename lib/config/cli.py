"""The shared frame of every command: user errors become one line and exit code 2, never a traceback."""

import argparse
import io
import os
import re
import select
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from lib import __version__

_RAISED = re.compile(r"^\w[\w.]*(?:Error|Exception): ", re.MULTILINE)  # how the last part of a traceback begins


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command's `main` and end the process with its exit code.

    ValueError, OSError and want of memory are what a user's input or machine caused: they are printed as `error: ...`.
    Anything else is a defect of ours and keeps its traceback.
    """
    warnings.showwarning = _show_warning
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its complaints about absent codecs are not the user's
    for name in ("stdout", "stderr"):
        if vars(sys)[name] is None:  # closed by who started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for all of the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be UTF-8
    try:
        try:
            code = main(["--version"] if "--version" in sys.argv else sys.argv[1:])  # beside a subcommand, too
        except SystemExit as end:  # of --help, whose reader may have gone, too
            code = end.code
        sys.stdout.flush()
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search("(allocate|not enough|out of) memory", str(error)):
            raise
        if isinstance(error, BrokenPipeError) and _is_output_closed():
            code = 141
        else:
            print(f"error: {_gist(error)}", file=sys.stderr)
            code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def command_parser(about: str | None, examples: str) -> argparse.ArgumentParser:
    """Return the parser of a command whose help ends in examples, as they stand."""
    parser = argparse.ArgumentParser(
        description=about, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"mmg-tracker {__version__}")
    return parser


def add_mask_options(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --masks, of the given meaning, and what it needs; see `MaskSpec`."""
    parser.add_argument("--masks", metavar="BACKEND", help=what)
    weights = "weights of alpha_refine, such as runs/refine_tiny/latest.pth, or the published file"
    parser.add_argument("--refine-checkpoint", type=Path, metavar="FILE", help=weights)
    threshold = "least probability of a mask's pixel; default: the weights' own"
    parser.add_argument("--mask-threshold", type=float, metavar="P", help=threshold)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add --root and --paths, which say where data lie."""
    parser.add_argument("--root", type=Path, metavar="DIR", help="the data's folder, if not the stated one")
    parser.add_argument("--paths", type=Path, metavar="FILE", help="instead of experiments/paths.yaml")


def count(text: str) -> int:
    """Read a whole number from 1 on, for argparse's `type`."""
    if (number := count_or_0(text)) == 0:
        raise argparse.ArgumentTypeError("must be at least 1, got 0")
    return number


def count_or_0(text: str) -> int:
    """Read a whole number from 0 on, for argparse's `type`."""
    if not text.strip().isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, got {text!r}")
    return int(text)


def refuse_options(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, allowed: set[str], purpose: str
) -> None:
    """Make sure that no option was set to another value than its default that would do nothing.

    Args:
        parser: of the command, or of the part of it that was asked for.
        arguments: what was read from the command line.
        allowed: the names in `arguments` that have a say, among them those that are no options.
        purpose: what was asked for, in the user's words.

    Raises:
        ValueError: one was; it is named.
    """
    for name, value in vars(arguments).items():
        if name not in allowed and value != parser.get_default(name):
            raise ValueError(f"--{name.replace('_', '-')} means nothing for {purpose}: leave it out")


def answer_habits(argv: list[str] | None, habits: Mapping[str, str]) -> None:
    """Answer who types the options of other trackers' programs, which are none of this command.

    Args:
        argv: words of the command line; None for those of this process.
        habits: what to do instead, by option, without dashes in front and with underscores.

    Raises:
        ValueError: some were typed; the message teaches the counterpart of each.
    """
    options = [word.partition("=")[0] for word in (sys.argv[1:] if argv is None else argv) if word.startswith("--")]
    answers = {option: habits.get(option[2:].replace("-", "_")) for option in options}
    taught = [f"{option} is an option of other programs: here {answer}" for option, answer in answers.items() if answer]
    if taught:
        raise ValueError("\n  ".join(taught))


def _is_output_closed() -> bool:
    """Tell whether the reader of standard output, such as `head`, has gone; what is still to be written is dropped."""
    if "poll" not in vars(select):  # on Windows
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


def _gist(error: Exception) -> str:
    """Return the message; of an error from a loader process, whose text is a traceback, what it says at its end."""
    if isinstance(error, UnicodeEncodeError):
        around = error.object[max(0, error.start - 30) : error.end + 30]
        return f"a name that is not UTF-8 cannot be written to a file: rename {around!a}"
    text = str(error) or ("not enough memory" if isinstance(error, MemoryError) else type(error).__name__)
    if "Traceback (most recent call last)" not in text:
        return text
    raised = list(_RAISED.finditer(text))
    return text[raised[-1].end() :].strip() if raised else text.strip().splitlines()[-1]


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    """Print our own warnings as one line that a user can act on, and those of other packages with their place."""
    own_category = category is UserWarning or category.__module__.startswith("lib.")
    ours = own_category and "site-packages" not in filename
    place = "" if ours else f" ({filename}:{lineno})"
    print(f"warning: {message}{place}", file=sys.stderr)
