"""What is studied: modules, their presentations, assessments and learning sites.

The shapes are OULAD's (Kuzilek, Hlosta & Zdrahal 2017): a module is presented in February (B) and
October (J), has tutor-marked (TMA) and computer-marked (CMA) assessments with weights and an exam,
and a virtual learning environment (VLE) whose sites are clicked. A *course* here is one module
presentation, numbered ``module * 4 + presentation``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.draws import Draws, Floats, Integers
from simulator.settings import PRESENTATIONS, SimulationSettings

MODULES = ("AAA", "BBB", "CCC", "DDD")
MODULE_SHARES = (0.15, 0.35, 0.30, 0.20)
PRESENTATION_SHARES = (0.16, 0.27, 0.22, 0.35)
COURSES = tuple((module, presentation) for module in MODULES for presentation in PRESENTATIONS)
STARTS = tuple(
    np.datetime64(day, "s") for day in ("2013-02-01", "2013-10-01", "2014-02-01", "2014-10-01")
)
"""First day of each presentation, as seconds since 1970 in UTC."""

TUTOR_MARKED_DAYS = (19, 47, 89, 124, 166, 208)
COMPUTER_MARKED_DAYS = (40, 110, 194)
SITES_PER_COURSE = 60
ACTIVITIES = ("homepage", "forumng", "oucontent", "quiz", "resource", "subpage", "url")
ACTIVITY_SHARES = (0.02, 0.06, 0.22, 0.06, 0.34, 0.16, 0.14)


@dataclass(frozen=True)
class Assessments:
    """The assessments of all courses, in one table; float64 or int64 [assessments].

    Args:
        number: ``id_assessment``.
        course: The course it belongs to.
        kind: 0 TMA, 1 CMA, 2 Exam.
        due: Day it is due; NaN where none is published.
        held: Day it takes place, published or not.
        weight: Per cent of the coursework, or 100 for the exam.
        difficulty: In units of ability.
        table: Rows of this table by course, padded with -1, int64 [courses, most].
    """

    number: Integers
    course: Integers
    kind: Integers
    due: Floats
    held: Floats
    weight: Floats
    difficulty: Floats
    table: Integers


@dataclass(frozen=True)
class Courses:
    """Every module presentation of a simulation.

    Args:
        length: Days, int64 [courses].
        demand: How hard the module is, in units of ability, float64 [courses].
        assessments: All assessments.
        site_activity: Place in ``ACTIVITIES``, int64 [courses, sites].
        site_week: Week the site is meant for, -1 for any, int64 [courses, sites].
    """

    length: Integers
    demand: Floats
    assessments: Assessments
    site_activity: Integers
    site_week: Integers

    @classmethod
    def of(cls, settings: SimulationSettings) -> Courses:
        """Draw the courses of a simulation."""
        numbers = np.arange(len(COURSES))
        autumn = np.array([presentation.endswith("J") for _, presentation in COURSES])
        modules = Draws.of(settings.seed, "modules", numbers // len(PRESENTATIONS))
        sites = Draws.of(settings.seed, "sites", np.arange(len(COURSES) * SITES_PER_COURSE))
        weeks = (sites.uniform(1) * 30).astype(np.int64)
        shape = (len(COURSES), SITES_PER_COURSE)
        activity = sites.choice(0, ACTIVITY_SHARES).reshape(shape)
        activity[:, 0] = 0
        return cls(
            length=np.where(autumn, 268, 240),
            demand=0.35 * modules.normal(0),
            assessments=_assessments(settings),
            site_activity=activity,
            site_week=np.where(sites.uniform(2) < 0.18, weeks, -1).reshape(shape),
        )

    @staticmethod
    def site_number(course: Integers, site: Integers) -> Integers:
        """Return the ``id_site`` of a course's site."""
        return 500_000 + course * 1_000 + site


def _assessments(settings: SimulationSettings) -> Assessments:
    """Lay out each course's assessments; drifted courses drop early ones, as OULAD's BBB did."""
    rows: list[tuple[int, int, int, float, float]] = []
    for course, (module, presentation) in enumerate(COURSES):
        drift = settings.drift_at(PRESENTATIONS.index(presentation))
        changes_policy = MODULES.index(module) < round(drift * len(MODULES))
        shift = 0 if presentation.endswith("J") else -7
        tutor_days = [*enumerate(TUTOR_MARKED_DAYS)][2 * changes_policy :]
        computer_days = [] if changes_policy else [*enumerate(COMPUTER_MARKED_DAYS, 10)]
        weight = (100.0 - 4.0 * len(computer_days)) / len(tutor_days)
        rows += [(course, slot, 0, float(day + shift), weight) for slot, day in tutor_days]
        rows += [(course, slot, 1, float(day + shift), 4.0) for slot, day in computer_days]
        rows.append((course, 19, 2, 233.0 + shift, 100.0))
    course_of, slots, kind, held, weights = (np.array(column) for column in zip(*rows, strict=True))
    identity = course_of * 20 + slots  # the same assessment, whether others are dropped or not
    draws = Draws.of(settings.seed, "assessments", identity)
    drift_of = np.array([settings.drift_at(course % len(PRESENTATIONS)) for course in course_of])
    return Assessments(
        number=1_752 + identity,
        course=course_of,
        kind=kind,
        due=np.where((kind == 2) & (course_of % 2 == 0), np.nan, held),
        held=held,
        weight=np.round(weights, 1),
        difficulty=0.3 * draws.normal(0) + 0.8 * drift_of,
        table=_rows_by_course(course_of),
    )


def _rows_by_course(course_of: Integers) -> Integers:
    counts = np.bincount(course_of, minlength=len(COURSES))
    table = np.full((len(COURSES), int(counts.max())), -1)
    for course, count in enumerate(counts):
        table[course, :count] = np.flatnonzero(course_of == course)
    return table
