"""The event loop stays awake for a moment while requests follow one another closely."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from serving.server.rest import busy_poll
from serving.server.rest.busy_poll import BusyPoll

WAIT = 100e-6


class Loop:
    """Counts how often it is asked not to sleep; a turn takes ten microseconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def turns(self) -> int:
        """Go on until the loop may sleep, and count the turns."""
        count = 0
        while self.callbacks:
            self.now += 10e-6
            callbacks, self.callbacks = self.callbacks, []
            assert len(callbacks) == 1
            callbacks[0]()
            count += 1
        return count


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(busy_poll, "_clock", lambda: loop.now)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    return loop


def poll_of(loop: Any, seconds: float = WAIT) -> BusyPoll:
    return BusyPoll(loop, seconds)


def test_waits_awake_for_as_long_as_answers_follow_closely(loop: Loop) -> None:
    poll = poll_of(loop)
    poll.answered()
    assert loop.turns() == 0, "it is the first"
    loop.now += 1.5 * WAIT
    poll.answered()
    assert loop.turns() == 11
    loop.now += 0.5 * WAIT
    poll.answered()
    loop.now += 0.5 * WAIT
    poll.answered()
    assert loop.turns() == 12, "an answer prolongs the wait and begins no second one"
    loop.now += 3 * WAIT
    poll.answered()
    assert loop.turns() == 0, "requests have become rare"


def test_never_waits_awake_where_told_so(loop: Loop) -> None:
    poll = poll_of(loop, 0.0)
    poll.answered()
    poll.answered()
    assert loop.turns() == 0


def test_leaves_the_only_core_to_the_client(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    poll = poll_of(loop)
    poll.answered()
    poll.answered()
    assert loop.turns() == 0
