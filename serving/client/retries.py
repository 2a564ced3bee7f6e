"""When a question is asked again, and after which pause.

Every question here is free of effects, so asking again does no harm. It is asked again only where
that may help: the server could not be reached, or said that it is too busy. The pause is drawn
evenly from 0 to a bound that doubles ("full jitter"), so that the callers of a server that comes
back do not all return at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.server.contract import Code

RETRYABLE = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})
"""Codes after which the same question may be answered: connection refused or reset, 429, 503."""


@dataclass(frozen=True)
class Retries:
    """How often and how soon a question is asked again.

    Args:
        attempts: How often it is asked at most; 1 never asks again.
        first_seconds: The longest pause before the second attempt; each bound is twice the last.
        most_seconds: No pause is drawn from more than this.

    Example:
        >>> [Retries(first_seconds=0.1, most_seconds=0.5).bound(n) for n in (1, 2, 3, 4)]
        [0.1, 0.2, 0.4, 0.5]
    """

    attempts: int = 5
    first_seconds: float = 0.05
    most_seconds: float = 2.0

    def bound(self, failed: int) -> float:
        """Tell the longest pause after so many failed attempts.

        Args:
            failed: Attempts that failed, at least 1.
        """
        doublings = min(failed - 1, 60)  # beyond this a float has long reached any bound
        return min(self.most_seconds, self.first_seconds * 2.0**doublings)

    def pause(self, failed: int, asked: float | None, draw: Callable[[], float]) -> float:
        """Draw the pause before the next attempt.

        Args:
            failed: Attempts that failed, at least 1.
            asked: The least pause that the server asked for (``Retry-After``), in seconds.
            draw: Gives numbers evenly from 0 to 1.

        Returns:
            Seconds: what the server asked for, if it did, and the drawn pause on top.
        """
        return max(asked or 0.0, 0.0) + draw() * self.bound(failed)
