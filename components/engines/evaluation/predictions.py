"""What every measure is taken from: labels and scores of the same rows, checked once at the door.

A score that is not a probability would make every later figure quietly wrong, so it is refused here
and nowhere else; the measures themselves trust what they are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from learnloop.errors import UsageError

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and predicted probabilities of the same rows.

    Attributes:
        labels: ``[rows]``, true where the event happened.
        scores: ``[rows]`` float64 in 0..1, the predicted probability of the event.
        clusters: ``[rows]`` int64, 0-based and dense: rows of one cluster (the steps of one
            learner's sequence) are not independent of each other. None when every row stands alone.
    """

    labels: Booleans
    scores: Floats
    clusters: Integers | None = None

    @classmethod
    def of(
        cls,
        labels: npt.ArrayLike,
        scores: npt.ArrayLike,
        clusters: npt.ArrayLike | None = None,
        *,
        split: str = "",
    ) -> Predictions:
        """Check labels and scores, and put them side by side.

        Args:
            labels: ``[rows]``, each 0 or 1 (any numeric or boolean type).
            scores: ``[rows]``, each a finite probability in 0..1.
            clusters: ``[rows]``, any values; equal values mark rows that belong together.
            split: What the rows are called in an error.

        Returns:
            The checked predictions.

        Raises:
            UsageError: If the lengths differ, a label is not 0 or 1, or a score is no probability.

        Example:
            >>> Predictions.of([0, 1, 1], [0.2, 0.7, 0.9]).rows
            3
        """
        at = f"{split} row" if split else "row"
        label_values = np.asarray(labels).reshape(-1)
        score_values = np.asarray(scores, dtype=np.float64).reshape(-1)
        if label_values.size != score_values.size:
            raise UsageError(
                "Labels and predictions do not belong to the same rows.",
                expected=f"{label_values.size:,} predictions, one for each label",
                received=f"{score_values.size:,} predictions",
            )
        label_numbers = label_values.astype(np.float64)
        strange = ~((label_numbers == 0.0) | (label_numbers == 1.0))
        if strange.any():
            raise UsageError(
                "A label is neither 0 nor 1.",
                where=f"{at} {int(np.argmax(strange)):,}",
                expected="0 or 1 in every row",
                received=f"{label_numbers[strange][0]:g} ({int(strange.sum()):,} such rows)",
            )
        fault = fault_of(score_values)
        if fault:
            raise UsageError(
                "A prediction is not a probability.",
                where=f"{at} {int(np.argmin(_is_probability(score_values))):,}",
                expected="a finite number from 0 to 1 in every row",
                received=fault,
            )
        dense = None if clusters is None else _renumber(np.asarray(clusters).reshape(-1))
        return cls(label_numbers == 1.0, score_values, dense)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.labels.size)

    def only(self, chosen: Booleans) -> Predictions:
        """Keep the rows where ``chosen`` (``[rows]`` bool) is true."""
        clusters = self.clusters
        kept = None if clusters is None else _renumber(clusters[chosen])
        return Predictions(self.labels[chosen], self.scores[chosen], kept)


def fault_of(scores: Floats) -> str:
    """Say what keeps these scores from being probabilities, or nothing when they are.

    Args:
        scores: ``[rows]`` float64.

    Example:
        >>> fault_of(np.array([0.5, np.nan, 1.5]))
        '1 of 3 not finite and 1 of 3 outside 0 to 1'
    """
    infinite = int(np.count_nonzero(~np.isfinite(scores)))
    outside = scores.size - int(np.count_nonzero(_is_probability(scores))) - infinite
    parts = []
    if infinite:
        parts.append(f"{infinite:,} of {scores.size:,} not finite")
    if outside:
        parts.append(f"{outside:,} of {scores.size:,} outside 0 to 1")
    return " and ".join(parts)


def _renumber(clusters: npt.NDArray[np.generic]) -> Integers:
    return np.unique(clusters, return_inverse=True)[1].astype(np.int64)


def _is_probability(scores: Floats) -> Booleans:
    return (scores >= 0.0) & (scores <= 1.0)  # a NaN fails both comparisons
