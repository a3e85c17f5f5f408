"""The shared frame of every command: user errors become one line and exit code 2, never a traceback."""

import sys
from collections.abc import Callable
from typing import NoReturn


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command's `main` and end the process with its exit code.

    ValueError and OSError are what a user's input or machine caused: they are printed as `error: ...`.
    Anything else is a defect of ours and keeps its traceback.
    """
    try:
        code = main(sys.argv[1:])
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
