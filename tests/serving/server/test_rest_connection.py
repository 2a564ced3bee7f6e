"""Bytes on the wire: framing, limits, impatience, and the end of a server."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from serving.server.app import ServerOptions, allow_connections
from serving.server.rest.answers import AnswerHeads
from serving.server.rest.connection import Connection, RestLimits
from tests.serving.server.memory import ThreadedServer, eventually, serving

BODY = b'{"instances":[1]}'
ANSWER = b'{"predictions":[2.5]}'
REQUEST = b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n" + BODY
SMALL = RestLimits(
    head_bytes=1024,
    body_bytes=4096,
    head_seconds=0.3,
    body_seconds=0.3,
    idle_seconds=600,
    write_seconds=0.3,
    connections=8,
)


@pytest.fixture(scope="module")
def strict_server() -> Iterator[ThreadedServer]:
    """A server with little patience."""
    with serving(ServerOptions(rest_port=0, grpc_port=0, rest_limits=SMALL)) as server:
        yield server


@contextlib.contextmanager
def connected(server: ThreadedServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.ports.rest), timeout=60) as client:
        yield client


def read_answer(client: socket.socket) -> tuple[int, bytes, bytes]:
    """Read one answer: its status, head and body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = client.recv(length, socket.MSG_WAITALL)
    return int(head[9:12]), head, body


