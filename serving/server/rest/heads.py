"""The head of an HTTP request: read once by llhttp, then known by its bytes.

A client on a kept-alive connection sends the same head with every request. Heads that were read
are kept by their exact bytes, so a request that looks like one before costs a dictionary look-up
in place of a parser's call for every header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httptools

from serving.server.contract import ServingError
from serving.server.rest.routes import PREFIX, Route, route_of

_KEPT_HEADS = 2048
_LONGEST_KEPT = 2048
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class BadHead(Exception):
    """The head cannot be read; the connection ends with an HTML page, as libevent's do.

    Args:
        status: The HTTP status of the page.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's head says.

    Args:
        method: The HTTP method.
        path: The path with query and fragment.
        route: The question to a model; None for other paths.
        refusal: Why a path below ``/v1/`` asks for nothing.
        length: The body's bytes; -1 where it is chunked.
        keep_alive: Whether the connection stays open.
        expects_continue: Whether the client waits for leave to send the body.
        gzip: Whether the body is compressed.
        seconds: How long the client waits (the ``grpc-timeout`` header); None for the default.
        authorization: The ``Authorization`` header.
        metadata: The other headers, names in lower case.
    """

    method: str
    path: str
    route: Route | None
    refusal: ServingError | None
    length: int
    keep_alive: bool
    expects_continue: bool
    gzip: bool
    seconds: float | None
    authorization: str
    metadata: Mapping[str, str]


class Heads:
    """Reads heads, and keeps those it has read."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self.known = self._known.get
        """Finds a head that was read before."""

    def read(self, raw: bytes) -> Head:
        """Read a head.

        Args:
            raw: The bytes up to and with the empty line.

        Raises:
            BadHead: It is not a head of HTTP/1.
        """
        head = self._known.get(raw)
        if head is None:
            head = _parsed(raw)
            if len(raw) <= _LONGEST_KEPT:
                if len(self._known) >= _KEPT_HEADS:
                    self._known.clear()
                self._known[raw] = head
        return head


class _Collector:
    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = False

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_complete = True


def _parsed(raw: bytes) -> Head:
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # the request is answered as if it asked for no upgrade
    except httptools.HttpParserInvalidMethodError:
        raise BadHead(501) from None
    except httptools.HttpParserError:
        raise BadHead(400) from None
    method = parser.get_method().decode("latin-1")
    if not collector.is_complete or parser.get_http_version() not in ("1.0", "1.1"):
        raise BadHead(400)
    headers: dict[str, str] = {}
    for name, value in collector.headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    path = _path(method, collector.url)
    route, refusal = None, None
    if path[: len(PREFIX)].lower() == PREFIX:
        try:
            route = route_of(method, path)
        except ServingError as error:
            refusal = error
    expects = headers.get("expect", "").lower()
    if expects not in ("", "100-continue"):
        raise BadHead(417)
    return Head(
        method=method,
        path=path,
        route=route,
        refusal=refusal,
        length=-1 if "transfer-encoding" in headers else int(headers.get("content-length", 0)),
        keep_alive=parser.should_keep_alive(),
        expects_continue=bool(expects),
        gzip="gzip" in headers.get("content-encoding", ""),
        seconds=_seconds(headers.get("grpc-timeout")),
        authorization=headers.pop("authorization", ""),
        metadata=headers,
    )


def _path(method: str, url: bytes) -> str:
    if method == "CONNECT":
        raise BadHead(501)
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise BadHead(400) from None
    path = (parsed.path or b"/").decode("latin-1")
    if parsed.query:
        path += "?" + parsed.query.decode("latin-1")
    if parsed.fragment:
        path += "#" + parsed.fragment.decode("latin-1")
    return path


def _seconds(timeout: str | None) -> float | None:
    match = _TIMEOUT.fullmatch(timeout) if timeout else None
    return int(match[1]) * _UNITS[match[2]] if match else None
