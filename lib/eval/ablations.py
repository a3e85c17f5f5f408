"""The ablation tables of the paper beside what was measured here with the same configs."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence as Indexed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.config.load import experiment_to_dict, flatten, load
from lib.data.sequence import SequenceDataset
from lib.eval.analysis import Analysis, Result, analyze
from lib.eval.benchmarks import Benchmark
from lib.eval.bootstrap import Interval, ao_interval, auc_interval
from lib.eval.measures import percent
from lib.eval.metrics import Protocol
from lib.eval.published import MARK, PAPER, read_document
from lib.eval.scores import BenchmarkScores
from lib.eval.tables import aligned, describe, incomplete

_TRACKER = "mmg"


@dataclass(frozen=True)
class AblationRow:
    """One row of an ablation table.

    Attributes:
        table: of the paper, and what it varies: "Table V: mask ratio".
        label: what this row is.
        config: the experiment that is this row, or one with the same settings whose results were found.
        lasot, got10k_test: AUC and AO as the paper prints them, in [0, 1].
        measured: the score here; nan where no results were found.
        interval: of `measured`.
    """

    table: str
    label: str
    config: str
    lasot: float
    got10k_test: float
    measured: float = float("nan")
    interval: Interval = Interval(float("nan"), float("nan"))


@dataclass(frozen=True)
class Ablations:
    """All rows of one family of configs, and the analysis that the measured numbers come from."""

    base: str
    rows: tuple[AblationRow, ...]
    analysis: Analysis


def summarize_ablations(
    benchmark: Benchmark,
    dataset: SequenceDataset,
    results_dir: Path,
    *,
    protocol: Protocol = "stark",
    allow_missing: bool = False,
) -> tuple[Ablations, ...]:
    """Find the results of ablation configs and score them, for each family that has any.

    Args:
        benchmark, dataset, protocol, allow_missing: see `analysis.analyze`.
        results_dir: searched for `mmg/<config>/<benchmark>`.

    Raises:
        FileNotFoundError: no ablation config has results there.
        ValueError: as `analyze` raises it.
    """
    document = read_document(PAPER)
    summaries: list[Ablations] = []
    for family in document["families"]:
        rows = _published_rows(document, family["prefix"])
        folders = {
            config: folder
            for config in (family["base"], *(row.config for row in rows))
            if any((folder := results_dir / _TRACKER / config / benchmark.name).glob("*.txt"))
        }
        if not folders.keys() - {family["base"]}:
            continue  # the base alone is no ablation
        results = [Result(config, folder) for config, folder in folders.items()]
        analysis = analyze(benchmark, dataset, results, protocol=protocol, allow_missing=allow_missing)
        scores = {each.name: each for each in analysis.scores}
        measured = []
        for row in rows:
            stand_in = next((config for config in (row.config, *folders) if _same(config, row.config, scores)), None)
            measured.append(_with_score(row, scores[stand_in], benchmark) if stand_in else row)
        summaries.append(Ablations(family["base"], tuple(measured), analysis))
    if not summaries:
        raise FileNotFoundError(
            f"{results_dir} has no results of an ablation on {benchmark.name}; train one of experiments/ablations/ and "
            f"test it, for instance `python tracking/test.py {_TRACKER} {benchmark.name} --config table4_none`"
        )
    return tuple(summaries)


def format_ablations(summaries: Indexed[Ablations]) -> str:
    """Return the tables, published and measured numbers side by side, each under its own name."""
    source = read_document(PAPER)["source"]
    lines = [f"LaSOT and GOT-10k columns: {MARK}: {source}", ""]
    for summary in summaries:
        measure = "AO" if summary.analysis.benchmark.pooling == "got10k" else "AUC"
        lines.append(f"measured here: {measure} of configs based on {summary.base}; {describe(summary.analysis)}")
        head = ("row", "LaSOT AUC", "GOT-10k AO", "measured here", "95 %", "config")
        blocks: dict[str, list[tuple[str, ...]]] = {}
        for row in summary.rows:
            low_high = f"{percent(row.interval.low)}-{percent(row.interval.high)}".replace("---", "-")
            numbers = (percent(row.lasot), percent(row.got10k_test), percent(row.measured), low_high)
            blocks.setdefault(row.table, [head]).append((row.label, *numbers, row.config))
        lines += [*aligned(blocks), ""]
        if summary.analysis.missing:
            lines += [incomplete(summary.analysis), ""]
    return "\n".join(lines[:-1])


def _published_rows(document: dict[str, Any], prefix: str) -> list[AblationRow]:
    return [
        AblationRow(
            table=f"{table['table']}: {table['title']}",
            label=row["label"],
            config=prefix + row["config"],
            lasot=row["lasot"] / 100,
            got10k_test=row["got10k_test"] / 100,
        )
        for table in document["ablations"]
        for row in table["rows"]
    ]


def _same(config: str, wanted: str, scores: Mapping[str, BenchmarkScores]) -> bool:
    """Tell whether there are scores of a config that is the wanted one, whatever its name."""
    return config in scores and (config == wanted or _settings(config) == _settings(wanted))


@lru_cache(maxsize=64)
def _settings(config: str) -> dict[str, Any]:
    return {key: value for key, value in flatten(experiment_to_dict(load(config))).items() if key != "name"}


def _with_score(row: AblationRow, scores: BenchmarkScores, benchmark: Benchmark) -> AblationRow:
    score, interval = (
        (scores.ao, ao_interval(scores)) if benchmark.pooling == "got10k" else (scores.auc, auc_interval(scores))
    )
    return dataclasses.replace(row, config=scores.name, measured=score, interval=interval)
