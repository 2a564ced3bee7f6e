"""Who learns: latent ability and engagement, what a register knows of them, what they enrol in.

A learner is a number from 0; everything about them is drawn from that number alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from simulator.courses import MODULE_SHARES, PRESENTATION_SHARES
from simulator.draws import Draws, Flags, Floats, Integers, sigmoid
from simulator.settings import ATTEMPTS_PER_LEARNER, PRESENTATIONS, SimulationSettings

GENDERS = ("M", "F")
REGIONS = (
    "East Anglian Region",
    "East Midlands Region",
    "Ireland",
    "London Region",
    "North Region",
    "North Western Region",
    "Scotland",
    "South East Region",
    "South Region",
    "South West Region",
    "Wales",
    "West Midlands Region",
    "Yorkshire Region",
)
EDUCATIONS = (
    "No Formal quals",
    "Lower Than A Level",
    "A Level or Equivalent",
    "HE Qualification",
    "Post Graduate Qualification",
)
DEPRIVATIONS = (
    "0-10%",
    "10-20",  # as in the original, which lacks the sign here
    "20-30%",
    "30-40%",
    "40-50%",
    "50-60%",
    "60-70%",
    "70-80%",
    "80-90%",
    "90-100%",
)
AGES = ("0-35", "35-55", "55<=")
CREDITS = (30, 60, 90, 120, 180)
BIASED_GENDER = GENDERS.index("F")
FIRST_ID = 100_000
"""``id_student`` of learner 0; the others follow."""


@dataclass(frozen=True)
class Span:
    """Consecutive learners simulated together.

    Args:
        first: The first learner.
        stop: One past the last.
        lengths: Attempts of each, int64 [learners].
        first_attempt: Number of their first attempt.
    """

    first: int
    stop: int
    lengths: Integers
    first_attempt: int


@dataclass(frozen=True)
class Learners:
    """The learners of a span; every array has one entry per learner.

    Args:
        number: From 0.
        ability: Standard normal but for drift.
        engagement: Standard normal, correlated 0.35 with ability.
        speed: Factor on the probability of learning from an attempt.
        gender: Place in ``GENDERS``; likewise the five that follow it.
        region: Place in ``REGIONS``.
        education: Place in ``EDUCATIONS``.
        deprivation: Place in ``DEPRIVATIONS``, -1 where unknown.
        age: Place in ``AGES``.
        disability: 0 or 1.
        module: Of the first enrolment.
        presentation: Of the first enrolment; attempts are made during it.
        part: Place in the knowledge-tracing files: 0 train1, 1 valid1, 2 test.
    """

    number: Integers
    ability: Floats
    engagement: Floats
    speed: Floats
    gender: Integers
    region: Integers
    education: Integers
    deprivation: Integers
    age: Integers
    disability: Integers
    module: Integers
    presentation: Integers
    part: Integers

    @property
    def is_marked_down(self) -> Flags:
        """Whether the learner belongs to the group that ``bias`` marks down."""
        return np.asarray(self.gender == BIASED_GENDER)

    @classmethod
    def of(cls, settings: SimulationSettings, span: Span) -> Learners:
        """Draw the learners of a span."""
        number = np.arange(span.first, span.stop)
        draws = Draws.of(settings.seed, "learners", number)
        presentation = draws.choice(0, PRESENTATION_SHARES)
        drift = np.array([settings.drift_at(place) for place in range(len(PRESENTATIONS))])
        latent = draws.normal(10)
        schooling = 0.45 * latent + 0.9 * draws.normal(13)
        return cls(
            number=number,
            ability=latent - 0.6 * drift[presentation],
            engagement=0.35 * latent + np.sqrt(1 - 0.35**2) * draws.normal(11),
            speed=np.exp(0.4 * draws.normal(12)),
            gender=draws.choice(1, (0.55, 0.45)),
            region=draws.choice(2, (1.0,) * len(REGIONS)),
            education=np.searchsorted([-2.3, -0.2, 1.0, 2.3], schooling),
            deprivation=draws.choice(3, (0.097,) * len(DEPRIVATIONS) + (0.03,)),
            age=draws.choice(4, (0.70, 0.29, 0.01)),
            disability=draws.choice(5, (0.9, 0.1)),
            module=draws.choice(6, MODULE_SHARES),
            presentation=presentation,
            part=draws.choice(7, (0.56, 0.14, 0.30)),
        )


@dataclass(frozen=True)
class Enrolments:
    """The enrolments of a span, in order of learner; one entry per enrolment.

    Args:
        learner: Place of the learner among the span's learners.
        number: Distinct over the whole simulation; keys the enrolment's random numbers.
        module: Place in ``MODULES``.
        presentation: Place in ``PRESENTATIONS``.
        previous_attempts: Times the module was taken before.
        credits: Credits studied in all.
    """

    learner: Integers
    number: Integers
    module: Integers
    presentation: Integers
    previous_attempts: Integers
    credits: Integers

    @property
    def course(self) -> Integers:
        """The course of each enrolment."""
        return self.module * len(PRESENTATIONS) + self.presentation

    @classmethod
    def of(cls, settings: SimulationSettings, learners: Learners) -> Enrolments:
        """Enrol every learner once, and some of the weaker ones again in a later presentation."""
        draws = Draws.of(settings.seed, "enrolments", learners.number)
        weakness = sigmoid(-(learners.ability + learners.engagement))
        again = (draws.uniform(0) < 0.3 * weakness) & (learners.presentation < 3)
        later = 1 + (draws.uniform(1) * (3 - learners.presentation)).astype(np.int64)
        before = draws.choice(2, (0.87, 0.10, 0.02, 0.01))
        credits = np.array(CREDITS)[draws.choice(3, (0.15, 0.50, 0.12, 0.20, 0.03))]
        learner = np.arange(len(learners.number))
        first = cls(
            learner=learner,
            number=learners.number * 2,
            module=learners.module,
            presentation=learners.presentation,
            previous_attempts=before,
            credits=credits,
        )
        returning = first.rows(again)
        second = replace(
            returning,
            number=returning.number + 1,
            presentation=returning.presentation + later[again],
            previous_attempts=returning.previous_attempts + 1,
        )
        both = cls(*map(np.concatenate, zip(first._columns, second._columns, strict=True)))
        return both.rows(np.argsort(both.learner, kind="stable"))

    def rows(self, chosen: Integers | Flags) -> Enrolments:
        """Return some of the enrolments."""
        return Enrolments(*(column[chosen] for column in self._columns))

    @property
    def _columns(self) -> list[Integers]:
        return [getattr(self, column.name) for column in fields(self)]


def spans(settings: SimulationSettings, learners_at_once: int) -> Iterator[Span]:
    """Deal the attempts out to the learners, and the learners into spans.

    Each learner's share is drawn (about exponential, as in ASSISTments) and scaled with integer
    arithmetic, so that the lengths sum to ``settings.attempts`` exactly however they are cut.

    Args:
        settings: The simulation.
        learners_at_once: Most learners in a span.

    Yields:
        Spans in order of learner.
    """
    firsts = range(0, settings.learner_count, learners_at_once)
    total = sum(int(_shares(settings, first, learners_at_once).sum()) for first in firsts)
    dealt = 0
    for first in firsts:
        shares = _shares(settings, first, learners_at_once)
        bounds = (dealt + np.concatenate([[0], np.cumsum(shares)])) * settings.attempts // total
        yield Span(first, first + len(shares), np.diff(bounds), int(bounds[0]))
        dealt += int(shares.sum())


def _shares(settings: SimulationSettings, first: int, most: int) -> Integers:
    """Return the integer share of each learner; at least one attempt's worth each."""
    numbers = np.arange(first, min(first + most, settings.learner_count))
    drawn = -np.log(Draws.of(settings.seed, "lengths", numbers).uniform(0))
    return (8 + 8 * ATTEMPTS_PER_LEARNER * np.minimum(drawn, 5.0)).astype(np.int64)
