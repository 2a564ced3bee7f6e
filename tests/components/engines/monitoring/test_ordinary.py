"""A distance is judged by the distances that earlier turns brought."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from components.engines.monitoring.distances import Distance
from components.engines.monitoring.ordinary import Ordinary, judge


def distance(moved: int, column: str = "score") -> Distance:
    """A column of 1,000 rows, of which so many moved to where none was."""
    return Distance(column, ("low", "high"), (1_000, 0), (1_000 - moved, moved))


def test_the_probability_is_that_of_one_more_draw() -> None:
    turns = (0.01, 0.02, 0.03, 0.015)
    logs = np.log(turns)
    spread = logs.std(ddof=1) * math.sqrt(1 + 1 / 4)
    expected = stats.t.sf((math.log(0.2) - logs.mean()) / spread, 3)
    assert Ordinary(turns).probability(0.2) == pytest.approx(expected)


def test_turns_that_are_all_alike_make_anything_farther_impossible() -> None:
    assert Ordinary((0.1, 0.1, 0.1)).probability(0.1) == 1.0
    assert Ordinary((0.1, 0.1, 0.1)).probability(0.2) == 0.0


def test_what_is_rare_and_large_is_drift() -> None:
    turns = {"score": [distance(moved) for moved in (10, 14, 12, 9, 15)]}
    (judged,) = judge({"score": distance(400)}, turns)
    assert judged.is_drift
    assert judged.sentence() == (
        "'score' lies 0.236 bits from the reference; that far or farther is 0.0% of ordinary "
        "turns, by 5 of them."
    )


def test_what_is_rare_but_small_is_none() -> None:
    turns = {"score": [distance(moved) for moved in (10, 11, 10, 11, 10)]}
    (judged,) = judge({"score": distance(40)}, turns)
    assert judged.probability is not None and judged.probability < 0.02
    assert not judged.is_drift


def test_what_so_few_rows_may_bring_by_chance_is_none() -> None:
    few = Distance("score", ("low", "high"), (12, 0), (10, 2))
    turns = {"score": [distance(moved) for moved in (10, 11, 10, 11, 10)]}
    (judged,) = judge({"score": few}, turns)
    assert few.value > 0.075 > few.clear_of_chance
    assert judged.probability is not None and judged.probability < 0.02
    assert not judged.is_drift


def test_two_turns_are_too_few_to_judge_by() -> None:
    (judged,) = judge({"score": distance(900)}, {"score": [distance(10), distance(12)]})
    assert (judged.probability, judged.is_drift) == (None, False)
    assert judged.sentence() == (
        "'score' lies 0.758 bits from the reference; there are only 2 earlier turns to judge that "
        "by."
    )


def test_the_farthest_comes_first() -> None:
    found = judge({"a": distance(10, "a"), "b": distance(300, "b")}, {})
    assert [one.distance.column for one in found] == ["b", "a"]
