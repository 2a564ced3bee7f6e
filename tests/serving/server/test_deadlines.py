"""A caller is told on time that its time is up, while the model is still at work."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.serving.server.memory import ThreadedServer, eventually, serving
from tests.serving.server.models.test_batching import DEAR, Blocking, run_of, version_of
from tests.serving.server.test_grpc import predict_request

LATE = (504, b'{"error":"Deadline exceeded"}')


@pytest.fixture
def model() -> Iterator[Blocking]:
    blocking = Blocking()
    yield blocking
    blocking.may_go_on.set()


@pytest.fixture
def server(model: Blocking) -> Iterator[ThreadedServer]:
    """A server whose model runs until it is let go."""
    with serving() as server:
        server.models.servables[2] = server.do(  # type: ignore[assignment]
            lambda: version_of(run_of(model, DEAR), signature="serving_default")
        )
        yield server
        model.may_go_on.set()


def ask(server: ThreadedServer, timeout: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports.rest, timeout=60)
    body, headers = b'{"instances":[1]}', {"grpc-timeout": timeout}
    connection.request("POST", "/v1/models/half:predict", body, headers)
    return connection


def answer_of(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_rest_tells_while_the_model_runs(server: ThreadedServer, model: Blocking) -> None:
    patient, running = ask(server, "100S"), ask(server, "500m")
    eventually(model.has_begun.is_set)
    queued = ask(server, "100m")
    assert answer_of(queued) == LATE
    assert answer_of(running) == LATE
    running.request("POST", "/v1/models/half:predict", b'{"instances":[2]}')
    model.may_go_on.set()
    assert answer_of(patient) == (200, b'{"predictions":[2.0]}')
    assert answer_of(running) == (200, b'{"predictions":[4.0]}'), "its late answer was dropped"
    for connection in (patient, running, queued):
        connection.close()
    page = server.server.metrics.page()
    late = ':tensorflow:serving:request_count{model_name="half",status="DEADLINE_EXCEEDED"} 2'
    assert late in page


def test_grpc_tells_while_the_model_runs(server: ThreadedServer, model: Blocking) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_request(x=np.float32([1]))
        patient = stub.Predict.future(request, timeout=100)
        eventually(model.has_begun.is_set)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=0.1)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        model.may_go_on.set()
        assert patient.result().outputs["y"].float_val[:] == [2.0]
