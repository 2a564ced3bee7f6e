"""Load: as fast as it goes on so many connections, or at a fixed rate.

At a fixed rate a request's time counts from when it was due, not from when it could be sent, so a
server that stalls cannot hide the requests that waited (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import psutil

Ask = Callable[[], Awaitable[None]]


def cpu_seconds(pid: int) -> float:
    """Tell the CPU time of a process and its children."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


async def closed(asks: list[Ask], seconds: float, pid: int) -> dict[str, float]:
    """Ask again as soon as there is an answer."""
    until, count = time.perf_counter() + seconds, 0

    async def keep_asking(ask: Ask) -> None:
        nonlocal count
        while time.perf_counter() < until:
            await ask()
            count += 1

    before, began = cpu_seconds(pid), time.perf_counter()
    await asyncio.gather(*map(keep_asking, asks))
    taken = time.perf_counter() - began
    return {
        "requests_per_second": round(count / taken, 1),
        "cpu_us_per_request": round((cpu_seconds(pid) - before) / count * 1e6, 1),
    }


async def open_loop(asks: list[Ask], rate: float, seconds: float) -> dict[str, float]:
    """Ask at a fixed rate; times count from when a request was due."""
    begin, taken = time.perf_counter() + 0.05, list[float]()

    async def keep_asking(first: int, ask: Ask) -> None:
        for number in range(first, int(rate * seconds), len(asks)):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await ask()
            taken.append(time.perf_counter() - due)

    await asyncio.gather(*(keep_asking(n, ask) for n, ask in enumerate(asks)))
    cuts = statistics.quantiles(taken, n=1000)
    at = {"p50": 499, "p99": 989, "p999": 998}
    return {"rate": rate, **{f"{n}_ms": round(cuts[i] * 1e3, 3) for n, i in at.items()}}
