"""Load: as fast as it goes on so many connections, or at a fixed rate.

At a fixed rate a request's time counts from when it was due, not from when it could be sent, so a
server that stalls cannot hide the requests that waited (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

_NAP_SECONDS = 0.002
"""A timer may be late by a millisecond: shortly before a request is due the clock is watched."""

_clock = time.perf_counter


class Asker(Protocol):
    """One connection to a server."""

    def ask(self, done: Callable[[], None]) -> None:
        """Ask once; ``done`` is called when the answer is here and is right."""

    async def close(self) -> None:
        """End the connection."""


async def closed(askers: Sequence[Asker], seconds: float) -> tuple[int, float]:
    """Ask again as soon as there is an answer.

    Returns:
        The number of answers, and the seconds that they took.
    """
    began, count, asking = _clock(), 0, len(askers)
    until = began + seconds
    is_over = asyncio.get_running_loop().create_future()

    def answered(asker: Asker) -> None:
        nonlocal count, asking
        count += 1
        if _clock() < until:
            asker.ask(partial(answered, asker))
            return
        asking -= 1
        if not asking:
            is_over.set_result(None)

    for asker in askers:
        asker.ask(partial(answered, asker))
    await is_over
    return count, _clock() - began


async def open_loop(askers: Sequence[Asker], rate: float, seconds: float) -> dict[str, float]:
    """Ask at a fixed rate; times count from when a request was due.

    Returns:
        The rate, and percentiles in milliseconds.
    """
    free, waiting = deque(askers), deque[float]()
    taken = list[float]()
    wanted = int(rate * seconds)
    is_over = asyncio.get_running_loop().create_future()

    def ask(asker: Asker, due: float) -> None:
        asker.ask(partial(answered, asker, due))

    def answered(asker: Asker, due: float) -> None:
        taken.append(_clock() - due)
        if waiting:
            ask(asker, waiting.popleft())
        else:
            free.append(asker)
        if len(taken) == wanted:
            is_over.set_result(None)

    begin = _clock() + 0.05
    for number in range(wanted):
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - _clock() - _NAP_SECONDS))
        while _clock() < due:
            await asyncio.sleep(0)
        if free:
            ask(free.popleft(), due)
        else:
            waiting.append(due)
    await is_over
    cuts = statistics.quantiles(taken, n=1000)
    at = {"p50": 499, "p99": 989, "p999": 998}
    return {"rate": rate, **{f"{n}_ms": round(cuts[i] * 1e3, 3) for n, i in at.items()}}
