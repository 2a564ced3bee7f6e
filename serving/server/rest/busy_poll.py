"""Waits for the next request awake, while requests follow one another closely.

A core that sleeps takes tens of microseconds to wake, more on a virtual machine, and so long does a
client wait that asks one question after the other. While such questions come, the event loop looks
for the next one again and again before it sleeps, as Linux's ``net.core.busy_poll`` and
``haltpoll`` do for the same reason. That takes no more than the one core that answers them, and
nothing where requests are rare.
"""

from __future__ import annotations

import asyncio
import os
import time

_CLOSE = 2
"""Answers no further apart than so many times the wait follow one another closely."""
_clock = time.perf_counter


class BusyPoll:
    """Keeps an event loop awake for a moment after an answer.

    Args:
        loop: The event loop.
        seconds: How long; 0 for never. It never does with one core, which the client may need.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._call_soon = loop.call_soon
        self._seconds = seconds if len(os.sched_getaffinity(0)) > 1 else 0.0
        self._answered = 0.0
        self._is_polling = False
        self._has_answered = False

    def answered(self) -> None:
        """Note that an answer was sent."""
        if self._is_polling:
            self._has_answered = True  # the next poll looks at the clock, for all of them
            return
        before, self._answered = self._answered, _clock()
        if self._answered - before < _CLOSE * self._seconds:
            self._is_polling = True
            self._call_soon(self._poll)

    def _poll(self) -> None:
        now = _clock()
        if self._has_answered:
            self._has_answered = False
            self._answered = now
        # The loop does not sleep while there is something to call.
        if now - self._answered < self._seconds:
            self._call_soon(self._poll)
        else:
            self._is_polling = False
