"""Two results sequence by sequence: where one gains, where it loses, and whether the difference is more than chance."""

from collections.abc import Mapping
from dataclasses import dataclass

from lib.config.text import suggest
from lib.eval.score.analysis import Analysis
from lib.eval.score.bootstrap import Interval, mean_interval


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


def find_compared(names: Mapping[str, str], first: str, second: str) -> tuple[str, str]:
    """Return the names in the table of two results, given as there or as the user calls them, by which `names` has all.

    Raises ValueError when there is no such result, or both are the same.
    """
    found = tuple(names.get(each, each) for each in (first, second))
    for name in found:
        if name not in names.values():
            known = dict.fromkeys((*names.values(), *names))
            raise ValueError(f"no result {name!r}{suggest(name, known)} to compare; there are {', '.join(known)}")
    if found[0] == found[1]:
        raise ValueError(f"{first} and {second} are the same result: name two to compare")
    return found[0], found[1]


def compare(analysis: Analysis, first: str, second: str) -> Comparison:
    """Compare two results of an analysis, named as in its table."""
    by_name = {scores.name: scores for scores in analysis.scores}
    differences = [
        SequenceDifference(one.name, one.auc, other.auc)
        for one, other in zip(by_name[first].sequences, by_name[second].sequences, strict=True)
    ]
    return Comparison(first, second, tuple(sorted(differences, key=lambda each: (-each.gain, each.sequence))))
