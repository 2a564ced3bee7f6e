"""Attempts are dealt out exactly, however the learners are cut; learners are as described."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulationSettings
from simulator.population import Enrolments, Learners, spans


@settings(max_examples=60, deadline=None)
@given(
    attempts=st.integers(1_000, 50_000),
    learners=st.integers(1, 1_000),
    at_once=st.integers(1, 1_500),
)
def test_every_attempt_is_dealt_out_once(attempts: int, learners: int, at_once: int) -> None:
    asked = SimulationSettings(attempts=attempts, learners=learners)
    whole = next(iter(spans(asked, learners)))
    cut = list(spans(asked, at_once))
    assert np.array_equal(np.concatenate([span.lengths for span in cut]), whole.lengths)
    assert whole.lengths.sum() == attempts
    assert whole.lengths.min() >= 0
    starts = np.cumsum(whole.lengths) - whole.lengths
    assert [span.first_attempt for span in cut] == [int(starts[span.first]) for span in cut]
    assert [span.first for span in cut[1:]] == [span.stop for span in cut[:-1]]


def test_the_largest_simulation_is_dealt_out_exactly() -> None:
    """Integer arithmetic of 64 bits holds at the largest size."""
    asked = SimulationSettings(attempts=100_000_000, learners=1_000_000)
    assert sum(int(span.lengths.sum()) for span in spans(asked, 500_000)) == 100_000_000


@pytest.fixture(scope="module")
def learners() -> Learners:
    asked = SimulationSettings(attempts=1_000_000)
    return Learners.of(asked, next(iter(spans(asked, 40_000))))


def test_ability_and_engagement_are_standard_and_correlated(learners: Learners) -> None:
    assert learners.ability.mean() == pytest.approx(0, abs=0.03)
    assert learners.ability.std() == pytest.approx(1, abs=0.03)
    assert learners.engagement.std() == pytest.approx(1, abs=0.03)
    correlation = np.corrcoef(learners.ability, learners.engagement)[0, 1]
    assert correlation == pytest.approx(0.35, abs=0.03)


def test_the_group_that_bias_marks_down_is_no_less_able(learners: Learners) -> None:
    gap = learners.ability[learners.is_marked_down].mean() - learners.ability.mean()
    assert abs(gap) < 0.03


def test_education_follows_ability(learners: Learners) -> None:
    means = [learners.ability[learners.education == level].mean() for level in range(5)]
    assert means == sorted(means)


def test_some_come_back_to_the_module_in_a_later_presentation(learners: Learners) -> None:
    enrolments = Enrolments.of(SimulationSettings(attempts=1_000_000), learners)
    keys = np.stack([enrolments.learner, enrolments.course])
    assert np.unique(keys, axis=1).shape == keys.shape
    repeated = np.flatnonzero(np.diff(enrolments.learner) == 0)
    assert 0.05 < len(repeated) / len(learners.number) < 0.15
    assert (enrolments.presentation[repeated + 1] > enrolments.presentation[repeated]).all()
    assert (enrolments.module[repeated + 1] == enrolments.module[repeated]).all()
    before = enrolments.previous_attempts
    assert (before[repeated + 1] == before[repeated] + 1).all()
