"""The replay of a year: its figures are right, and nobody beats the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import policy
from benchmarks.policy import (
    POLICY,
    Year,
    areas,
    by_drift,
    by_policy,
    estimate,
    every,
    lost,
    never,
    oracle,
    replay,
)


@pytest.fixture(scope="module", autouse=True)
def few_test_rows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "TEST_ROWS", 200)
        yield


@pytest.fixture(scope="module")
def year() -> Year:
    return Year(7)


def test_the_auc_is_that_of_scikit_learn() -> None:
    chance = np.random.default_rng(3)
    scores, outcomes = chance.normal(size=(500, 4)), chance.random(500) < 0.3
    wanted = [roc_auc_score(outcomes, scores[:, column]) for column in range(4)]
    assert areas(scores, outcomes) == pytest.approx(wanted)
    found = estimate(scores[:, 0], outcomes)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(wanted[0])


def test_a_year_is_the_same_again(year: Year) -> None:
    again = Year(7)
    assert all(np.array_equal(again.outcomes[day], rows) for day, rows in year.outcomes.items())
    assert np.array_equal(again.models[-1].weights, year.models[-1].weights)
    assert not np.array_equal(again.models[-1].weights, Year(8).models[-1].weights)


@pytest.mark.parametrize("cost", policy.RUN_COSTS)
def test_nobody_beats_the_oracle(year: Year, cost: float) -> None:
    ideal = oracle(year, cost)
    least = lost(year, ideal) + cost * len(ideal)
    for decide in (by_policy(POLICY), by_drift(0.1), every(7), every(30), never):
        runs = replay(year, decide)
        assert lost(year, runs) + cost * len(runs) >= least
    assert 0 < len(ideal) < 365


def test_the_policy_rests_in_the_breaks_and_heeds_its_cool_down(year: Year) -> None:
    runs = replay(year, by_policy(POLICY))
    assert runs
    assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(runs))
    assert len(runs) < len(replay(year, every(7)))
