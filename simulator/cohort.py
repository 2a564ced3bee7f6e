"""One span of learners, simulated whole: the unit of work, of memory and of parallelism."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.clicks import Clicks, click
from simulator.courses import Courses
from simulator.curriculum import Curriculum
from simulator.population import Enrolments, Learners, Span
from simulator.practice import Attempts, practise
from simulator.settings import SimulationSettings
from simulator.studies import Studies, study


@dataclass(frozen=True)
class World:
    """What all learners share.

    Args:
        settings: The simulation.
        curriculum: Skills and items.
        courses: Module presentations.
    """

    settings: SimulationSettings
    curriculum: Curriculum
    courses: Courses

    @classmethod
    def of(cls, settings: SimulationSettings) -> World:
        """Draw what all learners share."""
        return cls(settings, Curriculum.of(settings), Courses.of(settings))


@dataclass(frozen=True)
class Cohort:
    """Everything that the learners of a span did.

    Args:
        span: Which learners.
        learners: Who they are.
        enrolments: What they enrolled in.
        studies: What became of that.
        clicks: What they clicked.
        attempts: What they practised.
    """

    span: Span
    learners: Learners
    enrolments: Enrolments
    studies: Studies
    clicks: Clicks
    attempts: Attempts

    @classmethod
    def of(cls, world: World, span: Span) -> Cohort:
        """Simulate the learners of a span."""
        settings = world.settings
        learners = Learners.of(settings, span)
        enrolments = Enrolments.of(settings, learners)
        studies = study(settings, world.courses, learners, enrolments)
        clicks = click(settings, world.courses, learners, enrolments, studies)
        attempts = practise(settings, world.curriculum, learners, span)
        return cls(span, learners, enrolments, studies, clicks, attempts)
