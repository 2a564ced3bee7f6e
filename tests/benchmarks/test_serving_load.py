"""The load that the serving figures are measured with hides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from benchmarks.serving.load import closed, open_loop


class Stalling:
    """A server that answers nothing for a while, and then at once.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + seconds
        self.asked = 0

    def ask(self, done: Callable[[], None]) -> None:
        self.asked += 1
        self._loop.call_at(max(self._until, self._loop.time()), done)

    async def close(self) -> None:
        pass


def test_a_request_that_could_not_be_sent_counts_from_when_it_was_due() -> None:
    """One connection, twenty requests in 0.2 s, and a stall of 0.5 s: each waits for 0.25 s."""

    async def measure() -> dict[str, float]:
        return await open_loop([Stalling(0.5)], rate=100, seconds=0.2)

    found = asyncio.run(measure())
    assert found["rate"] == 100
    assert found["p50_ms"] > 250
    assert found["p50_ms"] <= found["p99_ms"] <= found["p999_ms"]


def test_counts_every_answer_of_every_connection() -> None:
    async def measure() -> tuple[int, int]:
        servers = [Stalling(0), Stalling(0)]
        count, seconds = await closed(servers, 0.05)
        assert seconds >= 0.05
        return count, sum(server.asked for server in servers)

    count, asked = asyncio.run(measure())
    assert count == asked > 2
