"""Values come as Redis sent them, however alike they are and in whatever pieces they arrive."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.online.resp import ReadingConnection

VALUES = st.lists(
    st.one_of(
        st.none(),
        st.binary(max_size=6),
        st.sampled_from([b"", b"$3\r\n", b"abc", b"$-1", b"*1\r\n$3\r\nabc\r\n", b"x" * 40]),
    ),
    min_size=1,
    max_size=40,
)


class Answering:
    """A server that takes a command and sends what it was told to, piece by piece."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}"
        self.answers: list[list[bytes]] = []
        self.asked = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while self._read(connection):
            for piece in self.answers.pop(0):
                connection.sendall(piece)

    def _read(self, connection: socket.socket) -> bool:
        self.asked = connection.recv(1 << 20)
        return bool(self.asked)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.close()


@pytest.fixture(scope="module")
def connection(server: Answering) -> Iterator[ReadingConnection]:
    opened = ReadingConnection(server.url, 5.0, 5.0)
    yield opened
    opened.close()


@given(VALUES, st.integers(1, 200))
def test_values_are_what_was_sent(
    server: Answering, connection: ReadingConnection, values: list[bytes | None], piece: int
) -> None:
    sent = b"*%d\r\n" % len(values)
    for value in values:
        sent += b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
    server.answers.append([sent[at : at + piece] for at in range(0, len(sent), piece)])
    keys = [b"key %d" % number for number in range(len(values))]
    assert connection.values(keys) == values
    asked = b"*%d\r\n$4\r\nMGET\r\n" % (len(keys) + 1)
    assert server.asked == asked + b"".join(b"$%d\r\n%b\r\n" % (len(key), key) for key in keys)
