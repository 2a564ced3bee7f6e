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
    """Writes the heads of answers; the date changes once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._made: dict[tuple[int, bytes, bool], bytes] = {}

    def write(self, status: int, kind: bytes, length: int, keep_alive: bool) -> bytes:
        """Write a head.

        Args:
            status: The HTTP status.
            kind: The content's type.
            length: Its bytes.
            keep_alive: Whether the connection stays open.
        """
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._made.clear()
        key = (status, kind, keep_alive)
        made = self._made.get(key)
        if made is None:
            lines = [
                f"HTTP/1.1 {status} {_phrase(status)}",
                f"Content-Type: {kind.decode()}",
                f"Date: {formatdate(now, usegmt=True)}",
            ]
            if status == 401:
                lines.append("WWW-Authenticate: Bearer")
            if not keep_alive:
                lines.append("Connection: close")
            made = self._made[key] = "\r\n".join([*lines, "Content-Length: "]).encode()
        return b"%b%d\r\n\r\n" % (made, length)


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
