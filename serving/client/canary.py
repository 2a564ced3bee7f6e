"""Which label a question goes to while a canary version proves itself.

A share of the subjects, not of the questions, is asked of the canary: a subject's place between 0
and 1 is a digest of the pseudonym and the model, and who is below the weight goes to the canary. So
one learner sees one version, a weight that rises moves nobody back, and two models try their
canaries on different learners.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from learnloop.errors import LearnLoopError
from serving.state import CANARY, STABLE, Rollout

__all__ = ["CANARY", "STABLE", "Canary", "place_of"]


def place_of(model: str, subject: str) -> float:
    """Tell a subject's place: evenly spread over [0, 1), always the same for a model.

    Args:
        model: The model asked.
        subject: The pseudonym.

    Example:
        >>> place_of("outcome", "ada") == place_of("outcome", "ada")
        True
    """
    key = hashlib.blake2b(model.encode(), digest_size=16).digest()
    digest = hashlib.blake2b(subject.encode(), digest_size=8, key=key).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


class Canary:
    """Chooses ``stable`` or ``canary`` for each question.

    Args:
        weight: Tells the share of a model's subjects that is for the canary, 0 to 1.
        refresh_seconds: How long an answer of ``weight`` holds.
        clock: Seconds that never go back.
        draw: Gives numbers evenly from 0 to 1, for questions without a subject.
    """

    def __init__(
        self,
        weight: Callable[[str], float],
        refresh_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._weight = weight
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, float]] = {}

    @classmethod
    def fixed(cls, weight: float) -> Canary:
        """Send a fixed share of the subjects of every model to the canary.

        Args:
            weight: 0 to 1.
        """
        return cls(lambda model: weight)

    @classmethod
    def following(cls, document: Path) -> Canary:
        """Follow ``rollout.json``, which ``learnloop serving canary`` and its like write.

        A document that cannot be read for a while changes nothing; before the first that can be,
        no one is sent to a canary.

        Args:
            document: The file, beside the published models.
        """
        last: dict[str, float] = {}

        def weight(model: str) -> float:
            try:
                rollout = Rollout.from_json(document.read_bytes(), document)
            except (OSError, LearnLoopError):
                return last.get(model, 0.0)
            known = rollout.models.get(model)
            has_canary = known is not None and known.canary is not None
            last[model] = known.weight if known is not None and has_canary else 0.0
            return last[model]

        return cls(weight)

    def choose(self, model: str, subject: str) -> str:
        """Name the label that a question goes to.

        Args:
            model: The model asked.
            subject: The pseudonym; "" where there is none, and chance decides.
        """
        weight = self._current_weight(model)
        place = place_of(model, subject) if subject else self._draw()
        return CANARY if place < weight else STABLE

    def _current_weight(self, model: str) -> float:
        now = self._clock()
        with self._lock:
            known = self._known.get(model)
            if known is None or now - known[0] >= self._refresh_seconds:
                known = (now, self._weight(model))
                self._known[model] = known
            return known[1]
