"""Answers in bytes: heads made once, statuses by TensorFlow Serving's table, libevent's pages."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus

import orjson

from serving.server.contract import Code, ServingError

JSON = b"application/json"
TEXT = b"text/plain"
HTML = b"text/html"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_KEPT_HEADS = 4096

STATUSES = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
"""``http_server.cc``'s ``ToHTTPStatusCode``; every other code is 500."""


def _phrase(status: int) -> str:
    return "Client Closed Request" if status == 499 else HTTPStatus(status).phrase


class AnswerHeads:
    """Writes the heads of answers, each once for as long as the date is the same."""

    def __init__(self) -> None:
        self._written: dict[tuple[int, bytes, int, bool], bytes] = {}

    def forget(self) -> None:
        """Write heads anew; to be called as often as the date they tell has to be right."""
        self._written.clear()

    def write(self, status: int, kind: bytes, length: int, keep_alive: bool) -> bytes:
        """Write a head.

        Args:
            status: The HTTP status.
            kind: The content's type.
            length: Its bytes.
            keep_alive: Whether the connection stays open.
        """
        key = (status, kind, length, keep_alive)
        head = self._written.get(key)
        if head is None:
            if len(self._written) >= _KEPT_HEADS:
                self._written.clear()
            head = self._written[key] = _head(status, kind, length, keep_alive)
        return head


def _head(status: int, kind: bytes, length: int, keep_alive: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_phrase(status)}",
        f"Content-Type: {kind.decode()}",
        f"Date: {formatdate(int(time.time()), usegmt=True)}",
    ]
    if status == 401:
        lines.append("WWW-Authenticate: Bearer")
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def error_body(error: ServingError) -> bytes:
    """Write ``{"error": …}``."""
    return orjson.dumps({"error": error.message.encode("utf-8", "replace").decode()})


def page(status: int) -> bytes:
    """Write the page that libevent answers with what is no question to the API."""
    phrase = _phrase(status)
    return (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{phrase}</H1>\n</BODY></HTML>\n"
    ).encode()
