"""A connection to Redis for the one command of the hot path.

The client library spends more time on a command than Redis and the loopback together. Reading
features needs MGET alone, so that it is written to the socket and read from it here, in half that
time; all else goes through the library.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from learnloop.errors import LearnLoopError

DEFAULT_PORT = 6379


class RedisRefused(LearnLoopError):
    """Redis answered with an error."""


class ReadingConnection:
    """A connection that reads values.

    Args:
        url: ``redis://[user:password@]host[:port][/number]``, or ``rediss://`` for TLS.
        connect_seconds: How long connecting may take.
        seconds: How long each part of an answer may take.

    Raises:
        OSError: There is no connection, or no answer in time.
        RedisRefused: Redis refuses the password or the number.
    """

    def __init__(self, url: str, connect_seconds: float, seconds: float) -> None:
        place = urlsplit(url)
        host = place.hostname or "127.0.0.1"
        connected = socket.create_connection((host, place.port or DEFAULT_PORT), connect_seconds)
        if place.scheme == "rediss":
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
        connected.settimeout(seconds)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._received = b""
        self._at = 0
        if place.password is not None:
            user = [unquote(place.username).encode()] if place.username else []
            self._expect_ok([b"AUTH", *user, unquote(place.password).encode()])
        if place.path.strip("/"):
            self._expect_ok([b"SELECT", place.path.strip("/").encode()])

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read values, all as they are at one moment.

        Args:
            keys: Their keys.

        Returns:
            The values in order, None where there is none.
        """
        self._send([b"MGET", *keys])
        self._head(b"*")
        values: list[bytes | None] = []
        head, length = b"", 0
        for _ in keys:
            # Rows of one view mostly have one length: then the line before it need not be read.
            if not head or not self._received.startswith(head, self._at):
                head, length = self._head(b"$")
                if length < 0:
                    values.append(None)
                    head = b""
                    continue
            else:
                self._at += len(head)
            end = self._at + length
            while len(self._received) < end + 2:
                self._receive()
                end = self._at + length
            values.append(self._received[self._at : end])
            self._at = end + 2
        return values

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _send(self, words: Sequence[bytes]) -> None:
        body = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
        self._socket.sendall(b"*%d\r\n%b" % (len(words), body))

    def _expect_ok(self, words: Sequence[bytes]) -> None:
        self._send(words)
        self._head(b"+")

    def _head(self, kind: bytes) -> tuple[bytes, int]:
        """Read a line: the whole of it, and the length that it tells."""
        while (end := self._received.find(b"\r\n", self._at)) < 0:
            self._receive()
        line = self._received[self._at : end + 2]
        self._at = end + 2
        if line[:1] != kind:
            raise RedisRefused("Redis refuses a command.", received=line.decode().strip()[1:])
        return line, 0 if kind == b"+" else int(line[1:])

    def _receive(self) -> None:
        """Wait for more; what has been read is let go."""
        received = self._socket.recv(1 << 18)
        if not received:
            raise ConnectionError("Redis closed the connection.")
        self._received = self._received[self._at :] + received
        self._at = 0
