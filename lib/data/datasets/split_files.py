"""The lists in `splits/`: which sequences a published split consists of, and what is known of each."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "splits"


@dataclass(frozen=True)
class SplitFile:
    """One list.

    Attributes:
        rows: the words of each line.
        attributes: full name of each attribute by its short one, where the list states attributes.
    """

    rows: tuple[tuple[str, ...], ...]
    attributes: dict[str, str]

    def spell_out(self, short_names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the full names of attributes."""
        return tuple(self.attributes[name] for name in short_names)


def read_split_file(name: str) -> SplitFile:
    """Read `splits/<name>.txt`: words in lines, comments from `#`, and lines `attribute SHORT FULL NAME`."""
    rows, attributes = [], {}
    for line in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words and words[0] == "attribute":
            attributes[words[1]] = " ".join(words[2:])
        elif words:
            rows.append(tuple(words))
    return SplitFile(tuple(rows), attributes)


def parse_range(text: str) -> range:
    """Return the numbers of `7` or `3-9`, both ends included."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
