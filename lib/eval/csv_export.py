"""An analysis as one CSV file: overall, by attribute and by sequence, what others published included and marked."""

import csv
import io
import math
from collections.abc import Iterator
from collections.abc import Sequence as Indexed

from lib.eval.analysis import Analysis
from lib.eval.attributes import by_attribute
from lib.eval.bootstrap import auc_interval
from lib.eval.measures import MEASURES
from lib.eval.published import TITLES, PublishedTable
from lib.eval.scores import BenchmarkScores

_HEAD = ("benchmark", "protocol", "result", "scope", "name", "sequences_scored", "sequences_missing")


def to_csv(analysis: Analysis, published: Indexed[PublishedTable] = ()) -> str:
    """Return a row for each result and scope; shares at full precision in [0, 1], empty cells where nothing is known.

    `scope` is overall, attribute, sequence or missing, and `name` says which one. `sequences_missing` counts the
    sequences of the benchmark that were left out because some result lacks them; it is 0 in a complete evaluation. A
    row of the scope missing names one of them and a result that lacks it. `source` is "measured", "not measured", or
    names the publication.
    """
    keys = list(dict.fromkeys((*MEASURES, *(key for table in published for key in table.columns))))
    assert set(keys) <= TITLES.keys()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*_HEAD, *keys, "auc_low", "auc_high", "fps", "source"))
    for scope, name, scores in _scopes(analysis):
        low_high = (auc_interval(scores).low, auc_interval(scores).high) if scope == "overall" else (math.nan, math.nan)
        measures = (MEASURES[key].read(scores) if key in MEASURES else math.nan for key in keys)
        missing = analysis.num_sequences - analysis.num_scored
        head = (analysis.benchmark.name, analysis.protocol, scores.name, scope, name, len(scores.sequences), missing)
        numbers = (*measures, *low_high, scores.fps)
        writer.writerow((*head, *(_cell(number) for number in numbers), "measured"))
    for lacking in analysis.missing:
        for name in lacking.sequences:
            head = (analysis.benchmark.name, analysis.protocol, lacking.result, "missing", name, 0, 1)
            writer.writerow((*head, *("" for _ in keys), "", "", "", "not measured"))
    for table in published:
        for row in table.rows:
            numbers = (*(row.value(table, key) for key in keys), math.nan, math.nan, row.fps)
            head = (table.benchmark, "", row.tracker, "overall", "", "", "")
            writer.writerow((*head, *(_cell(number) for number in numbers), table.mark))
    return file.getvalue()


def _scopes(analysis: Analysis) -> Iterator[tuple[str, str, BenchmarkScores]]:
    for scores in analysis.scores:
        yield "overall", "", scores
    for attribute in by_attribute(analysis):
        for scores in attribute.scores:
            yield "attribute", attribute.attribute, scores
    for scores in analysis.scores:
        for sequence in scores.sequences:
            yield "sequence", sequence.name, BenchmarkScores(scores.name, (sequence,))


def _cell(number: float) -> str:
    return "" if math.isnan(number) else repr(number)
