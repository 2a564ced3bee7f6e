"""The feature server: online features over HTTP, on loopback.

``POST /get-online-features`` answers what :mod:`feature_store.online.answering` says, ``GET
/health`` whether the online store answers. Whoever asks for features shows a bearer token of
``LEARNLOOP_FEATURES_TOKENS`` where it is set. Nothing of a request is logged.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from feature_store.asking import PurposeRefused
from feature_store.online.answering import Answering
from feature_store.online.store import OnlineStoreUnavailable
from feature_store.store import NotApplied
from learnloop.errors import LearnLoopError, UsageError

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

HOST = "127.0.0.1"
FEATURES, HEALTH = "/get-online-features", "/health"
TOKENS_VARIABLE = "LEARNLOOP_FEATURES_TOKENS"
SHORTEST_TOKEN = 16
MOST_BYTES = 1 << 20
"""Bytes of one request."""
WAIT_SECONDS = 30
"""For how long a connection may say nothing."""
LINGER_SECONDS = 5
"""The same once the caller was refused."""

STATUSES: tuple[tuple[type[LearnLoopError], HTTPStatus], ...] = (
    (PurposeRefused, HTTPStatus.FORBIDDEN),
    (NotApplied, HTTPStatus.SERVICE_UNAVAILABLE),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (LearnLoopError, HTTPStatus.SERVICE_UNAVAILABLE),
)

log = logging.getLogger(__name__)


def load_tokens() -> tuple[str, ...]:
    """Read the bearer tokens from the environment.

    Returns:
        The tokens, several so that one can be replaced while it is in use; none lets everybody on
        this machine in.

    Raises:
        UsageError: A token is too short to be a secret.
    """
    tokens = [t.strip() for t in os.environ.get(TOKENS_VARIABLE, "").split(",") if t.strip()]
    if any(len(token) < SHORTEST_TOKEN for token in tokens):
        raise UsageError(
            "A bearer token is too short to be a secret.",
            where=f"the environment variable {TOKENS_VARIABLE}",
            expected=f"at least {SHORTEST_TOKEN} characters each",
            received=f"{min(map(len, tokens))} characters",
            next=f'export {TOKENS_VARIABLE}="$(openssl rand -hex 32)"',
        )
    return tuple(tokens)


@contextlib.contextmanager
def serving_features(store: FeatureStore, port: int) -> Iterator[int]:
    """Answer requests for the length of a ``with`` block.

    Args:
        store: The feature store.
        port: The port on loopback; 0 for any.

    Yields:
        The port.

    Raises:
        UsageError: The port is taken, or a token is too short.
    """
    tokens = load_tokens()
    try:
        server = _Server(port, store, tokens)
    except OSError as fault:
        raise UsageError(
            "The port of the feature server cannot be had.",
            where=f"{HOST}:{port}",
            received=fault.strerror or fault,
            next="learnloop features serve --port 0",
        ) from None
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

    def __init__(self, port: int, store: FeatureStore, tokens: tuple[str, ...]) -> None:
        super().__init__((HOST, port), _Handler)
        self._store = store
        self._tokens = [token.encode() for token in tokens]
        self.answering = Answering(store)

    def lets_in(self, authorization: str) -> bool:
        """Whether a header shows one of the tokens; each is compared in constant time."""
        scheme, _, shown = authorization.partition(" ")
        given = shown.strip().encode("latin-1", "replace")
        matches = [hmac.compare_digest(given, token) for token in self._tokens]
        return not self._tokens or (scheme.lower() == "bearer" and any(matches))

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
    _methods: ClassVar = {FEATURES: "POST", HEALTH: "GET"}

    def do_GET(self) -> None:
        if self.path != HEALTH:
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
            self._refuse(HTTPStatus.UNAUTHORIZED, "A valid bearer token is required.", **told)
        elif (body := self._body()) is not None:
            self._answer(*self._answered(body))

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
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""