def read_to_end(client: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(65536):
            data += more
    return data


def exchange(server: ThreadedServer, data: bytes) -> bytes:
    """Send bytes, end sending, and read all that is answered."""
    with connected(server) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_to_end(client)


def test_keeps_connections_open(memory_server: ThreadedServer) -> None:
    with connected(memory_server) as client:
        for _ in range(3):
            client.sendall(REQUEST)
            status, head, body = read_answer(client)
            assert (status, body) == (200, ANSWER)
            assert b"connection" not in head.lower()


def test_the_date_follows_a_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = AnswerHeads()
    for now, date in (
        (90061, "Fri, 02 Jan 1970 01:01:01 GMT"),
        (1, "Thu, 01 Jan 1970 00:00:01 GMT"),
    ):
        monkeypatch.setattr("serving.server.rest.answers.time.time", lambda now=now: now + 0.5)
        heads.forget()
        head = heads.write(200, b"text/plain", 3, keep_alive=True)
        assert heads.write(200, b"text/plain", 3, keep_alive=True) is head
        assert (
            head
            == (
                f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: {date}\r\n"
                "Content-Length: 3\r\n\r\n"
            ).encode()
        )


def test_closes_where_the_client_asks_for_it(memory_server: ThreadedServer) -> None:
    closing = REQUEST.replace(b"Host: x", b"Connection: close")
    with connected(memory_server) as client:
        client.sendall(closing)
        answer = read_to_end(client)
    assert answer.endswith(ANSWER)
    assert b"\r\nConnection: close\r\n" in answer


def test_speaks_http_1_0(memory_server: ThreadedServer) -> None:
    with connected(memory_server) as client:
        client.sendall(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert read_to_end(client).endswith(ANSWER)


def test_answers_pipelined_requests_in_order(memory_server: ThreadedServer) -> None:
    second = REQUEST.replace(b"[1]", b"[3]")
    answers = exchange(memory_server, REQUEST + second + b"\r\n" + REQUEST)
    assert [part[: part.find(b"}") + 1] for part in answers.split(b"\r\n\r\n")[1:]] == [
        ANSWER,
        b'{"predictions":[3.5]}',
        ANSWER,
    ]


def test_answers_a_request_that_comes_byte_by_byte(memory_server: ThreadedServer) -> None:
    with connected(memory_server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in REQUEST:
            client.sendall(bytes([byte]))
        assert read_answer(client)[2] == ANSWER


def test_answers_what_was_asked_before_the_client_stopped_sending(
    memory_server: ThreadedServer,
) -> None:
    assert exchange(memory_server, REQUEST).endswith(ANSWER)


@pytest.mark.parametrize(
    "chunks",
    [
        b"11\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"1;name=value\r\n{\r\n00010\r\n" + BODY[1:] + b"\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_reads_chunked_bodies(memory_server: ThreadedServer, chunks: bytes) -> None:
    head = b"POST /v1/models/half:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(memory_server) as client:
        client.sendall(head + chunks + REQUEST)
        assert read_answer(client)[2] == ANSWER
        assert read_answer(client)[2] == ANSWER
        for at in range(len(chunks)):
            client.sendall((head + chunks)[at : at + 1])
        client.sendall((head + chunks)[len(chunks) :])
        assert read_answer(client)[2] == ANSWER


def test_gives_leave_to_send_the_body(memory_server: ThreadedServer) -> None:
    head, _, body = REQUEST.partition(b"\r\n\r\n")
    with connected(memory_server) as client:
        client.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        leave = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.recv(len(leave), socket.MSG_WAITALL) == leave
        client.sendall(body)
        assert read_answer(client)[2] == ANSWER


def test_answers_head_without_a_body(memory_server: ThreadedServer) -> None:
    answer = exchange(memory_server, b"HEAD /v1/models/half HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 501),
        (b"FOO / HTTP/1.1\r\n\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nExpect: miracles\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked, x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400),
    ],
)
def test_refuses_what_is_not_a_request(
    strict_server: ThreadedServer, data: bytes, status: int
) -> None:
    answer = exchange(strict_server, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer


def test_refuses_a_head_that_is_too_large(strict_server: ThreadedServer) -> None:
    answer = exchange(strict_server, b"GET / HTTP/1.1\r\nX: " + b"a" * 2000)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 4097\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1001\r\n"],
)
def test_refuses_a_body_that_is_too_large(strict_server: ThreadedServer, framing: bytes) -> None:
    head = b"POST /v1/models/half:predict HTTP/1.1\r\nExpect: 100-continue\r\n"
    answer = exchange(strict_server, head + framing + b"x" * 5000)
    assert answer.partition(b"\r\n\r\n")[2].endswith(
        b'{"error":"The body has more than 4096 bytes."}'
    )
    assert b"HTTP/1.1 413 " in answer


def test_refuses_a_body_that_decompresses_to_too_much(strict_server: ThreadedServer) -> None:
    import gzip

    bomb = gzip.compress(b" " * 100_000)
    head = b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %d"
    answer = exchange(strict_server, head % len(bomb) + b"\r\n\r\n" + bomb)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert answer.endswith(b'{"error":"The decompressed body has more than 4096 bytes."}')


@pytest.mark.parametrize("sent", [b"POST /v1", REQUEST[:-1]])
def test_ends_a_request_that_does_not_arrive(strict_server: ThreadedServer, sent: bytes) -> None:
    with connected(strict_server) as client:
        client.sendall(sent)
        assert read_to_end(client).startswith(b"HTTP/1.1 408 ")


def test_a_byte_now_and_then_does_not_keep_a_request_alive(strict_server: ThreadedServer) -> None:
    with connected(strict_server) as client:
        stop = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                for byte in REQUEST[:-1]:
                    client.sendall(bytes([byte]))
                    if stop.wait(0.1):
                        return

        trickler = threading.Thread(target=trickle)
        trickler.start()
        assert read_to_end(client).startswith(b"HTTP/1.1 408 ")
        stop.set()
        trickler.join()


def test_ends_idle_connections_in_silence() -> None:
    limits = RestLimits(idle_seconds=0.2)
    with (
        serving(ServerOptions(rest_port=0, grpc_port=0, rest_limits=limits)) as server,
        connected(server) as client,
    ):
        assert read_to_end(client) == b""


def test_does_not_wait_for_a_client_that_reads_no_answer(strict_server: ThreadedServer) -> None:
    """The answers to a flood of pipelined requests are not piled up without end."""
    with connected(strict_server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        body = b'{"instances":[' + b"1," * 1500 + b"1]}"
        head = b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
        request, sent = head % len(body) + body, 0
        with pytest.raises(ConnectionError):
            while True:
                client.sendall(request * 10)
                sent += 10
                assert sent < 100_000, "nobody reads, and all of it was taken"


def test_a_client_that_reads_late_has_no_more_time_for_its_next_body() -> None:
    """Half a body that waited behind answers which nobody read expires like any other."""
    limits = RestLimits(idle_seconds=0.2, write_seconds=600)
    with (
        serving(ServerOptions(rest_port=0, grpc_port=0, rest_limits=limits)) as server,
        connected(server) as client,
    ):
        client.sendall(REQUEST[:-1])
        eventually(lambda: server.do(lambda: any(not c.is_idle for c in connections_of(server))))
        (connection,) = connections_of(server)
        server.do(connection.pause_writing)
        server.do(connection.resume_writing)
        assert read_to_end(client).startswith(b"HTTP/1.1 408 ")


def test_refuses_more_connections_than_its_limit(strict_server: ThreadedServer) -> None:
    with contextlib.ExitStack() as stack:
        eventually(lambda: strict_server.do(strict_server.server.metrics.connections) == 0)
        for _ in range(SMALL.connections):
            stack.enter_context(connected(strict_server))
        eventually(lambda: strict_server.do(strict_server.server.metrics.connections) == 8)
        with connected(strict_server) as late:
            assert read_to_end(late).startswith(b"HTTP/1.1 503 ")
    eventually(lambda: strict_server.do(strict_server.server.metrics.connections) == 0)
    assert exchange(strict_server, REQUEST).endswith(ANSWER)


def test_idle_connections_cost_nobody_anything(memory_server: ThreadedServer) -> None:
    """A thousand; ten thousand are more than one process may hold both ends of."""
    count = 1_000
    allow_connections(2 * count + 1_000)
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", memory_server.ports.rest), 60))
        eventually(lambda: memory_server.do(memory_server.server.metrics.connections) >= count)
        assert exchange(memory_server, REQUEST).endswith(ANSWER)
        for client in (clients[0], clients[-1]):
            client.sendall(REQUEST)
            assert read_answer(client)[2] == ANSWER
    finally:
        for client in clients:
            client.close()
    eventually(lambda: memory_server.do(memory_server.server.metrics.connections) < count)


def test_an_answer_for_a_client_that_has_gone_is_dropped() -> None:
    with serving() as server:
        servable = server.models.servables[2]
        servable.held = []
        with connected(server) as client:
            client.sendall(REQUEST)
            eventually(lambda: bool(servable.held))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: server.do(server.server.metrics.connections) == 0)
        held, servable.held = servable.held, None
        server.do(held[0])
        assert exchange(server, REQUEST).endswith(ANSWER)


def test_a_request_may_say_how_long_it_can_wait(memory_server: ThreadedServer) -> None:
    impatient = REQUEST.replace(b"Host: x", b"grpc-timeout: 0m")
    answer = exchange(memory_server, impatient)
    assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert answer.endswith(b'{"error":"Deadline exceeded"}')
    assert exchange(memory_server, impatient.replace(b"0m", b"9S")).endswith(ANSWER)


def test_the_end_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    with serving() as server, connected(server) as busy, connected(server) as idle:
        servable = server.models.servables[2]
        idle.sendall(REQUEST)
        read_answer(idle)
        servable.held = []
        busy.sendall(REQUEST)
        eventually(lambda: bool(servable.held))
        ending = threading.Thread(target=lambda: server.call(server.server.drain()))
        ending.start()
        address = ("127.0.0.1", server.ports.rest)

        def is_closed() -> bool:
            try:
                socket.create_connection(address, 60).close()
            except ConnectionRefusedError:
                return True
            return False

        eventually(is_closed)
        assert read_to_end(idle) == b""
        held, servable.held = servable.held, None
        server.do(held[0])
        answer = read_to_end(busy)
        assert answer.endswith(ANSWER)
        assert b"\r\nConnection: close\r\n" in answer
        ending.join(60)


@pytest.mark.parametrize("half", [REQUEST[:20], REQUEST[:-1]], ids=["head", "body"])
def test_the_end_does_not_wait_for_half_a_request(half: bytes) -> None:
    options = ServerOptions(rest_port=0, grpc_port=0, drain_seconds=600)
    with serving(options) as server, connected(server) as client:
        client.sendall(half)
        eventually(lambda: server.do(lambda: any(not c.is_idle for c in connections_of(server))))
        server.call(server.server.drain())
        assert read_to_end(client).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")


def connections_of(server: ThreadedServer) -> list[Connection]:
    return list(server.server._rest._connections)


def test_a_request_that_comes_whole_while_the_server_ends_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.server.rest.server._LINGER_SECONDS", 60.0)
    with serving() as server, connected(server) as client:
        client.sendall(REQUEST[:-1])
        eventually(lambda: server.do(lambda: any(not c.is_idle for c in connections_of(server))))
        ending = threading.Thread(target=lambda: server.call(server.server.drain()))
        ending.start()
        eventually(lambda: server.server._rest.is_draining)
        client.sendall(REQUEST[-1:])
        assert read_to_end(client).endswith(ANSWER)
        ending.join(60)


def test_the_end_cuts_off_what_takes_too_long() -> None:
    options = ServerOptions(rest_port=0, grpc_port=0, drain_seconds=0.2)
    with serving(options) as server, connected(server) as client:
        server.models.servables[2].held = []
        client.sendall(REQUEST)
        eventually(lambda: bool(server.models.servables[2].held))
        started = time.monotonic()
        server.call(server.server.drain())
        assert read_to_end(client) == b""
        assert time.monotonic() - started < 30


def test_health_says_that_nothing_more_is_to_be_asked(tmp_path: object) -> None:
    with serving() as server, connected(server) as client:
        server.server._api.is_healthy = False
        client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        status, _, body = read_answer(client)
        assert (status, body) == (503, b'{"status":"NOT_SERVING"}')


def test_a_port_that_is_taken_is_refused(memory_server: ThreadedServer) -> None:
    for options in (
        ServerOptions(rest_port=memory_server.ports.rest, grpc_port=0),
        ServerOptions(rest_port=0, grpc_port=memory_server.ports.grpc),
    ):
        with pytest.raises(OSError), serving(options):
            raise AssertionError(os.getpid())
