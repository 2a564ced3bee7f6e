"""What change is ordinary: the calendar's turns of earlier terms set the measure for this one.

Every term differs from the terms before it: other learners, another calendar, new content. How far
is read off earlier turns, each a distance measured as today's is. Their logarithms are taken as
normal, and a new distance is judged by the prediction interval of one more draw (Student's t with
one degree of freedom less than there are turns). A change is told when it is both improbable as a
turn and large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.engines.monitoring.distances import Distance

FEWEST_TURNS = 3
LEAST = 0.075
"""Bits: about what a seventh of all rows moving to where none was makes."""


@dataclass(frozen=True)
class Ordinary:
    """The distances of ordinary turns of a column.

    Args:
        turns: The distances, at least :data:`FEWEST_TURNS`.
    """

    turns: tuple[float, ...]

    def probability(self, distance: float) -> float:
        """Tell how probable a distance as large as this one is for an ordinary turn.

        Args:
            distance: The distance, measured as the turns were.

        Returns:
            A one-sided p-value.
        """
        from scipy import stats

        logs = [math.log(turn) for turn in self.turns]
        mean = sum(logs) / len(logs)
        variance = sum((log - mean) ** 2 for log in logs) / (len(logs) - 1)
        spread = math.sqrt(variance * (1 + 1 / len(logs)))
        if spread == 0:
            return 1.0 if math.log(distance) <= mean else 0.0
        return float(stats.t.sf((math.log(distance) - mean) / spread, len(logs) - 1))


@dataclass(frozen=True)
class Judged:
    """A column's distance and what is made of it.

    Args:
        distance: How far, with its bins and counts.
        probability: Of such a distance in an ordinary turn; None with too few turns to say.
        turns: How many earlier turns it is judged by.
        is_drift: Whether it is told.
    """

    distance: Distance
    probability: float | None
    turns: int
    is_drift: bool

    def sentence(self) -> str:
        """Say it to a person."""
        moved = f"'{self.distance.column}' lies {self.distance.value:.3f} bits from the reference"
        if self.probability is None:
            return f"{moved}; there are only {self.turns} earlier turns to judge that by."
        unusual = f"{moved}; that far or farther is {self.probability:.1%} of ordinary turns"
        return f"{unusual}, by {self.turns} of them."

    def to_json(self) -> dict[str, Any]:
        """Tell everything."""
        return {
            **self.distance.to_json(),
            "probability": self.probability,
            "turns": self.turns,
            "is_drift": self.is_drift,
        }


def judge(
    distances: Mapping[str, Distance],
    turns: Mapping[str, Sequence[Distance]],
    *,
    probability: float = 0.02,
    least: float = LEAST,
) -> list[Judged]:
    """Judge distances by earlier turns.

    Args:
        distances: Today's, by column.
        turns: Those of earlier turns, by column.
        probability: What is rarer than this among ordinary turns is no ordinary turn.
        least: The smallest distance clear of chance that matters, in bits.

    Returns:
        A judgement of every column, the farthest first. With fewer than :data:`FEWEST_TURNS` turns
        nothing is called drift.
    """
    judged = []
    for column, distance in distances.items():
        earlier = tuple(turn.value + turn.chance for turn in turns.get(column, ()) if turn.bins)
        chance = None
        if len(earlier) >= FEWEST_TURNS:
            chance = Ordinary(earlier).probability(distance.value + distance.chance)
        is_rare = chance is not None and chance <= probability
        is_drift = is_rare and distance.clear_of_chance >= least
        judged.append(Judged(distance, chance, len(earlier), is_drift))
    return sorted(judged, key=lambda one: (-one.distance.value, one.distance.column))
