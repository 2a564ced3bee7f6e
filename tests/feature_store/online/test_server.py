"""The feature server over real sockets: who is let in, what is too much, and what is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import trustme

from feature_store.online.server import (
    MOST_BYTES,
    TOKENS_VARIABLE,
    serving_features,
)
from feature_store.store import FeatureStore
from learnloop.access import TlsFiles
from learnloop.errors import UsageError
from learnloop.settings import Settings, project_root
from tests.feature_store.online.school import ago, open_school, write_activity
from tests.feature_store.online.school_views import activity

TOKEN = "a secret of enough characters"
REQUEST = {"feature_service": "seen", "entities": {"learner": [7, 8]}}


@dataclass(frozen=True)
class Caller:
    """Asks a server, a connection for each request."""

    port: int

    def ask(
        self, body: object = REQUEST, *, path: str = "/get-online-features", **headers: str
    ) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, content, {"Content-Type": "application/json", **named})

    def send(
        self, method: str, path: str, content: bytes | None = None, headers: Any = {}
    ) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.fixture
def store(settings: Settings) -> FeatureStore:
    """Learner 7 was active."""
    from feature_store.definitions import FeatureService

    write_activity("days", [{"learner": 7, "happened_at": ago(days=1), "clicks": 30}])
    store = open_school(settings, FeatureService("seen", (activity[["clicks"]],)))
    store.materialize_incremental(ago())
    return store


@pytest.fixture
def caller(store: FeatureStore) -> Iterator[Caller]:
    with serving_features(store, 0) as port:
        yield Caller(port)


@pytest.fixture
def guarded(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """A server that asks for a token; the one before it is still let in."""
    monkeypatch.setenv(TOKENS_VARIABLE, f"{TOKEN}, {'o' * 16}")
    with serving_features(store, 0) as port:
        yield Caller(port)


def test_features_of_a_service(caller: Caller) -> None:
    status, found = caller.ask()
    assert status == 200
    assert found["metadata"] == {"feature_names": ["learner", "clicks"]}
    assert found["results"][1] == {
        "values": [30, None],
        "statuses": ["PRESENT", "NOT_FOUND"],
        "event_timestamps": [ago(days=1).isoformat(), None],
    }


def test_a_connection_is_used_again(caller: Caller) -> None:
    connection = HTTPConnection("127.0.0.1", caller.port, timeout=60)
    for _ in range(3):
        body = json.dumps(REQUEST)
        connection.request(
            "POST", "/get-online-features", body, {"Content-Type": "application/json"}
        )
        assert json.loads(connection.getresponse().read())["results"][1]["values"] == [30, None]
    connection.close()


def test_many_at_once(caller: Caller) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: caller.ask(), range(40)))
    assert all(status == 200 for status, _ in answers)
    assert all(found["results"][1]["values"] == [30, None] for _, found in answers)


def test_only_loopback_is_listened_on(caller: Caller) -> None:
    """Whoever listens everywhere on this machine listens at 127.0.0.2 too."""
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.2", caller.port), timeout=10),
    ):
        pass


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer {'o' * 16}"])
def test_who_has_a_token_is_let_in(guarded: Caller, authorization: str) -> None:
    assert guarded.ask(Authorization=authorization)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer ünknown"},
    ],
)
def test_who_has_none_is_not(guarded: Caller, headers: dict[str, str]) -> None:
    assert guarded.ask(**headers) == (401, {"error": "A valid bearer token is required."})


def test_health_needs_no_token(guarded: Caller) -> None:
    assert guarded.send("GET", "/health") == (200, {"online store": "up"})


def test_a_store_that_does_not_answer(caller: Caller, store: FeatureStore) -> None:
    (project_root() / ".learnloop" / "features" / "online.db").write_bytes(b"no database")
    for name in ("online.db-wal", "online.db-shm"):
        (project_root() / ".learnloop" / "features" / name).unlink(missing_ok=True)
    assert caller.send("GET", "/health") == (503, {"online store": "down"})
    status, told = caller.ask()
    assert (status, told["error"]) == (503, "The online store does not answer.")


@pytest.mark.parametrize(
    ("body", "headers", "status", "told"),
    [
        (b"{", {}, 400, {"error": "The request is not JSON."}),
        (b"[" * 100_000, {}, 400, {"error": "The request is not JSON."}),
        (
            {"feature_service": "sen", "entities": {"learner": [7]}},
            {},
            400,
            {
                "error": "There is no feature service 'sen'.",
                "where": "feature services",
                "expected": "did you mean 'seen'?",
                "received": "'sen'",
                "next": "learnloop features list",
            },
        ),
        (
            REQUEST,
            {"Content_Type": "text/plain"},
            415,
            {"error": "The request must be application/json."},
        ),
        (
            b" " * (MOST_BYTES + 1),
            {},
            413,
            {"error": "A request has at most 1048576 bytes."},
        ),
        (REQUEST, {"Content_Length": "-1"}, 411, {"error": "The request has no length."}),
    ],
)
def test_requests_that_are_refused(
    caller: Caller, body: Any, headers: dict[str, str], status: int, told: Any
) -> None:
    assert caller.ask(body, **headers) == (status, told)


def test_other_places(caller: Caller) -> None:
    there = "There is POST /get-online-features, GET /health, GET /metrics."
    assert caller.send("GET", "/") == (404, {"error": there})
    assert caller.ask(path="/push") == (404, {"error": there})
    told = {"error": "/get-online-features is asked by POST."}
    assert caller.send("GET", "/get-online-features") == (405, told)
    assert caller.send("DELETE", "/health") == (501, {"error": "HTTP 501"})


def test_what_prometheus_reads(guarded: Caller) -> None:
    """Answers are counted by status; the page needs no token and names nobody."""
    for body in (REQUEST, b"{"):
        guarded.ask(body, Authorization=f"Bearer {TOKEN}")
    with urllib.request.urlopen(f"http://127.0.0.1:{guarded.port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        told = answer.read().decode().splitlines()
    counts = [line for line in told if line.startswith("learnloop_features_request_seconds_count")]
    assert counts == [
        'learnloop_features_request_seconds_count{status="200"} 1.0',
        'learnloop_features_request_seconds_count{status="400"} 1.0',
    ]


def test_a_fault_tells_nothing_of_a_learner(
    caller: Caller, store: FeatureStore, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("learner 7")

    monkeypatch.setattr(store.online_stores[0], "read", fail)
    assert caller.ask() == (500, {"error": "The server failed."})
    assert caplog.messages == ["A request failed: RuntimeError."]


def test_a_port_that_is_taken(caller: Caller, store: FeatureStore) -> None:
    with pytest.raises(UsageError) as refused, serving_features(store, caller.port):
        pass
    assert str(refused.value) == (
        "The port of the feature server cannot be had.\n"
        f"  where:    127.0.0.1:{caller.port}\n"
        "  received: Address already in use\n"
        "  next:     learnloop features serve --port 0"
    )


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path, trustme.CA]:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    issued.cert_chain_pems[0].write_to_path(str(files[0]))
    issued.private_key_pem.write_to_path(str(files[1]))
    return *files, authority


@pytest.mark.parametrize("has_tls", [False, True])
@pytest.mark.parametrize("tokens", ["", TOKEN])
def test_an_address_that_others_reach(
    has_tls: bool,
    tokens: str,
    certificate: tuple[Path, Path, trustme.CA],
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKENS_VARIABLE, tokens)
    tls = TlsFiles(*certificate[:2]) if has_tls else None
    if tls is not None and tokens:
        with serving_features(store, 0, host="0.0.0.0", tls=tls) as port:
            assert port
        return
    with pytest.raises(UsageError) as refused, serving_features(store, 0, host="0.0.0.0", tls=tls):
        pass
    assert str(refused.value) == (
        "Features of learners are not served beyond this machine without TLS and tokens.\n"
        "  where:    --host 0.0.0.0\n"
        "  expected: --tls-certificate, --tls-key, and LEARNLOOP_FEATURES_TOKENS\n"
        f"  received: {'TLS' if has_tls else 'no TLS'}, {1 if tokens else 0} tokens\n"
        '  next:     export LEARNLOOP_FEATURES_TOKENS="$(openssl rand -hex 32)"'
    )


def test_features_over_tls(
    certificate: tuple[Path, Path, trustme.CA],
    store: FeatureStore,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving_features(store, 0, tls=TlsFiles(*certificate[:2])) as port:
        socket.create_connection(("127.0.0.1", port)).close()  # a probe of the port
        with pytest.raises(OSError):
            Caller(port).send("GET", "/health")
        context = ssl.create_default_context()
        certificate[2].configure_trust(context)
        caller = HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
        caller.request(
            "POST",
            "/get-online-features",
            json.dumps(REQUEST),
            {"Content-Type": "application/json"},
        )
        answer = caller.getresponse()
        assert (answer.status, json.loads(answer.read())["results"][0]["values"]) == (200, [7, 8])
        caller.close()
    assert capsys.readouterr().err == ""


def test_the_command_ends_when_it_is_told_to(store: FeatureStore) -> None:
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root}
    environment["LEARNLOOP_FEATURES"] = '["tests.feature_store"]'
    serving = subprocess.Popen(
        [sys.executable, "-m", "learnloop", "features", "serve", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    told = serving.stdout.readline()
    assert told.startswith("Online features of no service: http://127.0.0.1:")
    port = int(told.rpartition(":")[2])
    assert Caller(port).send("GET", "/health") == (200, {"online store": "up"})
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(60) == 0
    serving.stdout.close()
