"""Attempts happen as often as their true probabilities say, and states follow their rules."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import SimulationSettings
from simulator.curriculum import ITEMS_PER_SKILL, Curriculum
from simulator.population import Learners, spans
from simulator.practice import PREREQUISITE_MISSING, Attempts, practise

SETTINGS = SimulationSettings(attempts=120_000, seed=3, skills=20)


def practised(settings: SimulationSettings) -> tuple[Curriculum, Learners, Attempts]:
    span = next(iter(spans(settings, settings.learner_count)))
    learners = Learners.of(settings, span)
    curriculum = Curriculum.of(settings)
    return curriculum, learners, practise(settings, curriculum, learners, span)


@pytest.fixture(scope="module")
def world() -> tuple[Curriculum, Learners, Attempts]:
    return practised(SETTINGS)


def next_on_skill(attempts: Attempts) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (attempt, the learner's next attempt on the same skill)."""
    order = np.lexsort([attempts.number, attempts.skill, attempts.learner])
    same = (np.diff(attempts.learner[order]) == 0) & (np.diff(attempts.skill[order]) == 0)
    return order[:-1][same], order[1:][same]


def assert_frequency(happened: np.ndarray, probability: np.ndarray) -> None:
    """Compare a count with its expectation, within four standard deviations."""
    deviation = np.sqrt((probability * (1 - probability)).sum())
    assert abs(happened.sum() - probability.sum()) < 4 * deviation


@pytest.mark.parametrize("tenth", range(10))
def test_answers_are_as_often_correct_as_the_truth_says(world, tenth: int) -> None:
    _, _, attempts = world
    bounds = np.quantile(attempts.probability, [tenth / 10, (tenth + 1) / 10])
    rows = (attempts.probability >= bounds[0]) & (attempts.probability <= bounds[1])
    assert_frequency(attempts.correct[rows], attempts.probability[rows])


def test_the_probability_is_that_of_the_documented_model(world) -> None:
    curriculum, learners, attempts = world
    known = np.log((1 - curriculum.slip) / curriculum.slip)[attempts.skill]
    unknown = np.log(curriculum.guess / (1 - curriculum.guess))[attempts.skill]
    difficulty = curriculum.item_difficulty.ravel()[attempts.item]
    discrimination = curriculum.item_discrimination.ravel()[attempts.item]
    logit = np.where(attempts.knew, known, unknown)
    logit += discrimination * (learners.ability[attempts.learner] - difficulty)
    assert attempts.probability == pytest.approx(1 / (1 + np.exp(-logit)))


def test_items_belong_to_their_skills(world) -> None:
    _, _, attempts = world
    assert np.array_equal(attempts.item // ITEMS_PER_SKILL, attempts.skill)


def test_a_skill_known_before_an_answer_is_known_after_it(world) -> None:
    _, _, attempts = world
    assert attempts.knows[attempts.knew].all()


def test_skills_are_learnt_as_often_as_the_parameters_say(world) -> None:
    curriculum, learners, attempts = world
    rows = ~attempts.knew & (curriculum.prerequisite[attempts.skill] < 0)
    probability = curriculum.learn[attempts.skill] * learners.speed[attempts.learner]
    assert_frequency(attempts.knows[rows], np.minimum(probability[rows], 1))


def test_a_missing_prerequisite_slows_learning(world) -> None:
    """Nobody starts with a skill whose prerequisite is unknown, so most are missing there."""
    curriculum, learners, attempts = world
    probability = curriculum.learn[attempts.skill] * learners.speed[attempts.learner]
    rows = ~attempts.knew & (curriculum.prerequisite[attempts.skill] >= 0)
    ratio = attempts.knows[rows].sum() / probability[rows].sum()
    assert PREREQUISITE_MISSING < ratio < 0.95


def test_skills_are_forgotten_as_often_as_the_parameters_say(world) -> None:
    curriculum, _, attempts = world
    before, after = next_on_skill(attempts)
    knew = attempts.knows[before]
    before, after = before[knew], after[knew]
    days = (attempts.second[after] - attempts.second[before]) / 86_400
    assert_frequency(
        attempts.knew[after], np.exp(-days / curriculum.stability[attempts.skill[after]])
    )


def test_an_unknown_skill_stays_unknown_until_it_is_practised(world) -> None:
    _, _, attempts = world
    before, after = next_on_skill(attempts)
    assert not attempts.knew[after][~attempts.knows[before]].any()


def test_time_moves_on(world) -> None:
    _, _, attempts = world
    same_learner = np.diff(attempts.learner) == 0
    assert (np.diff(attempts.second)[same_learner] >= 5).all()


def test_drift_makes_the_drifted_presentation_harder() -> None:
    _, learners, plain = practised(SETTINGS)
    _, _, drifted = practised(
        SimulationSettings(attempts=120_000, seed=3, skills=20, drift=1.0, drift_from="2014J")
    )
    late = learners.presentation[plain.learner] == 3
    assert np.array_equal(plain.correct[~late], drifted.correct[~late])
    assert plain.correct[late].mean() - drifted.correct[late].mean() > 0.1


def test_bias_records_some_correct_answers_of_the_group_as_wrong() -> None:
    _, learners, plain = practised(SETTINGS)
    _, _, biased = practised(SimulationSettings(attempts=120_000, seed=3, skills=20, bias=1.0))
    group = learners.is_marked_down[plain.learner]
    assert np.array_equal(plain.correct[~group], biased.correct[~group])
    assert biased.probability[group] == pytest.approx(0.7 * plain.probability[group])
    assert_frequency(biased.correct[group], biased.probability[group])
    assert np.array_equal(plain.knows, biased.knows)
