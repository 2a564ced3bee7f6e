"""The server as a whole: models, both protocols, polling, and an end that drops nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from learnloop.access import TlsFiles
from serving.server.contract import Models, Observer
from serving.server.metrics import PAGE_PATH, Metrics
from serving.server.rest.api import Api
from serving.server.rest.connection import RestLimits
from serving.server.rest.server import RestServer
from serving.server.rpc.server import RpcLimits, RpcServer
from serving.server.security import Tokens

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerOptions:
    """How a server serves.

    Args:
        host: The address of both protocols.
        rest_port: REST's port; 0 for any.
        grpc_port: gRPC's port; 0 for any.
        tls: The files of TLS; None for plain text.
        tokens: Who may ask.
        metrics_path: Where Prometheus finds the metrics, on REST's port.
        rest_seconds: How long a REST request may take that does not say so itself.
        poll_seconds: How often the disk is looked at.
        drain_seconds: How long the end may wait for what is in flight.
        busy_poll_seconds: How long the event loop stays awake for a next REST request, while they
            follow one another closely; 0 for never.
        rest_limits: What REST clients may take.
        rpc_limits: What gRPC callers may take.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    tls: TlsFiles | None = None
    tokens: Tokens = field(default_factory=Tokens)
    metrics_path: str = PAGE_PATH
    rest_seconds: float = 30.0
    poll_seconds: float = 1.0
    drain_seconds: float = 30.0
    busy_poll_seconds: float = 100e-6
    rest_limits: RestLimits = field(default_factory=RestLimits)
    rpc_limits: RpcLimits = field(default_factory=RpcLimits)


@dataclass(frozen=True)
class Ports:
    """Where a server listens.

    Args:
        rest: REST's port.
        grpc: gRPC's port.
    """

    rest: int
    grpc: int


class Server:
    """Serves models; made, started and drained on one event loop.

    Args:
        models: What can be asked.
        options: How it is served.
        observer: Is told of every prediction that was sent.
        poll: Looks for new versions; None where nothing is to be looked for.
    """

    def __init__(
        self,
        models: Models,
        options: ServerOptions = ServerOptions(),
        observer: Observer | None = None,
        poll: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.metrics = Metrics()
        self._options = options
        self._poll = poll
        self._poller: asyncio.Task[None] | None = None
        self._tls = None if options.tls is None else options.tls.ssl_context()
        self._api = Api(
            models,
            self.metrics,
            options.tokens,
            observer,
            seconds=options.rest_seconds,
            largest_body=options.rest_limits.body_bytes,
            metrics_path=options.metrics_path,
        )
        self._rest = RestServer(
            self._api, self.metrics, options.rest_limits, options.busy_poll_seconds
        )
        self._rpc = RpcServer(models, self.metrics, options.tokens, observer, options.rpc_limits)

    async def start(self) -> Ports:
        """Listen, and look for new versions from now on.

        Raises:
            OSError: A port cannot be listened on.
        """
        options = self._options
        allow_connections(options.rest_limits.connections)
        rest = await self._rest.start(options.host, options.rest_port, self._tls)
        grpc = await self._rpc.start(options.host, options.grpc_port, options.tls)
        if self._poll is not None:
            self._poller = asyncio.create_task(self._keep_polling(self._poll))
        return Ports(rest, grpc)

    async def drain(self) -> None:
        """Tell that no more is to be asked, take nothing new, finish what is in flight, and end."""
        self._api.is_healthy = False
        await self._rpc.stop_being_healthy()
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
        seconds = self._options.drain_seconds
        await asyncio.gather(self._rest.drain(seconds), self._rpc.drain(seconds))

    async def _keep_polling(self, poll: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                await poll()
            except Exception:
                LOG.exception("Looking for new versions failed; what is served stays")


def allow_connections(count: int) -> None:
    """Let the process hold so many connections, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
