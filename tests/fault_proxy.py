"""A proxy before a private server that fails as networks and services do, when it is told to."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
INTERNAL = b"<Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>"

FAULTS = ("500", "503", "cut upload", "cut answer", "lost answer")
"""What may happen to a request: the last is done by the server, whose answer gets lost."""

GARBLED = "garbled answer"
"""Wrong bytes, as many as asked for: a request tried again gets no better, so not of FAULTS."""


class FaultProxy(ThreadingHTTPServer):
    """Passes requests on; ``fault(method, path)`` names what shall happen instead, or "".

    Args:
        upstream: URL of the server behind.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.fault: Callable[[str, str], str] = lambda method, path: ""
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.failed = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, method: str, part: str = "") -> int:
        """Count the requests that came."""
        return sum(one == method and part in path for one, path in list(self.requests))


@contextlib.contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Run a proxy until the block ends."""
    with FaultProxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()


def every(share: int, kinds: tuple[str, ...] = FAULTS) -> Callable[[str, str], str]:
    """Fail one request in so many, in all ways in turn; a failed one is let pass when it returns.

    A share of requests is bounded by this, and so a test that retries does end.
    """
    lock = threading.Lock()
    counted = 0
    failed: set[tuple[str, str]] = set()

    def fault(method: str, path: str) -> str:
        nonlocal counted
        with lock:
            if (method, path) in failed:
                return ""
            counted += 1
            if counted % share:
                return ""
            failed.add((method, path))
            return kinds[len(failed) % len(kinds)]

    return fault


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.close_connection = True

    def _pass(self) -> None:
        self.server.requests.append((self.command, self.path))
        if "Range" in self.headers:
            self.server.ranges.append(self.headers["Range"])
        fault = self.server.fault(self.command, self.path)
        self.server.failed += bool(fault)
        size = int(self.headers.get("Content-Length", 0))
        if fault == "cut upload":
            self.rfile.read(size // 2)
            self._cut()
            return
        body = self.rfile.read(size)
        if fault in ("500", "503"):
            self._answer(int(fault), INTERNAL if fault == "500" else SLOW_DOWN)
            return
        status, headers, content = self._ask(body)
        if fault == "lost answer":
            self._cut()
            return
        if fault == GARBLED:
            content = b"#" * len(content)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = {n.lower(): v for n, v in headers}.get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if fault == "cut answer":
            self.wfile.write(content[: len(content) // 2])
            self._cut()
            return
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815  # the names that http.server calls

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name != "Expect"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), content

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _cut(self) -> None:
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
