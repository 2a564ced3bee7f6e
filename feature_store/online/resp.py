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
FEWEST_ALIKE = 4
"""So many values of one length are taken at once."""


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
        while len(values) < len(keys):
            head, length = self._head(b"$")
            if length < 0:
                values.append(None)
                continue
            while len(self._received) < self._at + length + 2:
                self._receive()
            values.append(self._received[self._at : self._at + length])
            self._at += length + 2
            values += self._alike(head, length, len(keys) - len(values))
        return values

    def _alike(self, head: bytes, length: int, most: int) -> list[bytes]:
        """Take the values that follow, are there and have this length, as rows of a view mostly do.

        The lines before them need not be read one by one.
        """
        step = len(head) + length + 2
        count = min(most, (len(self._received) - self._at) // step)
        block = self._received[self._at : self._at + count * step]
        if count < FEWEST_ALIKE or block[::step] != b"$" * count:
            return []
        first = len(head)
        if any(block[at : at + first] != head for at in range(0, len(block), step)):
            return []
        self._at += len(block)
        return [block[at + first : at + first + length] for at in range(0, len(block), step)]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _send(self, words: Sequence[bytes]) -> None:
        parts = [b"*%d\r\n" % len(words)]
        length, head = -1, b""
        for word in words:
            if len(word) != length:
                length = len(word)
                head = b"$%d\r\n" % length
            parts += (head, word, b"\r\n")
        self._socket.sendall(b"".join(parts))

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
