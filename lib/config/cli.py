"""The shared frame of every command: user errors become one line and exit code 2, never a traceback."""

import sys
import warnings
from collections.abc import Callable
from typing import NoReturn


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command's `main` and end the process with its exit code.

    ValueError and OSError are what a user's input or machine caused: they are printed as `error: ...`.
    Anything else is a defect of ours and keeps its traceback.
    """
    warnings.showwarning = _show_warning
    try:
        code = main(sys.argv[1:])
    except (ValueError, OSError) as error:
        print(f"error: {_gist(error)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _gist(error: Exception) -> str:
    """Return the message; of an error from a loader process, whose text is a traceback, what it says at its end."""
    text = str(error)
    if "Traceback (most recent call last)" not in text:
        return text
    return text.strip().splitlines()[-1].split(": ", 1)[-1]


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """Print our own warnings as one line that a user can act on, and those of other packages with their place."""
    own_category = category is UserWarning or category.__module__.startswith("lib.")
    ours = own_category and "site-packages" not in filename
    place = "" if ours else f" ({filename}:{lineno})"
    print(f"warning: {message}{place}", file=sys.stderr)
