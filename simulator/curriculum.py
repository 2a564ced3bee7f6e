"""What is practised: skills in order, their prerequisites, and the items of each skill.

Each skill carries the four parameters of Bayesian knowledge tracing (Corbett & Anderson 1995) and
the time its memory lasts; each item the two of the two-parameter logistic model (Birnbaum 1968).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.draws import Draws, Floats, Integers
from simulator.settings import SimulationSettings

ITEMS_PER_SKILL = 12


@dataclass(frozen=True)
class Curriculum:
    """Skills and items; every array has one entry per skill unless said otherwise.

    Args:
        difficulty: Ability at which half of the learners know the skill beforehand.
        prerequisite: An earlier skill, or -1.
        learn: Probability of learning the skill from one attempt, its prerequisite known.
        guess: Probability that one who does not know it answers an average item correctly.
        slip: Probability that one who knows it answers an average item wrongly.
        stability: Days after which a share 1 - 1/e of the learners have forgotten it.
        item_difficulty: Logits, float64 [skills, items].
        item_discrimination: Logits per unit of ability, float64 [skills, items].
    """

    difficulty: Floats
    prerequisite: Integers
    learn: Floats
    guess: Floats
    slip: Floats
    stability: Floats
    item_difficulty: Floats
    item_discrimination: Floats

    @property
    def skills(self) -> int:
        """Number of skills."""
        return len(self.difficulty)

    @classmethod
    def of(cls, settings: SimulationSettings) -> Curriculum:
        """Draw the skills and items of a simulation."""
        skills = np.arange(settings.skills)
        draws = Draws.of(settings.seed, "skills", skills)
        earlier = (draws.uniform(0) * np.minimum(skills, 5)).astype(np.int64) + 1
        has_prerequisite = (skills > 0) & (draws.uniform(1) < 0.7)
        items = Draws.of(settings.seed, "items", np.arange(settings.skills * ITEMS_PER_SKILL))
        shape = (settings.skills, ITEMS_PER_SKILL)
        return cls(
            difficulty=1.0 * draws.normal(5) - 1.1,
            prerequisite=np.where(has_prerequisite, skills - earlier, -1),
            learn=0.08 + 0.22 * draws.uniform(2),
            guess=0.20 + 0.20 * draws.uniform(3),
            slip=0.06 + 0.14 * draws.uniform(4),
            stability=30.0 + 90.0 * draws.uniform(6),
            item_difficulty=(0.8 * items.normal(0)).reshape(shape),
            item_discrimination=(0.5 * np.exp(0.3 * items.normal(1))).reshape(shape),
        )
