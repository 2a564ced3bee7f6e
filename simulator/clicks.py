"""When and where learners click in the virtual learning environment.

On each day from 25 days before the start a learner is active with odds that are the product of
their own engagement and the day's calendar (weekend, distance from the next deadline, time since
the start), until they withdraw. An active day visits a few sites, popular ones most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.courses import COURSES, SITES_PER_COURSE, Courses
from simulator.draws import Draws, Floats, Integers, geometric
from simulator.population import Enrolments, Learners
from simulator.settings import SimulationSettings
from simulator.studies import Studies

FIRST_DAY = -25
"""The day on which the learning environment opens, relative to the start."""

MOST_SITES = 8
"""Most sites visited on one day."""

_POSITIONS_PER_DAY = 1 + 2 * MOST_SITES


@dataclass(frozen=True)
class Clicks:
    """Rows of ``studentVle``, sorted by course, then enrolment, then day; one entry per row.

    Args:
        enrolment: Place among the span's enrolments.
        course: Of the enrolment.
        site: Place among the course's sites.
        day: Relative to the start.
        clicks: At least 1.
    """

    enrolment: Integers
    course: Integers
    site: Integers
    day: Integers
    clicks: Integers


def click(
    settings: SimulationSettings,
    courses: Courses,
    learners: Learners,
    enrolments: Enrolments,
    studies: Studies,
) -> Clicks:
    """Simulate the clicks of the enrolments.

    Args:
        settings: The simulation.
        courses: Its module presentations.
        learners: The span's learners.
        enrolments: Their enrolments.
        studies: What becomes of them: nobody clicks before registering or after withdrawing.

    Returns:
        The rows of all courses.
    """
    by_course = np.argsort(enrolments.course, kind="stable")
    course = enrolments.course[by_course]
    draws = Draws.of(settings.seed, "clicks", enrolments.number[by_course])
    ability = learners.ability[enrolments.learner[by_course]]
    engagement = learners.engagement[enrolments.learner[by_course]]
    calendar = _calendar(courses)
    days = np.arange(FIRST_DAY, FIRST_DAY + calendar.shape[1])

    propensity = np.exp(-1.5 + 1.0 * engagement + 0.2 * ability + 0.4 * draws.normal(0))
    odds = propensity[:, None] * calendar[course]
    until = studies.withdrawn_on[by_course, None] - days
    odds *= np.where(until <= 0, 0.0, np.where(until < 14, 0.5, 1.0))
    odds *= ~(studies.registered[by_course, None] > days)
    numbers = draws.grid(len(days), first=20_000)
    row, place = np.nonzero(numbers < odds * (1.0 - numbers))

    visits = 1 + np.minimum(geometric(draws.rows(row).uniform(place), 1.1), MOST_SITES - 1)
    within = np.arange(visits.sum()) - np.repeat(np.cumsum(visits) - visits, visits)
    row, place = np.repeat(row, visits), np.repeat(place, visits)
    positions = 30_000 + place * _POSITIONS_PER_DAY + 2 * within
    keyed = draws.rows(row)
    mean = 2.5 * np.exp(0.25 * engagement)[row]
    return Clicks(
        enrolment=by_course[row],
        course=course[row],
        site=(keyed.uniform(positions) ** 2.5 * SITES_PER_COURSE).astype(np.int64),
        day=days[place],
        clicks=1 + geometric(keyed.uniform(positions + 1), mean),
    )


def _calendar(courses: Courses) -> Floats:
    """Return the odds factor of each course's days; 0 outside the course, [courses, days]."""
    days = np.arange(FIRST_DAY, int(courses.length.max()) + 1)
    odds = np.ones((len(COURSES), len(days)))
    odds *= np.where(days % 7 >= 5, 0.7, 1.0)
    odds *= np.where(days < 0, 0.35, 1.0)
    odds *= np.exp(-0.5 * np.maximum(days, 0) / courses.length[:, None])
    for due, course in zip(courses.assessments.held, courses.assessments.course, strict=True):
        odds[course] *= np.where((days <= due) & (days > due - 4), 1.9, 1.0)
    return np.where(days <= courses.length[:, None], odds, 0.0)
