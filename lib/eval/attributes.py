"""Scores on the sequences that carry an attribute, such as fast motion or low resolution."""

from dataclasses import dataclass

from lib.eval.analysis import Analysis
from lib.eval.scores import BenchmarkScores


@dataclass(frozen=True)
class AttributeScores:
    """All results of an analysis on the sequences with one attribute; at least one sequence has it."""

    attribute: str
    scores: tuple[BenchmarkScores, ...]

    @property
    def num_sequences(self) -> int:
        return len(self.scores[0].sequences)


def by_attribute(analysis: Analysis) -> tuple[AttributeScores, ...]:
    """Score each attribute that some sequence carries, in alphabetical order; none where the data set states none."""
    # Every result was scored on the same sequences.
    attributes = sorted({name for sequence in analysis.scores[0].sequences for name in sequence.attributes})
    return tuple(
        AttributeScores(
            attribute,
            tuple(
                BenchmarkScores(
                    scores.name, tuple(sequence for sequence in scores.sequences if attribute in sequence.attributes)
                )
                for scores in analysis.scores
            ),
        )
        for attribute in attributes
    )
