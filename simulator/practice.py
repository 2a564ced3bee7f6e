"""How attempts come about: Bayesian knowledge tracing with item response theory and forgetting.

Each learner knows or does not know each skill (the latent state of Corbett & Anderson 1995). A
correct answer has the logit of 1 - slip (known) or guess (unknown), moved by the learner's ability
and the item's difficulty, as Khajah et al. (2014, "Integrating latent-factor and knowledge-tracing
models") join the two families. After an attempt an unknown skill is learnt with a probability that
depends on the learner's speed and on whether its prerequisite is known; between two attempts on it
a known skill is forgotten, exponentially in the time passed.

The states march through time together: step t computes the t-th attempt of every learner of the
span who has one. Learners are sorted by the length of their sequence, so that those are the first
rows of every array and a slice finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.courses import STARTS
from simulator.curriculum import ITEMS_PER_SKILL, Curriculum
from simulator.draws import Draws, Flags, Floats, Integers, sigmoid
from simulator.population import Learners, Span
from simulator.settings import SimulationSettings

STAY_ON_SKILL: Final = 0.78
"""Probability that the next item practises the same skill."""

REVIEW: Final = 0.30
"""Probability that a change of skill goes back to one met before, not on to the next."""

NEW_SESSION: Final = 0.12
"""Probability that the next attempt is on a later day."""

PREREQUISITE_MISSING: Final = 0.35
"""Factor on the probability of learning while the prerequisite is unknown."""

MARKED_WRONG: Final = 0.3
"""Share of the correct answers of the group marked down that full bias records as wrong."""

Column: TypeAlias = Integers | Floats | Flags

_COLUMNS: Final[dict[str, type[np.generic]]] = {
    "skill": np.int64,
    "item": np.int64,
    "second": np.int64,
    "correct": np.bool_,
    "knew": np.bool_,
    "knows": np.bool_,
    "probability": np.float64,
}
_DAY: Final = 86_400.0
_POSITIONS: Final = 8
"""Random numbers set aside for one attempt."""


@dataclass(frozen=True)
class Attempts:
    """The attempts of a span, by learner, then time; one entry per attempt.

    Args:
        number: Distinct over the simulation, rising, int64.
        learner: Place of the learner among the span's learners, int64.
        skill: From 0, int64.
        item: From 0 over all skills, int64.
        correct: As recorded, bool.
        second: Event time, seconds since 1970 in UTC, int64.
        knew: Whether the skill was known at the moment of answering, bool.
        knows: Whether it is known after the attempt, bool.
        probability: True probability that ``correct`` is true, given ``knew``, float64.
    """

    number: Integers
    learner: Integers
    skill: Integers
    item: Integers
    correct: Flags
    second: Integers
    knew: Flags
    knows: Flags
    probability: Floats


def practise(
    settings: SimulationSettings, curriculum: Curriculum, learners: Learners, span: Span
) -> Attempts:
    """Simulate every attempt of a span.

    Args:
        settings: The simulation.
        curriculum: Its skills and items.
        learners: The span's learners.
        span: Their sequence lengths.

    Returns:
        The attempts, in the order of learner and time.
    """
    order = np.argsort(-span.lengths, kind="stable")
    lengths = span.lengths[order]
    first = (np.cumsum(span.lengths) - span.lengths)[order]
    minds = _Minds.of(settings, curriculum, learners, order)
    total = int(span.lengths.sum())
    columns = {name: np.empty(total, dtype) for name, dtype in _COLUMNS.items()}
    remaining: Integers = len(lengths) - np.searchsorted(
        lengths[::-1], np.arange(1, lengths.max() + 1)
    )
    for step, active in enumerate(remaining):
        place = first[:active] + step
        for name, values in minds.attempt(curriculum, step, int(active)).items():
            columns[name][place] = values
    return Attempts(
        number=span.first_attempt + np.arange(total),
        learner=np.repeat(np.arange(len(span.lengths)), span.lengths),
        **columns,
    )


@dataclass(frozen=True)
class _Minds:
    """What the learners of a span know and where they are, longest sequence first.

    The last five arrays are the state that :meth:`attempt` moves on in place; copying them at
    every step would cost more than the step.
    """

    draws: Draws
    ability: Floats
    engagement: Floats
    speed: Floats
    harder: Floats
    kept: Floats
    known: Flags
    practised: Floats
    second: Floats
    position: Integers
    frontier: Integers

    @classmethod
    def of(
        cls,
        settings: SimulationSettings,
        curriculum: Curriculum,
        learners: Learners,
        order: Integers,
    ) -> _Minds:
        number, presentation = learners.number[order], learners.presentation[order]
        draws = Draws.of(settings.seed, "attempts", number)
        ability = learners.ability[order]
        beforehand = Draws.of(settings.seed, "known beforehand", number)
        known = _known_beforehand(curriculum, beforehand, ability)
        position = (draws.uniform(1) * curriculum.skills * 0.5).astype(np.int64)
        return cls(
            draws=draws,
            ability=ability,
            engagement=learners.engagement[order],
            speed=learners.speed[order],
            harder=np.array([settings.drift_at(place) for place in range(len(STARTS))])[
                presentation
            ],
            kept=1.0 - MARKED_WRONG * settings.bias * learners.is_marked_down[order],
            known=known,
            practised=np.full(known.shape, np.nan),
            second=np.array(STARTS).astype(np.int64)[presentation] + 1e7 * draws.uniform(0),
            position=position,
            frontier=position.copy(),
        )

    def attempt(self, curriculum: Curriculum, step: int, active: int) -> dict[str, Column]:
        """Make the next attempt of the first ``active`` learners; return its columns."""
        now = slice(0, active)
        numbers = self.draws.rows(now).grid(_POSITIONS, first=(step + 1) * _POSITIONS)
        if step:
            _change_skill(numbers, self.position[now], self.frontier[now], curriculum.skills)
            self.second[now] += _pause(numbers, self.engagement[now])
        skill = self.position[now]
        item = skill * ITEMS_PER_SKILL + (numbers[:, 2] * ITEMS_PER_SKILL).astype(np.int64)
        cell = (np.arange(active), skill)
        days = np.nan_to_num((self.second[now] - self.practised[cell]) / _DAY)
        remembers = numbers[:, 3] < np.exp(-days / curriculum.stability[skill])
        knew = self.known[cell] & remembers

        relative = self.ability[now] - curriculum.item_difficulty.ravel()[item] - self.harder[now]
        logit = np.where(knew, -_logit(curriculum.slip)[skill], _logit(curriculum.guess)[skill])
        logit += curriculum.item_discrimination.ravel()[item] * relative
        probability = sigmoid(logit) * self.kept[now]

        prerequisite = curriculum.prerequisite[skill]
        is_ready = (prerequisite < 0) | self.known[cell[0], prerequisite]
        learning = curriculum.learn[skill] * np.where(is_ready, 1.0, PREREQUISITE_MISSING)
        knows = knew | (numbers[:, 5] < learning * self.speed[now])
        self.known[cell] = knows
        self.practised[cell] = self.second[now]
        return {
            "skill": skill,
            "item": item,
            "second": self.second[now],
            "correct": numbers[:, 4] < probability,
            "knew": knew,
            "knows": knows,
            "probability": probability,
        }


def _known_beforehand(curriculum: Curriculum, draws: Draws, ability: Floats) -> Flags:
    """Draw which skills are known at the start, bool [learners, skills]; never without theirs."""
    logits = 1.2 * (ability[:, None] - curriculum.difficulty[None, :] - 0.3)
    known = draws.grid(curriculum.skills) < sigmoid(logits)
    for skill, prerequisite in enumerate(curriculum.prerequisite):
        if prerequisite >= 0:
            known[:, skill] &= known[:, prerequisite]
    return known


def _change_skill(numbers: Floats, position: Integers, frontier: Integers, skills: int) -> None:
    """Move some learners, in place, to the next skill or back to one met before."""
    moves = numbers[:, 0] >= STAY_ON_SKILL
    choice = (numbers[:, 0] - STAY_ON_SKILL) / (1 - STAY_ON_SKILL)
    reviews = moves & (choice < REVIEW)
    advances = moves & ~reviews
    frontier[advances] = (frontier[advances] + 1) % skills
    position[advances] = frontier[advances]
    back = (numbers[:, 6] * np.minimum(frontier + 1, 10)).astype(np.int64)
    position[reviews] = (frontier - back)[reviews]


def _pause(numbers: Floats, engagement: Floats) -> Floats:
    """Return whole seconds until the next attempt: a minute or so, or days for a new session."""
    waiting = -np.log(numbers[:, 7])
    later = numbers[:, 1] < NEW_SESSION
    scale = np.where(later, 2.5 * _DAY * np.exp(-0.4 * engagement), 70.0)
    return np.floor(5.0 + waiting * scale)


def _logit(probability: Floats) -> Floats:
    return np.log(probability / (1.0 - probability))
