"""The feature server: online features over HTTP, on loopback; elsewhere with TLS and tokens.

``POST /get-online-features`` answers what :mod:`feature_store.online.answering` says, ``GET
/health`` whether the online store answers, ``GET /metrics`` what Prometheus reads. Whoever asks for
features shows a bearer token of ``LEARNLOOP_FEATURES_TOKENS`` where it is set. Nothing of a request
is logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from feature_store.asking import PurposeRefused
from feature_store.online.answering import Answering
from feature_store.online.store import OnlineStoreUnavailable
from feature_store.store import NotApplied
from learnloop.access import (
    REFUSAL,
    TlsFiles,
    explain_taken_port,
    is_loopback,
    read_tokens,
    shows_token,
)
from learnloop.errors import LearnLoopError, UsageError

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

HOST = "127.0.0.1"
FEATURES, HEALTH, METRICS = "/get-online-features", "/health", "/metrics"
TOKENS_VARIABLE = "LEARNLOOP_FEATURES_TOKENS"
MOST_BYTES = 1 << 20
"""Bytes of one request."""
WAIT_SECONDS = 30
"""For how long a connection may say nothing."""
LINGER_SECONDS = 5
"""The same once the caller was refused."""
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""The buckets of how long an answer takes."""

STATUSES: tuple[tuple[type[LearnLoopError], HTTPStatus], ...] = (
    (PurposeRefused, HTTPStatus.FORBIDDEN),
    (NotApplied, HTTPStatus.SERVICE_UNAVAILABLE),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (LearnLoopError, HTTPStatus.SERVICE_UNAVAILABLE),
)

log = logging.getLogger(__name__)


@contextlib.contextmanager
def serving_features(
    store: FeatureStore, port: int, *, host: str = HOST, tls: TlsFiles | None = None
) -> Iterator[int]:
    """Answer requests for the length of a ``with`` block.

    Args:
        store: The feature store.
        port: The port; 0 for any.
        host: The address; others than loopback need TLS and tokens.
        tls: The files of TLS; None for plain HTTP.

    Yields:
        The port.

    Raises:
        UsageError: The port is taken, a token is too short, a file of TLS cannot be used, or the
            address is open to others.
    """
    tokens = read_tokens(TOKENS_VARIABLE)
    context = None if tls is None else tls.ssl_context()
    if not (is_loopback(host) or (tls and tokens)):
        raise UsageError(
            "Features of learners are not served beyond this machine without TLS and tokens.",
            where=f"--host {host}",
            expected=f"--tls-certificate, --tls-key, and {TOKENS_VARIABLE}",
            received=f"{'TLS' if tls else 'no TLS'}, {len(tokens)} tokens",
            next=f'export {TOKENS_VARIABLE}="$(openssl rand -hex 32)"',
        )
    with explain_taken_port(
        "the feature server", host, port, next="learnloop features serve --port 0"
    ):
        server = _Server(host, port, context, store, tokens)
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        store: FeatureStore,
        tokens: tuple[bytes, ...],
    ) -> None:
        super().__init__((host, port), _Handler)
        if tls is not None:
            # A caller who is slow to shake hands holds up its own thread alone.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._store = store
        self._tokens = tokens
        self.answering = Answering(store)
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "learnloop_features_request_seconds",
            "Time from a request for features to its answer, by HTTP status.",
            ["status"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers who go away or speak no TLS, as probes of a port do."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def lets_in(self, authorization: str) -> bool:
        """Whether a header shows one of the tokens, where there are any."""
        return not self._tokens or shows_token(authorization, self._tokens)

    def is_healthy(self) -> bool:
        """Whether an online store answers."""
        for online in self._store.online_stores:
            with contextlib.suppress(OnlineStoreUnavailable):
                online.views()
                return True
        return False


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "LearnLoop", ""
    timeout = WAIT_SECONDS
    error_content_type = "application/json"
    error_message_format = '{"error": "HTTP %(code)d"}'
    _methods: ClassVar = {FEATURES: "POST", HEALTH: "GET", METRICS: "GET"}

    def do_GET(self) -> None:
        if self.path == METRICS:
            page = generate_latest(self.server.registry)
            self._send(HTTPStatus.OK, CONTENT_TYPE_LATEST, page)
        elif self.path != HEALTH:
            self._refuse_place()
        elif self.server.is_healthy():
            self._answer(HTTPStatus.OK, {"online store": "up"})
        else:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"online store": "down"})

    def do_POST(self) -> None:
        if self.path != FEATURES:
            self._refuse_place()
        elif not self.server.lets_in(self.headers.get("Authorization", "")):
            told = {"WWW-Authenticate": "Bearer"}
            self._refuse(HTTPStatus.UNAUTHORIZED, REFUSAL, **told)
        elif (body := self._body()) is not None:
            began = time.perf_counter()
            status, document = self._answered(body)
            # Before it is sent: whoever has an answer finds it counted.
            self.server.seconds.labels(status.value).observe(time.perf_counter() - began)
            self._answer(status, document)

    def _answered(self, body: bytes) -> tuple[HTTPStatus, Any]:
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return HTTPStatus.BAD_REQUEST, {"error": "The request is not JSON."}
        try:
            return HTTPStatus.OK, self.server.answering.answer(request)
        except LearnLoopError as fault:
            status = next(status for kind, status in STATUSES if isinstance(fault, kind))
            details = {n: getattr(fault, n) for n in ("where", "expected", "received", "next")}
            return status, {"error": fault.what, **{n: v for n, v in details.items() if v}}
        except Exception as fault:
            # Its text may hold a learner's id: only its kind is told.
            log.error("A request failed: %s.", type(fault).__name__)
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "The server failed."}

    def _body(self) -> bytes | None:
        """Read the request; None if it was refused. A page of a browser cannot send this type."""
        kind = self.headers.get_content_type()
        length = self.headers.get("Content-Length", "")
        if kind != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The request must be application/json.")
        elif not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "The request has no length.")
        elif len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            told = f"A request has at most {MOST_BYTES} bytes."
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, told)
        else:
            return self.rfile.read(int(length))
        return None

    def _refuse_place(self) -> None:
        method = self._methods.get(self.path)
        if method is None:
            told = ", ".join(f"{method} {path}" for path, method in self._methods.items())
            self._refuse(HTTPStatus.NOT_FOUND, f"There is {told}.")
        else:
            told = f"{self.path} is asked by {method}."
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, told, Allow=method)

    def _refuse(self, status: HTTPStatus, what: str, **headers: str) -> None:
        """Refuse a request whose body was not read: the connection ends with it.

        What the caller still sends is read for a while: a connection that is closed with bytes
        unread is reset, and the answer lost.
        """
        self._answer(status, {"error": what}, Connection="close", **headers)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_SECONDS)
            unread = 2 * MOST_BYTES
            while unread > 0 and (given := self.rfile.read1(unread)):
                unread -= len(given)

    def _answer(self, status: HTTPStatus, document: Any, **headers: str) -> None:
        content = json.dumps(document, allow_nan=False).encode()
        self._send(status, "application/json", content, **headers)

    def _send(self, status: HTTPStatus, kind: str, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""
