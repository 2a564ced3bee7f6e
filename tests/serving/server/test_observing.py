"""What is counted, and what a prediction log is told."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.server.app import ServerOptions
from serving.server.metrics import Histogram, Metrics
from serving.server.protos import regression_pb2
from tests.serving.server.memory import MemoryServable, eventually, serving
from tests.serving.server.test_grpc import predict_request, with_examples
from tests.serving.server.test_rest_compatibility import PREDICT, REGRESS, ask, asked

ONE = np.float32([1])


class Notes:
    """Takes note of what it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.notes: list[dict[str, Any]] = []
        self._failure = failure

    def __call__(self, **note: Any) -> None:
        self.notes.append(note)
        if self._failure is not None:
            raise self._failure


def test_an_observer_is_told_of_every_answer_and_of_no_refusal() -> None:
    notes = Notes()
    with (
        serving(observer=notes) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel,
    ):
        headers = {"X-Subject": "abc", "Authorization": "Bearer secret"}
        path = "/v1/models/half/labels/stable:predict"
        ask(server, "POST", path, {"instances": [1]}, **headers)
        ask(server, "POST", REGRESS, asked("regress_x_to_y", examples=[{"x": 2.0}]))
        ask(server, "POST", PREDICT, {"instances": ["no number"]})
        ask(server, "POST", PREDICT, asked("refuses_internal", instances=[1]))
        ask(server, "GET", "/v1/models/half", None)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        metadata = (("x-subject", "abc"), ("authorization", "Bearer secret"))
        request = predict_request(x=ONE)
        request.model_spec.version_label = "stable"
        stub.Predict(request, metadata=metadata)
        regression = with_examples(regression_pb2.RegressionRequest, "regress_x_to_y", 2)
        stub.Regress(regression)
        eventually(lambda: len(notes.notes) == 4)
    rest, rest_regress, rpc, rpc_regress = notes.notes
    for note in (rest, rpc):
        assert (note["model"], note["version"], note["label"]) == ("half", 1, "stable")
        assert note["signature"] == "serving_default"
        assert note["inputs"]["x"].tolist() == [1]
        assert note["outputs"]["y"].tolist() == [2.5]
        assert note["metadata"]["x-subject"] == "abc"
        assert "authorization" not in note["metadata"]
    for note in (rest_regress, rpc_regress):
        assert (note["version"], note["label"]) == (2, None)
        assert len(note["inputs"]["inputs"]) == 1
        assert note["outputs"]["outputs"].tolist() == [[3]]


def test_an_observer_that_fails_fails_nobody_else() -> None:
    with (
        serving(observer=Notes(RuntimeError("disk full"))) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel,
    ):
        assert ask(server, "POST", PREDICT, {"instances": [1]})[0] == 200
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(predict_request(x=ONE))
        eventually(lambda: server.server.metrics.observer_failures == 2)


def test_counts_under_tensorflow_servings_names() -> None:
    options = ServerOptions(rest_port=0, grpc_port=0, metrics_path="/metrics")
    with (
        serving(options) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        ask(server, "POST", PREDICT, {"instances": [1]})
        ask(server, "POST", PREDICT, {"instances": []})
        ask(server, "POST", "/v1/models/made-up:predict", {"instances": [1]})
        ask(server, "POST", REGRESS, asked("regress_x_to_y", examples=[{"x": 2.0}] * 3))
        stub.Predict(predict_request(x=ONE))
        with pytest.raises(grpc.RpcError):
            stub.Predict(predict_request("nobody", x=ONE))
        status, headers, page = ask(server, "GET", "/metrics", None)
    lines = page.decode().splitlines()
    assert (status, headers["content-type"]) == (200, "text/plain")
    count = ":tensorflow:serving:request_count"
    assert f"# TYPE {count} counter" in lines
    assert f'{count}{{model_name="half",status="OK"}} 3' in lines
    assert f'{count}{{model_name="half",status="INVALID_ARGUMENT"}} 1' in lines
    assert f'{count}{{model_name="half",status="FAILED_PRECONDITION"}} 1' in lines
    assert f'{count}{{model_name="",status="NOT_FOUND"}} 1' in lines, "callers make no labels"
    latency = ":tensorflow:serving:request_latency"
    for labels in (
        'model_name="half",API="predict",entrypoint="REST"',
        'model_name="half",API="regress",entrypoint="REST"',
        'model_name="half",API="Predict",entrypoint="GRPC"',
    ):
        assert f"{latency}_count{{{labels}}} 1" in lines
        assert f'{latency}_bucket{{{labels},le="+Inf"}} 1' in lines
    runtime = (
        ':tensorflow:serving:runtime_latency_count{model_name="half",API="Predict",runtime="TF1"}'
    )
    assert f"{runtime} 2" in lines
    assert ':tensorflow:serving:request_example_count_total{model="half"} 3' in lines
    assert ':tensorflow:serving:request_example_counts_bucket{model="half",le="4"} 1' in lines
    assert "learnloop_serving_rest_connections{} 1" in lines


def test_the_page_is_prometheuss_format() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    metrics = Metrics()
    metrics.answered('a"b\\c\nd', "predict", "REST", [0.001])
    metrics.gave_examples("m", 5)
    with asyncio.Runner() as runner:
        metrics.ran(MemoryServable("m", 3, runner.get_loop()), "Predict", 0.5)
    families = {family.name: family for family in text_string_to_metric_families(metrics.page())}
    samples = {s.name: s for s in families[":tensorflow:serving:request_count"].samples}
    (sample,) = samples.values()
    assert (sample.labels["model_name"], sample.value) == ('a"b\\c\nd', 1)
    assert families[":tensorflow:serving:request_latency"].type == "histogram"


def test_histograms_have_tensorflow_servings_buckets() -> None:
    """util.cc: Exponential(10, 1.8, 33)."""
    histogram = Histogram(tuple(10 * 1.8**power for power in range(32)))
    histogram.add(12)
    lines = list(histogram.lines("h", ""))
    assert len(lines) == 33 + 2
    assert lines[0] == 'h_bucket{,le="10"} 0'
    assert lines[1] == 'h_bucket{,le="18"} 1'
    assert lines[-2:] == ["h_sum{} 12", "h_count{} 1"]
