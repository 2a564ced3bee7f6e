"""What every gRPC call passes: who may ask, how a refusal is worded, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from serving.server.contract import Code, ServingError
from serving.server.security import Tokens

LOG = logging.getLogger(__name__)
_STATUSES = {status.value[0]: status for status in grpc.StatusCode}

Handler = Callable[[bytes, Any], Awaitable[bytes]]


class Guard:
    """Wraps handlers: a refusal becomes the call's status, an unforeseen error ``INTERNAL``."""

    def __init__(self) -> None:
        self._calls = 0
        self._is_draining = False
        self._is_idle = asyncio.Event()

    def __call__(self, handler: Handler) -> Handler:
        """Wrap a handler."""

        async def guarded(raw: bytes, context: Any) -> bytes:
            self._calls += 1
            try:
                if self._is_draining:
                    raise ServingError(Code.UNAVAILABLE, "The server is stopping")
                return await handler(raw, context)
            except ServingError as error:
                refusal = error
            except Exception as error:
                # The message of an unforeseen error may quote a learner's data: only its place
                # is told.
                place = "".join(traceback.format_tb(error.__traceback__))
                LOG.error("Unforeseen %s while answering:\n%s", type(error).__name__, place)
                refusal = ServingError(Code.INTERNAL, "Internal error.")
            finally:
                self._calls -= 1
                if self._is_draining and not self._calls:
                    self._is_idle.set()
            await context.abort(_STATUSES[refusal.code], refusal.message)
            raise AssertionError("abort raises")

        return guarded

    async def drain(self, seconds: float) -> None:
        """Refuse new calls, and wait until those under way are answered.

        Args:
            seconds: How long to wait at most.
        """
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._calls:
                    await self._is_idle.wait()


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # has no types
    """Lets in who has a bearer token.

    Args:
        tokens: The tokens.
        open_services: Services that need none, as ``/package.Service/``.
    """

    def __init__(self, tokens: Tokens, open_services: tuple[str, ...]) -> None:
        self._tokens = tokens
        self._open = open_services

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Let a call on, or refuse it."""
        if not details.method.startswith(self._open):
            authorization = dict(details.invocation_metadata or ()).get("authorization", "")
            try:
                self._tokens.check(str(authorization))
            except ServingError as error:
                return _refusing(error)
        return await continuation(details)


def metadata_of(context: Any) -> dict[str, str]:
    """Read a call's metadata as text, without ``authorization`` and binary values."""
    return {
        key: value
        for key, value in context.invocation_metadata() or ()
        if key != "authorization" and isinstance(value, str)
    }


def _refusing(error: ServingError) -> grpc.RpcMethodHandler:
    async def refuse(request: Any, context: Any) -> None:
        await context.abort(_STATUSES[error.code], error.message)

    return grpc.unary_unary_rpc_method_handler(refuse)
