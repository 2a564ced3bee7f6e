"""A connection: bytes to requests, answers to bytes, one request at a time and in order.

What a client may do wrong ends here: heads and bodies have a largest size and a longest time, a
client that reads no answers is not read from, and whatever cannot be read is answered with a page
before the connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from serving.server.contract import Code, ServingError
from serving.server.rest.answers import CONTINUE, HTML, JSON, error_body, page
from serving.server.rest.chunks import ChunkReader, MalformedChunks, TooManyBytes
from serving.server.rest.heads import BadHead, Head

if TYPE_CHECKING:
    from serving.server.rest.server import RestServer

_END = b"\r\n\r\n"
_READ_AHEAD = 256 << 10
_NO_LINGER = struct.pack("ii", 1, 0)
_JOINED = 64 << 10


@dataclass(frozen=True)
class RestLimits:
    """What clients may take of the server.

    Args:
        head_bytes: The largest head.
        body_bytes: The largest body.
        head_seconds: How long a head may take from its first byte.
        body_seconds: How long a body may take from its head.
        idle_seconds: How long a connection may stay open between requests.
        write_seconds: How long a client may leave an answer unread.
        connections: How many may be open.
    """

    head_bytes: int = 16 << 10
    body_bytes: int = 64 << 20
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 300.0
    write_seconds: float = 60.0
    connections: int = 20_000


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        server: The server it belongs to.
    """

    __slots__ = (
        "_asked",
        "_buffer",
        "_chunks",
        "_has_client_ended",
        "_head",
        "_is_advancing",
        "_is_choked",
        "_is_over",
        "_server",
        "_transport",
        "deadline",
    )

    def __init__(self, server: RestServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: Head | None = None  # of the request whose body is arriving
        self._asked: Head | None = None  # of the request that is being answered
        self._chunks: ChunkReader | None = None
        self._is_advancing = False
        self._is_choked = False
        self._is_over = False
        self._has_client_ended = False
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.add(self):
            self._write_page(503)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; an answer that comes later is dropped."""
        self._transport = None
        self._is_over = True
        self._server.remove(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        if self._is_over:
            return  # read only so that the client sees the page and no reset
        if self._asked is None and self._head is None and not self._buffer:
            end = data.find(_END) + len(_END)
            head = self._server.heads.known(data[:end])
            if head is not None and head.length == len(data) - end:
                self._ask(head, data[end:])
                return
        self._buffer += data
        if self._asked is None:
            self._advance()
        elif len(self._buffer) > _READ_AHEAD and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Answer what was asked before the client stopped sending, then end."""
        self._has_client_ended = True
        if self._asked is None and not self.is_idle and not self._is_choked:
            self._end(400)
        return self._asked is not None or self._is_choked

    def pause_writing(self) -> None:
        """The client does not read: ask nothing more for it."""
        self._is_choked = True
        self.deadline = self._server.now() + self._server.limits.write_seconds
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_choked = False
        self.deadline = math.inf
        if self._asked is None and self._transport is not None:
            self._go_on(self._transport)

    @property
    def is_asked(self) -> bool:
        """Whether a request is being answered."""
        return self._asked is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request is here."""
        return self._asked is None and self._head is None and not self._buffer

    def end_unasked(self) -> None:
        """End a connection that has no whole request: the server is stopping."""
        if self.is_idle:
            self.close()
        elif not self.is_asked:
            self._end(503)

    def expire(self) -> None:
        """End a connection whose time is up."""
        if self._is_over or self._is_choked:
            self.abort()
        elif self.is_idle:
            self.close()
        else:
            self._end(408)

    def close(self) -> None:
        """End in order."""
        self._is_over = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End at once, and have the system forget what the client does not read."""
        self._is_over = True
        if self._transport is not None:
            held = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()

    def _advance(self) -> None:
        """Read as many requests off the buffer as can be answered now."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while self._buffer and self._asked is None and not (self._is_choked or self._is_over):
                if self._head is None and not self._read_head():
                    return
                body = self._read_body()
                if body is None:
                    return
                head, self._head, self._chunks = self._head, None, None
                assert head is not None
                self._ask(head, body)
        except BadHead as bad:
            self._end(bad.status)
        except MalformedChunks:
            self._end(400)
        except TooManyBytes:
            self._refuse_body()
        finally:
            self._is_advancing = False

    def _read_head(self) -> bool:
        limits = self._server.limits
        while self._buffer[:2] == b"\r\n":  # RFC 9112, 2.2: ignored before a request
            del self._buffer[:2]
        end = self._buffer.find(_END, 0, limits.head_bytes)
        if end < 0:
            if len(self._buffer) >= limits.head_bytes:
                raise BadHead(431)
            if self._buffer:
                self.deadline = min(self.deadline, self._server.now() + limits.head_seconds)
            return False
        end += len(_END)
        head = self._head = self._server.heads.read(bytes(self._buffer[:end]))
        del self._buffer[:end]
        self.deadline = self._server.now() + limits.body_seconds
        if head.length > limits.body_bytes:
            raise TooManyBytes
        if head.length < 0:
            self._chunks = ChunkReader(limits.body_bytes)
        if head.expects_continue and head.length and not self._buffer:
            assert self._transport is not None
            self._transport.write(CONTINUE)
        return True

    def _read_body(self) -> bytes | None:
        assert self._head is not None
        if self._chunks is not None:
            return self._chunks.feed(self._buffer)
        length = self._head.length
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _ask(self, head: Head, body: bytes) -> None:
        self._asked = head
        self.deadline = math.inf
        self._server.api.ask(head, body, self._send)

    def _send(self, status: int, kind: bytes, content: bytes) -> None:
        head, transport = self._asked, self._transport
        if head is None or transport is None:
            return  # the client has gone
        self._asked = None
        is_last = not self._buffer and (self._has_client_ended or self._server.is_draining)
        keep_alive = head.keep_alive and not is_last
        answer = self._server.answer_heads.write(status, kind, len(content), keep_alive)
        if head.method == "HEAD":
            transport.write(answer)
        elif len(content) < _JOINED:
            transport.write(answer + content)
        else:
            transport.write(answer)
            transport.write(content)
        if not keep_alive:
            self.close()
            return
        self._server.busy_poll.answered()
        if self._buffer and not self._is_choked:
            self._go_on(transport)

    def _go_on(self, transport: asyncio.Transport) -> None:
        transport.resume_reading()
        self._advance()
        if self._has_client_ended and self._asked is None and not self._is_advancing:
            self.close()

    def _refuse_body(self) -> None:
        error = ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"The body has more than {self._server.limits.body_bytes} bytes.",
        )
        self._end(413, JSON, error_body(error))

    def _end(self, status: int, kind: bytes = HTML, content: bytes | None = None) -> None:
        """Answer what cannot be read, and end."""
        transport = self._transport
        if transport is None or self._is_over:
            return
        self._write_page(status, kind, content)
        self._is_over = True
        self._buffer.clear()
        if not transport.can_write_eof():
            transport.close()
            return
        # Closing while the client still sends would reset the connection before it reads the page.
        transport.write_eof()
        self.deadline = self._server.now() + 2.0

    def _write_page(self, status: int, kind: bytes = HTML, content: bytes | None = None) -> None:
        assert self._transport is not None
        content = page(status) if content is None else content
        head = self._server.answer_heads.write(status, kind, len(content), keep_alive=False)
        self._transport.write(head + content)
