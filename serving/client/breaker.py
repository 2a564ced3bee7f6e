"""A circuit breaker: an endpoint that keeps failing is left alone for a while.

*Closed*, calls pass. After so many failures in a row it is *open*: no call passes for some
seconds. Then it is *half-open*: one call passes as a probe, and its outcome closes the circuit or
opens it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class CircuitState(Enum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class CircuitCounts:
    """What a circuit breaker did so far.

    Args:
        passed: Calls let through.
        refused: Calls not let through.
        failed: Calls that failed for the endpoint's sake.
        opened: How often the circuit opened.
    """

    passed: int = 0
    refused: int = 0
    failed: int = 0
    opened: int = 0


@dataclass(frozen=True)
class CircuitSettings:
    """When a circuit opens, and for how long.

    Args:
        failures: Failures in a row that open it.
        open_seconds: How long it stays open before a probe may pass.
    """

    failures: int = 5
    open_seconds: float = 5.0


class CircuitBreaker:
    """Guards one endpoint; safe for threads.

    Every call that is let through has a ticket and ends in exactly one of :meth:`succeeded`,
    :meth:`failed` and :meth:`abandoned`. What a call of an earlier state of the circuit met, such
    as a time-out that comes in while a probe is on its way, is counted and decides nothing.

    Args:
        settings: When it opens, and for how long.
        clock: Seconds that never go back.

    Example:
        >>> breaker = CircuitBreaker(CircuitSettings(failures=1), clock=lambda: 0.0)
        >>> breaker.failed(breaker.admit() or 0)
        >>> breaker.state.value, breaker.admit(), breaker.seconds_until_probe()
        ('open', None, 5.0)
    """

    def __init__(
        self,
        settings: CircuitSettings = CircuitSettings(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._ticket = 0
        self._opened_at: float | None = None
        self._is_probing = False
        self._passed = self._refused = self._failed = self._opened = 0

    @property
    def state(self) -> CircuitState:
        """Whether calls pass now."""
        with self._lock:
            return self._state()

    @property
    def counts(self) -> CircuitCounts:
        """What it did so far."""
        with self._lock:
            return CircuitCounts(self._passed, self._refused, self._failed, self._opened)

    def admit(self) -> int | None:
        """Ask whether a call may pass; a half-open circuit lets one pass at a time.

        Returns:
            The call's ticket, or None if it may not.
        """
        with self._lock:
            state = self._state()
            is_probe = state is CircuitState.HALF_OPEN
            if state is CircuitState.OPEN or (is_probe and self._is_probing):
                self._refused += 1
                return None
            self._is_probing = is_probe
            self._passed += 1
            return self._ticket

    def succeeded(self, ticket: int) -> None:
        """Note that a call was answered; refusing a bad question is an answer too."""
        with self._lock:
            if ticket == self._ticket:
                self._in_a_row = 0
                if self._opened_at is not None:
                    self._change(opened_at=None)

    def failed(self, ticket: int) -> None:
        """Note that a call failed for the endpoint's sake."""
        with self._lock:
            self._failed += 1
            if ticket != self._ticket:
                return
            self._in_a_row += 1
            if self._is_probing or self._in_a_row >= self._settings.failures:
                self._opened += 1
                self._change(opened_at=self._clock())

    def abandoned(self, ticket: int) -> None:
        """Note that a call was given up by its caller, which says nothing of the endpoint."""
        with self._lock:
            if ticket == self._ticket:
                self._is_probing = False

    def seconds_until_probe(self) -> float:
        """Tell how long it stays open; 0 when a call may be tried."""
        with self._lock:
            if self._opened_at is None:
                return 0.0
            return max(0.0, self._opened_at + self._settings.open_seconds - self._clock())

    def _change(self, opened_at: float | None) -> None:
        self._opened_at, self._is_probing, self._in_a_row = opened_at, False, 0
        self._ticket += 1

    def _state(self) -> CircuitState:
        if self._opened_at is None:
            return CircuitState.CLOSED
        is_over = self._clock() >= self._opened_at + self._settings.open_seconds
        return CircuitState.HALF_OPEN if is_over else CircuitState.OPEN
