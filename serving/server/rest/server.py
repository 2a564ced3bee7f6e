"""The REST side of the server: its connections, their deadlines, its end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl

from serving.server.metrics import Metrics
from serving.server.rest.answers import AnswerHeads
from serving.server.rest.api import Api
from serving.server.rest.busy_poll import BusyPoll
from serving.server.rest.connection import Connection, RestLimits
from serving.server.rest.heads import Heads

_SWEEP_SECONDS = 0.5
_LINGER_SECONDS = 0.5
_BACKLOG = 4096


class RestServer:
    """Listens, and keeps the connections.

    Args:
        api: Answers.
        metrics: What is counted.
        limits: What clients may take.
        busy_poll_seconds: How long the event loop stays awake for a next request.
    """

    def __init__(
        self,
        api: Api,
        metrics: Metrics,
        limits: RestLimits = RestLimits(),
        busy_poll_seconds: float = 0.0,
    ) -> None:
        self.api = api
        self.limits = limits
        self.heads = Heads()
        self.answer_heads = AnswerHeads()
        self.is_draining = False
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self.busy_poll = BusyPoll(self._loop, busy_poll_seconds)
        self._connections: set[Connection] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        metrics.connections = lambda: len(self._connections)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen.

        Args:
            host: The address.
            port: The port; 0 for any.
            tls: TLS; None for plain HTTP.

        Returns:
            The port.

        Raises:
            OSError: The address cannot be listened on.
        """
        handshake = self.limits.head_seconds if tls else None
        self._server = await self._loop.create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=tls,
            backlog=_BACKLOG,
            ssl_handshake_timeout=handshake,
        )
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._expire)
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self, seconds: float) -> None:
        """Take no new connection, finish what is in flight, and end.

        Args:
            seconds: What is not finished by then is cut off.
        """
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connections:
                    # A request that is under way is answered, with ``Connection: close``, rather
                    # than met with a closed connection; one that is half here has no more time.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LINGER_SECONDS):
                            await self._is_empty.wait()
                    for connection in list(self._connections):
                        connection.end_unasked()
        for connection in list(self._connections):
            connection.abort()
        if self._sweep is not None:
            self._sweep.cancel()

    def add(self, connection: Connection) -> bool:
        """Keep a connection; False where there are too many."""
        if len(self._connections) >= self.limits.connections:
            return False
        self._connections.add(connection)
        self._is_empty.clear()
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._is_empty.set()

    def _expire(self) -> None:
        now = self.now()
        self.answer_heads.forget()  # the date
        # One pass over all of them twice a second costs less than a timer for each request, and
        # less than noting with each answer since when its connection is idle.
        for connection in list(self._connections):
            if connection.deadline < now:
                connection.expire()
            elif connection.deadline == math.inf and not connection.is_asked:
                connection.deadline = now + self.limits.idle_seconds
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._expire)
