"""Tokens and TLS on both protocols."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from learnloop.access import TlsFiles
from serving.server.app import ServerOptions
from serving.server.security import TOKENS_VARIABLE, Tokens
from tests.serving.server.memory import ThreadedServer, serving
from tests.serving.server.test_grpc import predict_request

FIRST, SECOND = "first-token-of-some-length", "second-token-of-some-length"
REQUEST = predict_request(x=np.float32([1]))


def get(url: str, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        assert error.headers["WWW-Authenticate"] == "Bearer"
        return error.code, error.read()


@pytest.fixture(scope="module")
def guarded() -> Iterator[ThreadedServer]:
    with serving(
        ServerOptions(
            rest_port=0,
            grpc_port=0,
            tokens=Tokens(FIRST.encode(), SECOND.encode()),
            drain_seconds=5,
        )
    ) as server:
        yield server


@pytest.mark.parametrize("path", ["/v1/models/half", "/monitoring/prometheus/metrics", "/other"])
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        f"Bearer {FIRST}x",
        f"Basic {FIRST}",
        FIRST,
        f"Bearer {FIRST[:-1]}",
        "Bearer \xff",
    ],
)
def test_rest_refuses_who_has_no_token(
    guarded: ThreadedServer, path: str, authorization: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    status, body = get(f"http://127.0.0.1:{guarded.ports.rest}{path}", **headers)
    assert (status, body) == (401, b'{"error":"A valid bearer token is required."}')


@pytest.mark.parametrize("authorization", [f"Bearer {FIRST}", f"bearer {SECOND}"])
def test_rest_lets_in_who_has_one(guarded: ThreadedServer, authorization: str) -> None:
    url = f"http://127.0.0.1:{guarded.ports.rest}/v1/models/half"
    assert get(url, Authorization=authorization)[0] == 200


def test_health_needs_no_token(guarded: ThreadedServer) -> None:
    assert get(f"http://127.0.0.1:{guarded.ports.rest}/health")[0] == 200
    with grpc.insecure_channel(f"127.0.0.1:{guarded.ports.grpc}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_grpc_asks_for_a_token(guarded: ThreadedServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{guarded.ports.grpc}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for metadata in ((), (("authorization", f"Bearer {FIRST}x"),)):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(REQUEST, metadata=metadata)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert caught.value.details() == "A valid bearer token is required."
        stub.Predict(REQUEST, metadata=(("authorization", f"Bearer {SECOND}"),))


def test_tokens_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKENS_VARIABLE, f"{FIRST},{SECOND}")
    Tokens.from_environment().check(f"Bearer {SECOND}")
    monkeypatch.setenv(TOKENS_VARIABLE, "")
    assert not Tokens.from_environment()


class Authority:
    """An authority, the server's files, and a caller's."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.root = folder / "root.pem"
        self.authority.cert_pem.write_to_path(str(self.root))
        self.files = TlsFiles(folder / "server.pem", folder / "server.key")
        server = self.authority.issue_cert("localhost", "127.0.0.1")
        for blob in server.cert_chain_pems:
            blob.write_to_path(str(self.files.certificate), append=True)
        server.private_key_pem.write_to_path(str(self.files.key))
        self.caller = self.authority.issue_cert("caller.example")
        self.both = folder / "caller.pem"
        self.caller.private_key_and_cert_chain_pem.write_to_path(str(self.both))

    def channel(self, port: int, *, with_certificate: bool) -> grpc.Channel:
        pair = (
            self.caller.private_key_pem.bytes(),
            b"".join(blob.bytes() for blob in self.caller.cert_chain_pems),
        )
        credentials = grpc.ssl_channel_credentials(
            self.root.read_bytes(), *(pair if with_certificate else ())
        )
        return grpc.secure_channel(f"localhost:{port}", credentials)

    def context(self, *, with_certificate: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.root))
        if with_certificate:
            self.caller.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("is_mutual", [False, True])
def test_speaks_tls(authority: Authority, is_mutual: bool) -> None:
    root = authority.root if is_mutual else None
    files = TlsFiles(authority.files.certificate, authority.files.key, root)
    options = ServerOptions(host="localhost", rest_port=0, grpc_port=0, tls=files, drain_seconds=5)
    with serving(options) as server:
        url = f"https://localhost:{server.ports.rest}/v1/models/half"
        assert get(url, authority.context(with_certificate=is_mutual))[0] == 200
        with authority.channel(server.ports.grpc, with_certificate=is_mutual) as channel:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(REQUEST)
        with pytest.raises(OSError):
            get(url.replace("https", "http"))
        if is_mutual:
            with pytest.raises(OSError):
                get(url, authority.context(with_certificate=False))
            with authority.channel(server.ports.grpc, with_certificate=False) as channel:
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                with pytest.raises(grpc.RpcError) as caught:
                    stub.Predict(REQUEST, timeout=60)
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
