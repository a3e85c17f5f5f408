"""Turn a misspelt name into a helpful ending for an error message."""

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(name: str, options: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest option, or "" when none is close."""
    matches = get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
