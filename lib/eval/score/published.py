"""Numbers that others measured, from a data file that names its source; never to be mistaken for ours."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.config.text import read_yaml_mapping, suggest
from lib.eval.score.scores import MEASURES

PAPER = Path(__file__).with_name("published") / "mmg_paper.yaml"
MARK = "published, not measured here"

# Measures of tools that this project calls or submits to, and does not compute.
_OTHER_TITLES = {"eao": "EAO", "accuracy": "A", "robustness": "R"}
TITLES = {**{key: measure.title for key, measure in MEASURES.items()}, **_OTHER_TITLES}
_WHOLE = {"percent": 100, "fraction": 1}  # what a share of 1 is called in each unit
_LAYOUT = (
    "expected `source: TEXT` and `tables:`, a list with `benchmark: NAME`, `unit: percent | fraction`, "
    "`columns: [auc, ...]` and `rows: {TRACKER: [NUMBER or null, ...]}` in each entry"
)


@dataclass(frozen=True)
class PublishedRow:
    """One tracker's numbers, in the order of the table's columns and in [0, 1]; nan where none is printed.

    Attributes:
        tracker: as the source calls it.
        values: one for each column.
        fps: frames per second; nan where the source says nothing.
        device: that the speed was measured on.
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
    """What one source says about one benchmark.

    Attributes:
        source: title of the publication, or the name of the server.
        table: where in the source; may be empty.
        benchmark: as on the command line, or another, such as vot2020.
        columns: keys of `TITLES`.
        percent: how the source prints them.
        rows: in the source's order.
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
        return sorted(
            self.rows, key=lambda row: -math.inf if math.isnan(row.values[0]) else row.values[0], reverse=True
        )

    @property
    def mark(self) -> str:
        """What stands over the rows wherever they are shown."""
        return f"{MARK}: {self.source}{', ' + self.table if self.table else ''}"


def read_published(path: Path, benchmark: str) -> tuple[PublishedTable, ...]:
    """Read what a file says about a benchmark.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has another layout, or says nothing about the benchmark.
    """
    document = read_yaml_mapping(path)
    source = document.get("source")
    entries = document.get("tables")
    if not isinstance(source, str) or not isinstance(entries, list):
        raise ValueError(f"{path}: {_LAYOUT}")
    speeds = document.get("speeds", {})
    if not isinstance(speeds, dict):
        raise ValueError(f"{path}: speeds: expected {{TRACKER: {{fps: NUMBER, device: TEXT}}}}, found {speeds!r}")
    tables = [_table(entry, source, speeds, path) for entry in entries]
    found = tuple(table for table in tables if table.benchmark == benchmark)
    if not found:
        known = [table.benchmark for table in tables]
        raise ValueError(
            f"{path} has no numbers on {benchmark!r}{suggest(benchmark, known)}; it has: {', '.join(known)}"
        )
    return found


def _table(entry: Any, source: str, speeds: dict[str, Any], path: Path) -> PublishedTable:
    if not isinstance(entry, dict) or not {"benchmark", "unit", "columns", "rows"} <= entry.keys():
        raise ValueError(f"{path}: {_LAYOUT}")
    unit, columns, rows = entry["unit"], entry["columns"], entry["rows"]
    place = f"{path}: {entry['benchmark']}"
    if not isinstance(columns, list) or not columns or not isinstance(rows, dict) or not rows:
        raise ValueError(f"{place}: {_LAYOUT}")
    if unit not in list(_WHOLE):
        raise ValueError(f"{place}: unit {unit!r}{suggest(str(unit), _WHOLE)}; write percent or fraction")
    for key in columns:
        if key not in list(TITLES):
            raise ValueError(f"{place}: unknown column {key!r}{suggest(str(key), TITLES)}; known: {', '.join(TITLES)}")
        if columns.count(key) > 1:
            raise ValueError(f"{place}: the column {key!r} is there twice")
    return PublishedTable(
        source=source,
        table=str(entry.get("table", "")),
        benchmark=str(entry["benchmark"]),
        columns=tuple(columns),
        percent=unit == "percent",
        rows=tuple(
            _row(str(tracker), numbers, speeds.get(str(tracker), {}), len(columns), _WHOLE[unit], f"{place}, {tracker}")
            for tracker, numbers in rows.items()
        ),
    )


def _row(tracker: str, numbers: Any, speed: Any, num_columns: int, whole: int, place: str) -> PublishedRow:
    if not isinstance(numbers, list) or len(numbers) != num_columns:
        raise ValueError(f"{place}: expected {num_columns} numbers, found {numbers!r}")
    if not isinstance(speed, dict) or not isinstance(speed.get("fps", 0), (int, float)):
        raise ValueError(f"{place}: speeds: expected {{fps: NUMBER, device: TEXT}}, found {speed!r}")
    return PublishedRow(
        tracker=tracker,
        values=tuple(_share(number, whole, place) for number in numbers),
        fps=float(speed.get("fps", "nan")),
        device=str(speed.get("device", "")),
    )


def _share(number: Any, whole: int, place: str) -> float:
    if number is None:
        return float("nan")
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= whole:
        raise ValueError(f"{place}: {number!r} is not a number of the stated unit; null stands for a dash")
    return number / whole
