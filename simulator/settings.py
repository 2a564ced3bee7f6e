"""What is asked of a simulation, and what it answers: plain values, no numerical library.

Everything that changes the simulated data is in :class:`SimulationSettings`; how fast it is made
(learners at a time, threads) is not, because the data must not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PRESENTATIONS = ("2013B", "2013J", "2014B", "2014J")
"""Presentations of every module in order of time, named as OULAD names them."""

ATTEMPTS_PER_LEARNER = 32
"""Mean length of a learner's sequence of attempts when ``learners`` is not given."""

SMALLEST, LARGEST = 1_000, 100_000_000
"""Fewest and most attempts of a simulation."""


class SimulationError(ValueError):
    """A simulation that cannot be made as asked; nothing was written.

    Args:
        what: What is wrong, in one sentence.
        where: The setting or the folder concerned.
        expected: What would have been right.
        received: What was given.
        next: What to type next.
    """

    def __init__(self, what: str, *, where: str, expected: str, received: str, next: str) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.received = received
        self.next = next
        super().__init__(f"{what} {where}: expected {expected}, received {received}. {next}")


@dataclass(frozen=True)
class SimulationSettings:
    """Everything that determines the simulated data.

    Args:
        attempts: Attempts to simulate, exactly, over all learners.
        learners: Learners who make them; None gives one per 32 attempts.
        seed: Two simulations of equal settings are equal; another seed gives other learners.
        skills: Skills that the items practise.
        drift: From 0 (none) to 1: from ``drift_from`` on learners are less able, items and
            assessments harder, and modules drop assessments.
        drift_from: The first presentation that drifts.
        bias: From 0 (none) to 1: women are marked down at equal ability.
        leak: Add columns that give the label away.
        corruption: Share of rows of the text files that are made malformed.

    Raises:
        SimulationError: If a value is outside its range.

    Example:
        >>> SimulationSettings(attempts=64_000).learner_count
        2000
    """

    attempts: int = 100_000
    learners: int | None = None
    seed: int = 7
    skills: int = 40
    drift: float = 0.0
    drift_from: str = PRESENTATIONS[-1]
    bias: float = 0.0
    leak: bool = False
    corruption: float = 0.0

    def __post_init__(self) -> None:
        self._require("attempts", self.attempts, SMALLEST, LARGEST)
        if self.learners is not None:
            self._require("learners", self.learners, 1, self.attempts)
        self._require("seed", self.seed, 0, 2**63 - 1)
        self._require("skills", self.skills, 2, 1_000)
        self._require("drift", self.drift, 0, 1)
        self._require("bias", self.bias, 0, 1)
        self._require("corruption", self.corruption, 0, 0.5)
        if self.drift_from not in PRESENTATIONS:
            raise SimulationError(
                "A presentation is unknown.",
                where="drift_from",
                expected="one of " + ", ".join(PRESENTATIONS),
                received=self.drift_from,
                next="learnloop simulate --help",
            )

    @property
    def learner_count(self) -> int:
        """Learners to simulate."""
        return self.learners or max(1, self.attempts // ATTEMPTS_PER_LEARNER)

    def drift_at(self, presentation: int) -> float:
        """Return how strongly a presentation, given by its place in time, has drifted."""
        return self.drift if presentation >= PRESENTATIONS.index(self.drift_from) else 0.0

    def _require(self, name: str, value: float, least: float, most: float) -> None:
        if not least <= value <= most:
            raise SimulationError(
                "A setting is out of its range.",
                where=name,
                expected=f"{least:,} to {most:,}",
                received=f"{value:,}",
                next="learnloop simulate --help",
            )


@dataclass(frozen=True)
class SimulationSummary:
    """What a simulation wrote.

    Args:
        folder: Where it lies.
        learners: Learners simulated.
        enrolments: Rows of ``studentInfo.csv``, faults apart.
        submissions: Rows of ``studentAssessment.csv``, faults apart.
        clicks: Rows of ``studentVle/``.
        attempts: Attempts simulated.
        faults: Malformed rows injected, over all files.
        seconds: Wall time.
    """

    folder: Path
    learners: int
    enrolments: int
    submissions: int
    clicks: int
    attempts: int
    faults: int
    seconds: float
