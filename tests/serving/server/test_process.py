"""The server as a process: started, killed, drained, and swapping versions under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from learnloop.access import TlsFiles
from learnloop.errors import UsageError
from learnloop.settings import Settings
from serving.embedded import EmbeddedServer, embedded_server
from serving.server.app import ServerOptions, allow_connections
from serving.server.running import _check_exposure
from tests.serving.server.memory import eventually
from tests.serving.server.test_grpc import predict_request
from tests.serving.server.tiny_models import MODEL, write_version

pytestmark = pytest.mark.timeout(300)
BODY = b'{"instances":[0.0]}'
SOAK_SECONDS = float(os.environ.get("LEARNLOOP_SOAK_SECONDS", "600"))


@pytest.fixture
def models(settings: Settings) -> Path:
    folder = settings.serving_folder
    write_version(folder / MODEL, 1)
    return folder


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    with embedded_server(models, tmp_path / "server.log") as server:
        yield server


def address(url: str) -> str:
    return url.partition("://")[2]


def connections_of(server: EmbeddedServer) -> int:
    """Read how many connections it holds, without the one that asks."""
    url = f"{server.rest_url}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        page = answer.read().decode()
    return int(page.partition("\nlearnloop_serving_rest_connections{} ")[2].split()[0]) - 1


class Callers:
    """Threads that ask all the time, by REST and by gRPC; the model answers with its version."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._is_over = threading.Event()
        self.faults: list[BaseException] = []
        self.answers: list[tuple[float, float, float]] = []  # when, seconds, version
        self._threads = [
            threading.Thread(target=self._guarded, args=(ask,), daemon=True)
            for ask in (self._rest, self._rest, self._grpc)
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def _guarded(self, ask: Any) -> None:
        try:
            ask()
        except BaseException as fault:
            self.faults.append(fault)

    def _rest(self) -> None:
        connection = http.client.HTTPConnection(address(self._server.rest_url), timeout=60)

        def predict() -> float:
            connection.request("POST", f"/v1/models/{MODEL}:predict", BODY)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return float(json.loads(body)["predictions"][0])

        self._ask(predict)

    def _grpc(self) -> None:
        with grpc.insecure_channel(address(self._server.grpc_url)) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = predict_request(model=MODEL, x=np.float32([0]))
            self._ask(lambda: stub.Predict(request, timeout=60).outputs["y"].float_val[0])

    def _ask(self, predict: Any) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            version = predict()
            self.answers.append((began, time.monotonic() - began, version))

    def wait_for_version(self, version: int) -> None:
        def is_answering() -> bool:
            assert not self.faults, self.faults
            return bool(self.answers) and self.answers[-1][2] == version

        eventually(is_answering, 120)


@pytest.mark.parametrize(
    ("swaps", "requests"), [(2, 200), pytest.param(10, 100_000, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(1800)
def test_swaps_versions_under_load_without_an_error(
    models: Path, server: EmbeddedServer, swaps: int, requests: int
) -> None:
    swapping: list[tuple[float, float]] = []
    with Callers(server) as callers:
        for version in range(2, swaps + 2):
            share = requests * (version - 1) // (swaps + 1)
            eventually(
                lambda share=share: bool(callers.faults) or len(callers.answers) >= share, 900
            )
            began = time.monotonic()
            write_version(models / MODEL, version)
            callers.wait_for_version(version)
            swapping.append((began, time.monotonic()))
        eventually(lambda: bool(callers.faults) or len(callers.answers) >= requests, 900)
    assert callers.faults == []
    assert {version for _, _, version in callers.answers} == set(range(1, swaps + 2))
    if requests < 1000:
        return
    during = [s for at, s, _ in callers.answers if any(b <= at <= e for b, e in swapping)]
    steady = [s for at, s, _ in callers.answers if not any(b <= at <= e for b, e in swapping)]
    p99 = [statistics.quantiles(seconds, n=100)[98] for seconds in (during, steady)]
    assert p99[0] <= 3 * p99[1], p99


def test_sigterm_answers_what_is_asked_and_ends(server: EmbeddedServer) -> None:
    with Callers(server) as callers:
        callers.wait_for_version(1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        eventually(lambda: len(callers.faults) == 3)
    for fault in callers.faults:  # told in order that no more is taken, never half an answer
        if isinstance(fault, grpc.RpcError):
            assert fault.code() == grpc.StatusCode.UNAVAILABLE, fault.details()
        else:  # refused, or closed while its connection was idle
            assert isinstance(fault, ConnectionError), repr(fault)
    text = server.log.read_text()
    assert "Draining: finishing what is in flight.\n" in text
    assert text.endswith("Stopped.\n")


def test_says_that_it_is_a_stand_in(server: EmbeddedServer) -> None:
    assert "embedded stand-in for TensorFlow Serving (it is not" in server.log.read_text()


def test_serves_again_after_a_kill(models: Path, tmp_path: Path) -> None:
    for log in ("first.log", "second.log"):
        with embedded_server(models, tmp_path / log) as server:
            with Callers(server) as callers:
                callers.wait_for_version(1)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(60)


def test_others_may_reach_it_only_with_proof() -> None:
    pem = Path("a.pem")
    for options in (
        ServerOptions(host="127.0.0.1"),
        ServerOptions(host="::1"),
        ServerOptions(host="localhost"),
        ServerOptions(host="0.0.0.0", tls=TlsFiles(pem, pem, pem)),
    ):
        _check_exposure(options)
    with pytest.raises(UsageError) as caught:
        _check_exposure(ServerOptions(host="0.0.0.0", tls=TlsFiles(pem, pem)))
    assert str(caught.value) == (
        "A server that others can reach needs TLS, and tokens or certificates of its callers.\n"
        "  where:    --host 0.0.0.0\n"
        "  expected: --tls-certificate and --tls-key, with LEARNLOOP_SERVING_TOKENS or "
        "--tls-client-authority\n"
        "  received: TLS: yes, tokens: no"
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_answers_beside_ten_thousand_connections_that_do_nothing_or_little(
    server: EmbeddedServer,
) -> None:
    """A tenth of them send a byte of a head now and then, and are told to end."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    count, slow_ones = 10_000, 1_000
    allow_connections(count)
    host, _, port = address(server.rest_url).partition(":")
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection((host, int(port)), 60))
            for _ in range(count)
        ]
        slow = connections[:slow_ones]
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for connection in slow:
                connection.sendall(b"P")
        with Callers(server) as callers:
            callers.wait_for_version(1)
            eventually(lambda: len(callers.answers) > 1000, 600)
            for connection in slow:
                assert connection.recv(100).startswith(b"HTTP/1.1 4")
        assert callers.faults == []
        eventually(lambda: connections_of(server) == count - slow_ones)
        grown = process.memory_info().rss - before
    assert grown < 20_000 * count, grown
    eventually(lambda: connections_of(server) == 0)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_memory_stays_flat(server: EmbeddedServer) -> None:
    """LEARNLOOP_SOAK_SECONDS of load, ten minutes where it is not set."""
    process = psutil.Process(server.process.pid)
    with Callers(server) as callers:
        callers.wait_for_version(1)
        time.sleep(SOAK_SECONDS / 5)
        before = process.memory_info().rss
        time.sleep(SOAK_SECONDS * 4 / 5)
        grown = process.memory_info().rss - before
    print(
        f"\n| soak | |\n|---|---|\n| seconds | {SOAK_SECONDS:,.0f} |\n"
        f"| answers | {len(callers.answers):,} |\n| faults | {len(callers.faults)} |\n"
        f"| memory after a fifth of it | {before / 2**20:.1f} MiB |\n"
        f"| more at the end | {grown / 2**20:.1f} MiB |"
    )
    assert callers.faults == []
    assert grown < 32 << 20, grown
    with contextlib.suppress(ProcessLookupError):
        assert process.is_running()
