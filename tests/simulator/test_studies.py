"""Enrolments end as often in each way as their true probabilities say; nothing outlives them."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import SimulationSettings
from simulator.clicks import FIRST_DAY
from simulator.cohort import Cohort, World
from simulator.population import spans
from simulator.studies import FAIL, MARKED_DOWN, WITHDRAWN

SETTINGS = SimulationSettings(attempts=100_000, learners=8_000, seed=5)


def cohort(**changed: object) -> tuple[World, Cohort]:
    settings = SimulationSettings(attempts=100_000, learners=8_000, seed=5, **changed)
    world = World.of(settings)
    return world, Cohort.of(world, next(iter(spans(settings, 8_000))))


@pytest.fixture(scope="module")
def plain() -> tuple[World, Cohort]:
    return cohort()


def assert_frequency(happened: np.ndarray, probability: np.ndarray) -> None:
    deviation = np.sqrt((probability * (1 - probability)).sum())
    assert abs(happened.sum() - probability.sum()) < 4 * deviation


@pytest.mark.parametrize("fifth", range(5))
def test_withdrawals_are_as_frequent_as_the_truth_says(plain, fifth: int) -> None:
    studies = plain[1].studies
    rank = studies.withdrawal_probability.argsort().argsort() * 5 // len(studies.result)
    rows = rank == fifth
    assert_frequency(studies.result[rows] == WITHDRAWN, studies.withdrawal_probability[rows])


@pytest.mark.parametrize("fifth", range(5))
def test_failures_are_as_frequent_as_the_truth_says(plain, fifth: int) -> None:
    studies = plain[1].studies
    rank = studies.failure_probability.argsort().argsort() * 5 // len(studies.result)
    rows = (rank == fifth) & (studies.result != WITHDRAWN)
    assert_frequency(studies.result[rows] == FAIL, studies.failure_probability[rows])


def test_withdrawn_is_who_has_a_day_of_withdrawal(plain) -> None:
    studies = plain[1].studies
    assert np.array_equal(~np.isnan(studies.withdrawn_on), studies.result == WITHDRAWN)
    assert (studies.withdrawn_on > studies.registered)[studies.result == WITHDRAWN].mean() > 0.99


def test_nothing_is_submitted_or_clicked_after_withdrawing_or_before_registering(plain) -> None:
    _, everything = plain
    studies, submissions, clicks = (
        everything.studies,
        everything.studies.submissions,
        everything.clicks,
    )
    fresh = ~submissions.banked
    left = studies.withdrawn_on[submissions.enrolment]
    assert not (submissions.submitted >= left)[fresh].any()
    assert not (clicks.day >= studies.withdrawn_on[clicks.enrolment]).any()
    assert not (clicks.day < studies.registered[clicks.enrolment]).any()


def test_clicks_lie_within_the_course_and_are_sorted_by_it(plain) -> None:
    world, everything = plain
    clicks = everything.clicks
    assert clicks.day.min() == FIRST_DAY
    assert (clicks.day <= world.courses.length[clicks.course]).all()
    assert clicks.clicks.min() == 1
    assert (np.diff(clicks.course) >= 0).all()
    assert np.array_equal(clicks.course, everything.enrolments.course[clicks.enrolment])


def test_engaged_learners_click_more(plain) -> None:
    _, everything = plain
    engagement = everything.learners.engagement[everything.enrolments.learner]
    rows = np.bincount(everything.clicks.enrolment, minlength=len(engagement))
    assert np.corrcoef(engagement, np.log1p(rows))[0, 1] > 0.5


def test_submissions_are_to_the_assessments_of_the_course(plain) -> None:
    world, everything = plain
    submissions = everything.studies.submissions
    course = everything.enrolments.course[submissions.enrolment]
    assert np.array_equal(world.courses.assessments.course[submissions.assessment], course)
    keys = np.stack([submissions.enrolment, submissions.assessment])
    assert np.unique(keys, axis=1).shape == keys.shape


def test_marks_are_banked_only_by_those_who_come_back(plain) -> None:
    _, everything = plain
    submissions = everything.studies.submissions
    assert 0 < submissions.banked.mean() < 0.03
    before = everything.enrolments.previous_attempts[submissions.enrolment[submissions.banked]]
    assert before.min() >= 1
    assert (submissions.submitted[submissions.banked] == -1).all()


def test_bias_lowers_recorded_scores_of_the_group_and_nothing_else(plain) -> None:
    _, fair = plain
    _, biased = cohort(bias=0.5)
    before, after = fair.studies.submissions, biased.studies.submissions
    group = fair.learners.is_marked_down[fair.enrolments.learner[before.enrolment]]
    assert np.array_equal(before.fair_score, after.fair_score)
    assert np.array_equal(before.score[~group], after.score[~group], equal_nan=True)
    taken = np.nanmean((before.score - after.score)[group & (before.fair_score > 60)])
    assert taken == pytest.approx(0.5 * MARKED_DOWN, abs=0.5)
    assert np.array_equal(fair.studies.result, biased.studies.result)


def test_drift_changes_the_drifted_presentation_only(plain) -> None:
    _, before = plain
    world, after = cohort(drift=1.0)
    late = before.enrolments.presentation == 3
    at_risk = [np.isin(each.studies.result, (FAIL, WITHDRAWN)) for each in (before, after)]
    first = before.learners.presentation[before.enrolments.learner] < 3
    assert np.array_equal(at_risk[0][first & ~late], at_risk[1][first & ~late])
    assert at_risk[1][late].mean() - at_risk[0][late].mean() > 0.1
    assessments = world.courses.assessments
    counts = np.bincount(assessments.course[assessments.held <= 60], minlength=16).reshape(4, 4)
    assert (counts[:, :3] >= 3).all()
    assert (counts[:, 3] == 0).all()


def test_weaker_drift_changes_the_policy_of_fewer_modules() -> None:
    world, _ = cohort(drift=0.5)
    assessments = world.courses.assessments
    counts = np.bincount(assessments.course[assessments.held <= 60], minlength=16).reshape(4, 4)
    assert (counts[:, 3] == 0).tolist() == [True, True, False, False]


def test_the_leak_gives_the_label_away(plain) -> None:
    studies = plain[1].studies
    at_risk = np.isin(studies.result, (FAIL, WITHDRAWN))
    assert (studies.completion_code == at_risk).mean() == pytest.approx(0.99, abs=0.005)
