"""The chunked transfer coding (RFC 9112, section 7.1), read strictly.

Strictly, because two readers that disagree about where a request ends are how requests are
smuggled: sizes are plain hexadecimal, lines end with CRLF, trailers are read over.
"""

from __future__ import annotations

import re

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r\n\x00]*)?")
_LONGEST_LINE = 1024
_LONGEST_TRAILERS = 8192


class MalformedChunks(Exception):
    """The bytes are not a chunked body."""


class TooManyBytes(Exception):
    """The body is larger than the server takes."""


class ChunkReader:
    """Reads one chunked body.

    Args:
        limit: The most bytes that the body may have.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()
        self._missing = 0
        self._trailers: int | None = None

    def feed(self, buffer: bytearray) -> bytes | None:
        """Take what has arrived off the buffer.

        Args:
            buffer: What arrived after the head; what is read is removed.

        Returns:
            The body once it is whole, else None.

        Raises:
            MalformedChunks: The bytes are not a chunked body.
            TooManyBytes: The body is larger than the limit.
        """
        while True:
            if self._trailers is not None:
                return self._end(buffer)
            if self._missing:
                if not self._take(buffer):
                    return None
                continue
            line = self._line(buffer)
            if line is None:
                return None
            size = _SIZE.fullmatch(line)
            if size is None:
                raise MalformedChunks
            self._missing = int(size[1], 16)
            if len(self._body) + self._missing > self._limit:
                raise TooManyBytes
            if self._missing:
                self._missing += 2  # the CRLF after the data
            else:
                self._trailers = 0

    def _take(self, buffer: bytearray) -> bool:
        data = min(len(buffer), self._missing - 2)
        if data > 0:
            self._body += buffer[:data]
            del buffer[:data]
            self._missing -= data
        if self._missing != 2 or len(buffer) < 2:
            return False
        if buffer[:2] != b"\r\n":
            raise MalformedChunks
        del buffer[:2]
        self._missing = 0
        return True

    def _end(self, buffer: bytearray) -> bytes | None:
        while (line := self._line(buffer)) is not None:
            if not line:
                return bytes(self._body)
            self._trailers = (self._trailers or 0) + len(line)
            if self._trailers > _LONGEST_TRAILERS:
                raise MalformedChunks
        return None

    @staticmethod
    def _line(buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\r\n", 0, _LONGEST_LINE)
        if end < 0:
            if len(buffer) >= _LONGEST_LINE:
                raise MalformedChunks
            return None
        line = bytes(buffer[:end])
        if b"\n" in line or b"\r" in line:
            raise MalformedChunks
        del buffer[: end + 2]
        return line
