"""The ablation tables of the paper beside what was measured here with the same configs."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from lib.config.load import experiment_to_dict, flatten, load
from lib.config.text import read_yaml_mapping
from lib.data.sequence import SequenceDataset
from lib.eval.benchmarks import Benchmark, find_benchmark
from lib.eval.score.analysis import Analysis, Result, analyze
from lib.eval.score.bootstrap import Interval, ao_interval, auc_interval
from lib.eval.score.metrics import Protocol
from lib.eval.score.published import MARK, PAPER
from lib.eval.score.seeds import Spread, average_runs, group_runs

_TRACKER = "mmg"


@dataclass(frozen=True)
class Measurement:
    """What was measured here for one row, by runs named `<config>` or `<config>.seed<N>`.

    The spread of their scores is over trainings, the interval of the mean over sequences: another test set of the same
    kind.
    """

    runs: tuple[str, ...]
    spread: Spread
    interval: Interval


@dataclass(frozen=True)
class AblationRow:
    """One row of a table of the paper, such as "Table V: mask ratio", with its AUC and AO in [0, 1].

    The config is the experiment that is this row, or one with the same settings whose results were found.
    """

    table: str
    label: str
    config: str
    lasot: float
    got10k_test: float
    measured: Measurement | None = None


@dataclass(frozen=True)
class Ablations:
    """All rows of a family of configs, which are based on `base`, on the benchmark where they were tested, or would be.

    The measured numbers come from `analysis`, if there are any. The obstacle is why results that were found could not
    be scored: their benchmark is not at hand, sequences are missing, or a file is damaged. Empty otherwise.
    """

    base: str
    benchmark: Benchmark
    rows: tuple[AblationRow, ...]
    analysis: Analysis | None
    obstacle: str = ""

    @property
    def measure(self) -> str:
        """What is measured: the number that the benchmark's published results are compared by."""
        return "AO" if self.benchmark.pooling == "got10k" else "AUC"

    @property
    def tables(self) -> dict[str, list[AblationRow]]:
        """The rows of each table of the paper, by its title."""
        return {table: list(rows) for table, rows in groupby(self.rows, key=lambda row: row.table)}


def summarize_ablations(
    benchmark: Benchmark,
    open_benchmark: Callable[[Benchmark], SequenceDataset],
    results_dir: Path,
    *,
    protocol: Protocol = "stark",
    allow_missing: bool = False,
) -> tuple[Ablations, ...]:
    """Find the results of ablation configs and score them.

    The paper's rows are always there: a benchmark is opened only when some config has results on it. A family whose
    results belong to another benchmark, as those of the small model to the embedded data, is scored there, too.

    The folder of results is searched for `mmg/<config>/<benchmark>` and `mmg/<config>.seed<N>/<benchmark>`; protocol
    and `allow_missing` are those of `analysis.analyze`. Returned is a summary for each family and benchmark with
    results; when nothing was found on the benchmark that was asked for, one without any measurement for it, first.
    """
    document = read_yaml_mapping(PAPER)
    families = document["families"]
    summaries: list[Ablations] = []
    for family in families:
        rows = _published_rows(document, family["prefix"])
        own = find_benchmark(family["benchmark"]) if "benchmark" in family else benchmark
        for where in (benchmark,) if own is benchmark else (benchmark, own):
            folders = _find_runs(results_dir, where, {family["base"], *(row.config for row in rows)})
            if not folders:
                continue
            results = [Result(run, folder) for run, folder in folders.items()]
            try:
                dataset = open_benchmark(where)
                analysis = analyze(where, dataset, results, protocol=protocol, allow_missing=allow_missing)
                summaries.append(Ablations(family["base"], where, _measure(rows, analysis), analysis))
            except (FileNotFoundError, ValueError) as error:
                # The paper's rows and the other families are still worth showing; the command reports it at its end.
                obstacle = f"{len(results)} results on {where.title} cannot be scored: {error}"
                summaries.append(Ablations(family["base"], where, rows, None, obstacle))
    if not any(summary.benchmark is benchmark for summary in summaries):
        # Nothing was run on the benchmark that was asked for: what it would be compared with is still worth showing.
        family = next((family for family in families if family.get("benchmark") == benchmark.name), families[0])
        rows = _published_rows(document, family["prefix"])
        summaries.insert(0, Ablations(family["base"], benchmark, rows, None))
    return tuple(summaries)


def published_source() -> str:
    """Return the line that stands over the paper's columns wherever they are shown."""
    return f"LaSOT and GOT-10k columns: {MARK}: {read_yaml_mapping(PAPER)['source']}"


def how_to_run(summary: Ablations) -> str:
    """Say how the rows that lack a measurement get one."""
    missing = next(row.config for row in summary.rows if row.measured is None)
    return (
        f"to measure a row: python tracking/train.py --config {missing}, "
        f"then python tracking/test.py {_TRACKER} {summary.benchmark.name} --config {missing}"
    )


def _find_runs(results_dir: Path, benchmark: Benchmark, configs: set[str]) -> dict[str, Path]:
    """Return the folders with result files, by the name of the run, seeds in order."""
    folders = {path.parent.name: path for path in (results_dir / _TRACKER).glob(f"*/{benchmark.name}")}
    return {
        run: folders[run]
        for config, runs in group_runs(sorted(folders, key=lambda run: (len(run), run))).items()
        if config in configs
        for run in runs
        if any(folders[run].glob("*.txt"))
    }


def _measure(rows: Sequence[AblationRow], analysis: Analysis) -> tuple[AblationRow, ...]:
    scores = {each.name: each for each in analysis.scores}
    groups = {config: [scores[run] for run in runs] for config, runs in group_runs(scores).items()}
    pooled = analysis.benchmark.pooling == "got10k"
    measured = []
    for row in rows:
        # The runs of this config, or of one that is the same but for its name.
        same = (config for config in (row.config, *groups) if config in groups)
        for config in same:
            if config == row.config or _settings(config) == _settings(row.config):
                runs = groups[config]
                average = average_runs("mean", runs)
                spread = Spread(tuple(run.ao if pooled else run.auc for run in runs))
                interval = ao_interval(average) if pooled else auc_interval(average)
                measurement = Measurement(tuple(run.name for run in runs), spread, interval)
                row = dataclasses.replace(row, config=config, measured=measurement)
                break
        measured.append(row)
    return tuple(measured)


def _published_rows(document: dict[str, Any], prefix: str) -> tuple[AblationRow, ...]:
    return tuple(
        AblationRow(
            table=f"{table['table']}: {table['title']}",
            label=row["label"],
            config=prefix + row["config"],
            lasot=row["lasot"] / 100,
            got10k_test=row["got10k_test"] / 100,
        )
        for table in document["ablations"]
        for row in table["rows"]
    )


@lru_cache(maxsize=64)
def _settings(config: str) -> dict[str, Any]:
    return {key: value for key, value in flatten(experiment_to_dict(load(config))).items() if key != "name"}
