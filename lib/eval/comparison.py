"""Two results sequence by sequence: where one gains, where it loses, and whether the difference is more than chance."""

from dataclasses import dataclass

from lib.config.suggest import suggest
from lib.eval.analysis import Analysis
from lib.eval.bootstrap import Interval, mean_interval
from lib.eval.measures import percent


@dataclass(frozen=True)
class SequenceDifference:
    """One sequence: the AUC of both, in [0, 1]."""

    sequence: str
    first: float
    second: float

    @property
    def gain(self) -> float:
        """How much the first is better; negative where it is worse."""
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """The first result against the second; `differences` are ordered from the first's largest gain to its loss."""

    first: str
    second: str
    differences: tuple[SequenceDifference, ...]

    @property
    def gain(self) -> float:
        """The difference of the two AUCs."""
        return sum(difference.gain for difference in self.differences) / len(self.differences)

    @property
    def interval(self) -> Interval:
        """The confidence interval of `gain`, from the paired differences."""
        return mean_interval([difference.gain for difference in self.differences])

    @property
    def num_wins(self) -> int:
        return sum(difference.gain > 0 for difference in self.differences)

    @property
    def num_losses(self) -> int:
        return sum(difference.gain < 0 for difference in self.differences)


def compare(analysis: Analysis, first: str, second: str) -> Comparison:
    """Compare two results of an analysis, named as in its table.

    Raises:
        ValueError: the analysis has no such result.
    """
    by_name = {scores.name: scores for scores in analysis.scores}
    for name in (first, second):
        if name not in by_name:
            raise ValueError(
                f"no result {name!r}{suggest(name, by_name)} to compare; the table has {', '.join(by_name)}"
            )
    differences = [
        SequenceDifference(one.name, one.auc, other.auc)
        for one, other in zip(by_name[first].sequences, by_name[second].sequences, strict=True)
    ]
    return Comparison(first, second, tuple(sorted(differences, key=lambda each: (-each.gain, each.sequence))))


def format_comparison(comparison: Comparison, limit: int = 10) -> str:
    """Return the comparison as text: the verdict, then the `limit` largest gains and losses."""
    interval = comparison.interval
    ties = len(comparison.differences) - comparison.num_wins - comparison.num_losses
    verdict = (
        "the interval holds 0: no clear difference" if interval.low <= 0 <= interval.high else "a clear difference"
    )
    lines = [
        f"{comparison.first} against {comparison.second}: AUC {100 * comparison.gain:+.1f} points, "
        f"95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f} ({verdict})",
        f"better on {comparison.num_wins}, worse on {comparison.num_losses}, equal on {ties} sequences",
    ]
    gains = [difference for difference in comparison.differences if difference.gain > 0][:limit]
    losses = [difference for difference in comparison.differences[::-1] if difference.gain < 0][:limit]
    width = max(len(difference.sequence) for difference in comparison.differences)
    for title, shown in (("largest gains", gains), ("largest losses", losses)):
        if shown:
            lines += ["", title]
        for each in shown:
            numbers = f"{percent(each.first):>6} {percent(each.second):>6}  {100 * each.gain:+6.1f}"
            lines.append(f"  {each.sequence:<{width}} {numbers}")
    return "\n".join(lines)
