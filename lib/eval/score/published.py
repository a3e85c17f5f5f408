"""Numbers that others measured, from a data file that names its source; never to be mistaken for ours."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lib.config.text import is_a, read_yaml_mapping, suggest
from lib.eval.score.scores import MEASURES

PAPER = Path(__file__).with_name("published") / "mmg_paper.yaml"
MARK = "published, not measured here"

# Measures of tools that this project calls or submits to, and does not compute.
_OTHER_TITLES = {"eao": "EAO", "accuracy": "A", "robustness": "R"}
TITLES = {**{key: measure.title for key, measure in MEASURES.items()}, **_OTHER_TITLES}
_WHOLE = {"percent": 100, "fraction": 1}  # what a share of 1 is called in each unit
_ENTRY = {
    "benchmark": str,
    "unit": Literal["percent", "fraction"],
    "columns": list[str],
    "rows": dict[str, list[float | None]],
}
_LAYOUT = (
    "expected `source: TEXT` and `tables:`, a list with `benchmark: NAME`, `unit: percent | fraction`, "
    "`columns: [auc, ...]` and `rows: {TRACKER: [NUMBER or null, ...]}` in each entry"
)


@dataclass(frozen=True)
class PublishedRow:
    """One tracker's numbers, in the order of the table's columns and in [0, 1]; nan where none is printed.

    So is `fps`, frames per second, which were measured on `device`.
    """

    tracker: str
    values: tuple[float, ...]
    fps: float = float("nan")
    device: str = ""

    def value(self, table: "PublishedTable", key: str) -> float:
        """Return the number in a column of the table; nan when it has no such column."""
        return self.values[table.columns.index(key)] if key in table.columns else float("nan")


@dataclass(frozen=True)
class PublishedTable:
    """What one source, a publication or a server, says about one benchmark, as on the command line or such as vot2020.

    `table` says where in the source, and may be empty; `columns` are keys of `TITLES`, printed in percent or not.
    """

    source: str
    table: str
    benchmark: str
    columns: tuple[str, ...]
    percent: bool
    rows: tuple[PublishedRow, ...]

    @property
    def ranked(self) -> list[PublishedRow]:
        """The rows with the best first number first; those without one last."""
        return sorted(self.rows, key=lambda row: math.inf if math.isnan(row.values[0]) else -row.values[0])

    @property
    def mark(self) -> str:
        """What stands over the rows wherever they are shown."""
        return f"{MARK}: {self.source}{', ' + self.table if self.table else ''}"


def read_published(path: Path, benchmark: str) -> tuple[PublishedTable, ...]:
    """Read what a file says about a benchmark; ValueError where it has another layout or says nothing."""
    document = read_yaml_mapping(path)
    source, entries, speeds = document.get("source"), document.get("tables"), document.get("speeds", {})
    if not isinstance(source, str) or not isinstance(entries, list) or not is_a(entries, list[dict[str, Any]]):
        raise ValueError(f"{path}: {_LAYOUT}")
    if not is_a(speeds, dict[str, dict[str, float | str]]) or any(
        isinstance(speed.get("fps"), str) for speed in speeds.values()
    ):
        raise ValueError(f"{path}: speeds: expected {{TRACKER: {{fps: NUMBER, device: TEXT}}}}, found {speeds!r}")
    tables = [_table(entry, source, speeds, path) for entry in entries]
    found = tuple(table for table in tables if table.benchmark == benchmark)
    if not found:
        known = [table.benchmark for table in tables]
        raise ValueError(
            f"{path} has no numbers on {benchmark!r}{suggest(benchmark, known)}; it has: {', '.join(known)}"
        )
    return found


def _table(entry: dict[str, Any], source: str, speeds: dict[str, dict[str, Any]], path: Path) -> PublishedTable:
    place = f"{path}: {entry.get('benchmark')}"
    if not all(entry.get(key) and is_a(entry[key], kind) for key, kind in _ENTRY.items()):
        raise ValueError(f"{place}: {_LAYOUT}")
    columns, whole = entry["columns"], _WHOLE[entry["unit"]]
    for key in columns:
        if key not in TITLES:
            raise ValueError(f"{place}: unknown column {key!r}{suggest(key, TITLES)}; known: {', '.join(TITLES)}")
        if columns.count(key) > 1:
            raise ValueError(f"{place}: the column {key!r} is there twice")
    rows = []
    for tracker, numbers in entry["rows"].items():
        if len(numbers) != len(columns):
            raise ValueError(f"{place}, {tracker}: expected {len(columns)} numbers, found {numbers!r}")
        for number in numbers:
            if number is not None and not 0 <= number <= whole:
                raise ValueError(f"{place}, {tracker}: {number!r} is not a number of the stated unit")
        speed = speeds.get(tracker, {})
        values = tuple(math.nan if number is None else number / whole for number in numbers)
        rows.append(PublishedRow(str(tracker), values, float(speed.get("fps", "nan")), str(speed.get("device", ""))))
    return PublishedTable(
        source, str(entry.get("table", "")), entry["benchmark"], tuple(columns), entry["unit"] == "percent", tuple(rows)
    )
