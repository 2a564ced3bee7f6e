"""The gRPC side of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from learnloop.access import TlsFiles
from serving.server.contract import Models, Observer
from serving.server.metrics import Metrics
from serving.server.rpc import management, prediction
from serving.server.rpc.guard import Guard, Handler, TokenInterceptor
from serving.server.rpc.management import ModelService
from serving.server.rpc.prediction import PredictionService
from serving.server.rpc.services import descriptor_pool
from serving.server.security import Tokens

_SERVING = health_pb2.HealthCheckResponse.SERVING
_SERVICES = (prediction.SERVICE, management.SERVICE)
_LINGER_SECONDS = 0.5
_WATCHERS_SECONDS = 0.5


@dataclass(frozen=True)
class RpcLimits:
    """What callers may take of the server.

    Args:
        message_bytes: The largest message.
        calls: How many may be under way; more are refused with ``RESOURCE_EXHAUSTED``.
        idle_seconds: How long a connection may stay open without a call.
        ping_seconds: After so long a silence a connection is asked whether it is still there.
    """

    message_bytes: int = 64 << 20
    calls: int = 10_000
    idle_seconds: float = 3600.0
    ping_seconds: float = 60.0


class RpcServer:
    """Listens for gRPC.

    Args:
        models: What can be asked.
        metrics: What is counted.
        tokens: Who may ask.
        observer: Is told of every prediction that was sent.
        limits: What callers may take.
    """

    def __init__(
        self,
        models: Models,
        metrics: Metrics,
        tokens: Tokens = Tokens(),
        observer: Observer | None = None,
        limits: RpcLimits = RpcLimits(),
    ) -> None:
        open_services = (f"/{health.SERVICE_NAME}/",)
        self._server = grpc.aio.server(
            interceptors=[TokenInterceptor(tokens, open_services)] if tokens else None,
            maximum_concurrent_rpcs=limits.calls,
            options=[
                ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a second server
                ("grpc.max_receive_message_length", limits.message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_connection_idle_ms", int(limits.idle_seconds * 1000)),
                ("grpc.keepalive_time_ms", int(limits.ping_seconds * 1000)),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        self._guard = guard = Guard()
        self._add(prediction.SERVICE, PredictionService(models, metrics, guard, observer).handlers)
        self._add(management.SERVICE, ModelService(models, guard).handlers)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME),
            self._server,
            pool=descriptor_pool(),
        )

    async def start(self, host: str, port: int, tls: TlsFiles | None = None) -> int:
        """Listen.

        Args:
            host: The address.
            port: The port; 0 for any.
            tls: The files of TLS; None for plain text.

        Returns:
            The port.

        Raises:
            OSError: The address cannot be listened on.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, tls.grpc_credentials())
        except RuntimeError as fault:
            raise OSError(f"{address} cannot be listened on") from fault
        await self._server.start()
        for service in ("", *_SERVICES):
            await self._health.set(service, _SERVING)
        return port

    async def stop_being_healthy(self) -> None:
        """Tell whoever watches that no more is to be asked here; all is still answered."""
        await self._health.enter_graceful_shutdown()

    async def drain(self, seconds: float) -> None:
        """Take no new call, finish what is in flight, and end.

        gRPC itself would cancel calls that arrive while it stops, and wait all the time for
        whoever watches the server's health or holds a connection open without a word.

        Args:
            seconds: What is not finished by then is cut off.
        """
        await asyncio.gather(
            self._guard.drain(seconds), asyncio.sleep(min(_LINGER_SECONDS, seconds))
        )
        await self._server.stop(min(_WATCHERS_SECONDS, seconds))

    def _add(self, service: str, handlers: Mapping[str, Handler]) -> None:
        methods: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(handler) for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, methods),)
        )
