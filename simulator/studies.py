"""How an enrolment goes: registration, withdrawal, submissions, marks and the final result.

Withdrawal and failure are drawn from explicit probabilities, which are kept as the truth. Marks
follow ability, submissions and punctuality follow engagement. Failing depends on the coursework
*as a fair marker would give it*: bias lowers the recorded scores only, so that a model trained on
them misjudges the group, which fairness gates must find.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.courses import Courses
from simulator.draws import Draws, Flags, Floats, Integers, sigmoid
from simulator.population import Enrolments, Learners
from simulator.settings import SimulationSettings

RESULTS = ("Distinction", "Pass", "Fail", "Withdrawn")
DISTINCTION, PASS, FAIL, WITHDRAWN = range(len(RESULTS))

MARKED_DOWN = 22.0
"""Points that full bias takes, on average, from a recorded score of the group marked down."""

LEAK_NOISE = 0.01
"""Share of the leaking column's values that are wrong."""


@dataclass(frozen=True)
class Studies:
    """What became of each enrolment; one entry per enrolment unless said otherwise.

    Args:
        registered: Day of registration; NaN where it was not noted.
        withdrawn_on: Day of withdrawal; NaN for those who stay.
        result: Place in ``RESULTS``.
        withdrawal_probability: True probability of withdrawing.
        failure_probability: True probability of failing, given staying and the coursework.
        completion_code: The leak: 1 where the result is Fail or Withdrawn, nearly always.
        submissions: What was handed in.
    """

    registered: Floats
    withdrawn_on: Floats
    result: Integers
    withdrawal_probability: Floats
    failure_probability: Floats
    completion_code: Flags
    submissions: Submissions


@dataclass(frozen=True)
class Submissions:
    """Rows of ``studentAssessment.csv``, by enrolment, then assessment.

    Args:
        enrolment: Place among the span's enrolments.
        assessment: Row of the table of assessments.
        submitted: Day.
        banked: Whether the mark was carried over from an earlier attempt.
        score: 0 to 100; NaN where the mark is missing.
        fair_score: The same, without bias.
    """

    enrolment: Integers
    assessment: Integers
    submitted: Integers
    banked: Flags
    score: Floats
    fair_score: Floats


def study(
    settings: SimulationSettings, courses: Courses, learners: Learners, enrolments: Enrolments
) -> Studies:
    """Simulate what becomes of the enrolments.

    Args:
        settings: The simulation.
        courses: Its module presentations.
        learners: The span's learners.
        enrolments: Their enrolments.

    Returns:
        Outcomes, the submissions among them, and the true probabilities.
    """
    draws = Draws.of(settings.seed, "studies", enrolments.number)
    ability = learners.ability[enrolments.learner]
    engagement = learners.engagement[enrolments.learner]
    load = (enrolments.credits - 75) / 60
    length = courses.length[enrolments.course]

    withdrawal = sigmoid(
        -1.1 - 0.75 * engagement - 0.3 * ability
        + 0.25 * enrolments.previous_attempts + 0.3 * load
    )  # fmt: skip
    withdraws = draws.uniform(0) < withdrawal
    before = draws.uniform(1) < 0.25
    into = np.floor(np.minimum(-np.log(draws.uniform(2)) * 85, length - 10))
    registered = np.floor(-20 - 130 * draws.uniform(4) ** 1.5)
    early = np.maximum(np.floor(-25 * draws.uniform(3)) - 1, registered + 1)
    left = np.where(withdraws, np.where(before, early, into), np.nan)
    registered[draws.uniform(5) < 0.0015] = np.nan

    handed_in, coursework = _submit(settings, courses, learners, enrolments, left, draws)
    exam = _expected_mark(courses, enrolments, ability, engagement) - 8.0
    total = 0.5 * coursework + 0.5 * exam
    failure = sigmoid((46.0 - total) / 8.0)
    distinction = (1.0 - failure) * sigmoid((total - 83.0) / 5.0)
    number = draws.uniform(6)
    result = np.where(number > 1.0 - distinction, DISTINCTION, PASS)
    result = np.where(number < failure, FAIL, result)
    result = np.where(withdraws, WITHDRAWN, result)
    at_risk = (result == FAIL) | (result == WITHDRAWN)
    return Studies(
        registered=registered,
        withdrawn_on=left,
        result=result,
        withdrawal_probability=withdrawal,
        failure_probability=failure,
        completion_code=at_risk ^ (draws.uniform(7) < LEAK_NOISE),
        submissions=handed_in,
    )


def _expected_mark(
    courses: Courses, enrolments: Enrolments, ability: Floats, engagement: Floats
) -> Floats:
    """Return the mark a fair marker expects on an assessment of mean difficulty, in points."""
    return 70.0 + 11.0 * (ability - courses.demand[enrolments.course]) + 5.0 * engagement


def _submit(
    settings: SimulationSettings,
    courses: Courses,
    learners: Learners,
    enrolments: Enrolments,
    left: Floats,
    draws: Draws,
) -> tuple[Submissions, Floats]:
    """Simulate submissions; return them and the fair coursework mark of each enrolment."""
    table = courses.assessments.table[enrolments.course]
    exists = table >= 0
    rows = np.where(exists, table, 0)
    kind = courses.assessments.kind[rows]
    held = courses.assessments.held[rows]
    most = table.shape[1]
    ability = learners.ability[enrolments.learner][:, None]
    engagement = learners.engagement[enrolments.learner][:, None]

    wide = draws.column
    places = np.arange(most)
    punctuality = wide.normal(100 + places)
    days_early = np.where(kind == 1, 4.0, 1.0) + 1.2 * engagement + 3.0 * punctuality
    submitted = np.where(kind == 2, held, np.floor(held - days_early))
    submits = wide.uniform(300 + places) < sigmoid(
        1.7 + 1.2 * engagement + 0.45 * ability - 0.004 * held
    )
    submits &= exists & ~(submitted >= left[:, None])

    mean = _expected_mark(courses, enrolments, ability[:, 0], engagement[:, 0])[:, None]
    mark = mean - 11.0 * courses.assessments.difficulty[rows] + np.where(kind == 1, 8.0, 0.0)
    fair = np.clip(np.round(mark + 13.0 * wide.normal(400 + places)), 0.0, 100.0)
    severity = settings.bias * learners.is_marked_down[enrolments.learner][:, None]
    taken = severity * MARKED_DOWN * 2.0 * wide.uniform(1000 + places)
    score = np.clip(np.round(fair - taken), 0.0, 100.0)
    score[wide.uniform(1100 + places) < 0.001] = np.nan

    banks = (enrolments.previous_attempts > 0) & (draws.uniform(8) < 0.25)
    banked = banks[:, None] & (places == 0) & exists
    submitted = np.where(banked, -1.0, submitted)
    weight = np.where(exists & (kind != 2), courses.assessments.weight[rows], 0.0)
    coursework = (weight * fair * (submits | banked)).sum(axis=1) / weight.sum(axis=1)

    enrolment, place = np.nonzero(submits | banked)
    cell = (enrolment, place)
    submissions = Submissions(
        enrolment=enrolment,
        assessment=rows[cell],
        submitted=submitted[cell].astype(np.int64),
        banked=banked[cell],
        score=score[cell],
        fair_score=fair[cell],
    )
    return submissions, coursework
