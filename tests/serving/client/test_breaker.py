"""The circuit breaker, driven through all its states by chance and compared with a plain model."""

from __future__ import annotations

import doctest

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from serving.client import breaker as module
from serving.client.breaker import CircuitBreaker, CircuitSettings, CircuitState

FAILURES, OPEN_SECONDS = 3, 5.0


class Circuit(RuleBasedStateMachine):
    """Calls begin and end in any order while the clock goes on."""

    calls: Bundle[tuple[int, int]] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        settings = CircuitSettings(FAILURES, OPEN_SECONDS)
        self.breaker = CircuitBreaker(settings, clock=lambda: self.now)
        self.opened_at: float | None = None
        self.in_a_row = 0
        self.era = 0  # calls of an earlier era decide nothing
        self.probes = 0
        self.passed = self.refused = self.failed = self.opened = 0

    def expected(self) -> CircuitState:
        if self.opened_at is None:
            return CircuitState.CLOSED
        if self.now >= self.opened_at + OPEN_SECONDS:
            return CircuitState.HALF_OPEN
        return CircuitState.OPEN

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls)
    def call(self) -> tuple[int, int]:
        state = self.expected()
        may_pass = state is CircuitState.CLOSED or (
            state is CircuitState.HALF_OPEN and not self.probes
        )
        ticket = self.breaker.admit()
        assert (ticket is not None) == may_pass
        if ticket is None:
            self.refused += 1
            return -1, -1
        self.passed += 1
        self.probes += state is CircuitState.HALF_OPEN
        return ticket, self.era

    @rule(call=consumes(calls), outcome=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, call: tuple[int, int], outcome: str) -> None:
        ticket, era = call
        if ticket < 0:
            return
        getattr(self.breaker, outcome)(ticket)
        self.failed += outcome == "failed"
        if era != self.era:
            return
        is_probe = self.opened_at is not None
        if is_probe:
            self.probes = 0
        if outcome == "succeeded":
            self.in_a_row = 0
            if is_probe:
                self.opened_at, self.era = None, self.era + 1
        elif outcome == "failed":
            self.in_a_row += 1
            if is_probe or self.in_a_row >= FAILURES:
                self.opened_at, self.in_a_row = self.now, 0
                self.opened += 1
                self.era += 1

    @invariant()
    def is_as_expected(self) -> None:
        assert self.breaker.state is self.expected()
        assert self.probes <= 1, "a half-open circuit lets one call pass at a time"
        counts = (self.passed, self.refused, self.failed, self.opened)
        found = self.breaker.counts
        assert (found.passed, found.refused, found.failed, found.opened) == counts
        if self.expected() is CircuitState.OPEN:
            assert self.opened_at is not None
            left = self.opened_at + OPEN_SECONDS - self.now
            assert self.breaker.seconds_until_probe() == left
        else:
            assert self.breaker.seconds_until_probe() == 0


TestCircuit = Circuit.TestCase
TestCircuit.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_the_example_in_its_docstring() -> None:
    assert doctest.testmod(module).failed == 0
