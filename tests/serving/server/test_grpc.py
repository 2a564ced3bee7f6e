"""The gRPC API through the official stubs, unmodified, with every refusal's words."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server.app import ServerOptions
from serving.server.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.server.tensors import array_of, proto_of
from tests.serving.server.memory import CLASSIFY, REGRESS, ThreadedServer, eventually, serving

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def channel(memory_server: ThreadedServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{memory_server.ports.grpc}") as channel:
        yield channel


@pytest.fixture(scope="module")
def predictions(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def management(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict_request(signature: str = "", model: str = "half", **inputs: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(proto_of(np.asarray(array)))
    return request


def with_examples(kind: Any, signature: str, *values: float, model: str = "half") -> Any:
    request = kind()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


def refusal(call: Callable[[Any], Any], request: Any) -> tuple[Code, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    return caught.value.code(), caught.value.details()


ONE = np.float32([1])


def test_predicts_and_says_who_answered(predictions: Any) -> None:
    response = predictions.Predict(predict_request(x=np.float32([1, 2])))
    assert response.model_spec.name == "half"
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_default"
    tensor = response.outputs["y"]
    # predict_util.cc answers by typed fields; clients read float_val.
    assert (list(tensor.float_val), tensor.tensor_content) == ([2.5, 3.0], b"")
    assert [dim.size for dim in tensor.tensor_shape.dim] == [2]


def test_asks_one_version_or_a_label(predictions: Any) -> None:
    request = predict_request(x=ONE)
    request.model_spec.version.value = 1
    assert predictions.Predict(request).model_spec.version.value == 1
    request.model_spec.version_label = "stable"
    assert predictions.Predict(request).model_spec.version.value == 1


def test_answers_only_what_is_asked_for(predictions: Any) -> None:
    request = predict_request(
        "mixed", x=np.float32([[1, 2]]), i=np.int64([3]), s=np.array([b"a"], object)
    )
    request.output_filter.extend(["i", "s_bytes"])
    outputs = predictions.Predict(request).outputs
    assert set(outputs) == {"i", "s_bytes"}
    assert (list(outputs["i"].int64_val), list(outputs["s_bytes"].string_val)) == ([3], [b"a"])


def _filtered(*outputs: str) -> Any:
    request = predict_request(x=ONE)
    request.output_filter.extend(outputs)
    return request


def _unparsable() -> Any:
    request = predict_request(x=ONE)
    request.inputs["x"].tensor_content = b"abc"
    return request


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (
            lambda: predict_request(model="", x=ONE),
            Code.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        (
            lambda: predict_request(model="none", x=ONE),
            Code.NOT_FOUND,
            "Servable not found for request: Latest(none)",
        ),
        (
            lambda: predict_request("nobody", x=ONE),
            Code.FAILED_PRECONDITION,
            'Serving signature key "nobody" not found.',
        ),
        (
            lambda: predict_request(z=ONE),
            Code.INVALID_ARGUMENT,
            "input tensor alias not found in signature: z. Inputs expected to be in the set {x}.",
        ),
        (_unparsable, Code.INVALID_ARGUMENT, "tensor parsing error: x"),
        (
            lambda: _filtered("y", "y"),
            Code.INVALID_ARGUMENT,
            "duplicate output tensor alias: y",
        ),
        (lambda: predict_request("unforeseen", x=ONE), Code.INTERNAL, "Internal error."),
        *(
            (
                lambda code=code: predict_request(f"refuses_{code.name.lower()}", x=ONE),
                code,
                f"The model says {code.name}.",
            )
            for code in Code
            if code is not Code.OK
        ),
    ],
)
def test_refuses_predictions(
    predictions: Any, make: Callable[[], Any], code: Code, message: str
) -> None:
    assert refusal(predictions.Predict, make()) == (code, message)


def test_refuses_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    message = "The bytes are no tensorflow.serving.PredictRequest."
    assert refusal(call, b"\xff\xff") == (Code.INVALID_ARGUMENT, message)


def test_classifies(predictions: Any) -> None:
    request = with_examples(
        classification_pb2.ClassificationRequest, "classify_labelled", 0.25, 0.5
    )
    response = predictions.Classify(request)
    assert [
        [(c.label, c.score) for c in one.classes] for one in response.result.classifications
    ] == [[("fail", 0.25), ("pass", 0.75)], [("fail", 0.5), ("pass", 0.5)]]
    assert response.model_spec.signature_name == "classify_labelled"
    assert response.model_spec.version.value == 2


def test_regresses_with_a_context(predictions: Any) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "half"
    request.model_spec.signature_name = "regress_x_to_y"
    listed = request.input.example_list_with_context
    listed.context.features.feature["x"].float_list.value.append(80)
    listed.examples.add()
    listed.examples.add().features.feature["x"].float_list.value.append(2)
    response = predictions.Regress(request)
    assert [r.value for r in response.result.regressions] == [42, 3]


@pytest.mark.parametrize(
    ("method", "kind", "signature", "message"),
    [
        ("Classify", classification_pb2.ClassificationRequest, "nobody",
         "No signature was found with the name: nobody"),
        ("Classify", classification_pb2.ClassificationRequest, "mixed",
         "Expected one input Tensor."),
        ("Classify", classification_pb2.ClassificationRequest, "regress_x_to_y",
         "Expected classification signature outputs to contain at least one of "
         '"classes" or "scores".'),
        ("Regress", regression_pb2.RegressionRequest, "classify_x_to_y",
         "No regression outputs found in SignatureDef"),
    ],
)  # fmt: skip
def test_refuses_signatures_of_another_kind(
    predictions: Any, method: str, kind: Any, signature: str, message: str
) -> None:
    request = with_examples(kind, signature, 1.0)
    assert refusal(getattr(predictions, method), request) == (Code.INVALID_ARGUMENT, message)


def test_refuses_no_examples(predictions: Any) -> None:
    request = with_examples(regression_pb2.RegressionRequest, "regress_x_to_y")
    assert refusal(predictions.Regress, request) == (Code.INVALID_ARGUMENT, "Input is empty.")


def multi_request(*tasks: tuple[str, str, str]) -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = model
        task.model_spec.signature_name = signature
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(2)
    return request


def test_infers_several_at_once(predictions: Any) -> None:
    response = predictions.MultiInference(
        multi_request(("half", "regress_x_to_y", REGRESS), ("half", "classify_x_to_y", CLASSIFY))
    )
    first, second = response.results
    assert [r.value for r in first.regression_result.regressions] == [3]
    assert second.classification_result.classifications[0].classes[0].score == 3
    assert [r.model_spec.signature_name for r in response.results] == [
        "regress_x_to_y",
        "classify_x_to_y",
    ]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], Code.INVALID_ARGUMENT, "Inference request must contain at least one task."),
        ([("half", "regress_x_to_y", REGRESS)] * 2, Code.INVALID_ARGUMENT,
         "Duplicate evaluation of signature: regress_x_to_y"),
        ([("half", "regress_x_to_y", REGRESS), ("other", "x", REGRESS)], Code.INVALID_ARGUMENT,
         "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ([("half", "regress_x_to_y", REGRESS), ("", "x", REGRESS)], Code.INVALID_ARGUMENT,
         "Found ModelSpec with an empty model name."),
        ([("half", "nobody", REGRESS)], Code.INVALID_ARGUMENT,
         "Requested signature not found in model graph: nobody"),
        ([("half", "regress_x_to_y", "guess")], Code.UNIMPLEMENTED,
         "Unsupported signature method_name: guess"),
    ],
)  # fmt: skip
def test_refuses_several_at_once(
    predictions: Any, tasks: list[tuple[str, str, str]], code: Code, message: str
) -> None:
    assert refusal(predictions.MultiInference, multi_request(*tasks)) == (code, message)


def test_gives_the_signatures(predictions: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half"
    response = predictions.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].name == "x:0"
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 2)


def _metadata_request(*fields: str, model: str = "half") -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if model:
        request.model_spec.name = model
    return request


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (_metadata_request("signature_def", model=""), "Missing ModelSpec"),
        (_metadata_request(),
         "GetModelMetadataRequest must specify at least one metadata_field"),
        (_metadata_request("other"), "Metadata field other is not supported"),
    ],
)  # fmt: skip
def test_refuses_other_metadata(predictions: Any, request_: Any, message: str) -> None:
    assert refusal(predictions.GetModelMetadata, request_) == (Code.INVALID_ARGUMENT, message)


def status_request(model: str, version: int = 0, label: str = "") -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    return request


def test_tells_where_versions_stand(management: Any) -> None:
    def told(request: Any) -> list[tuple[int, int, int, str]]:
        return [
            (s.version, s.state, s.status.error_code, s.status.error_message)
            for s in management.GetModelStatus(request).model_version_status
        ]

    assert told(status_request("half")) == [
        (3, 50, 5, "no saved_model.pb"),
        (2, 30, 0, ""),
        (1, 30, 0, ""),
    ]
    assert told(status_request("half", label="stable")) == [(1, 30, 0, "")]
    assert told(status_request("half", version=2)) == [(2, 30, 0, "")]


def test_refuses_to_tell_of_what_is_not_there(management: Any) -> None:
    assert refusal(management.GetModelStatus, status_request("none")) == (
        Code.NOT_FOUND,
        "Could not find any versions of model none",
    )
    assert refusal(management.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()) == (
        Code.INVALID_ARGUMENT,
        "Missing ModelSpec",
    )


def test_reloads(memory_server: ThreadedServer, management: Any) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="m", base_path="/m")
    response = management.HandleReloadConfigRequest(request)
    assert response.status.error_code == 0
    assert memory_server.models.reloaded == [request.config.SerializeToString()]
    request.config.model_config_list.config.add(name="bad")
    assert refusal(management.HandleReloadConfigRequest, request) == (
        Code.INVALID_ARGUMENT,
        "Expected a name.",
    )
    assert refusal(
        management.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()
    ) == (
        Code.INVALID_ARGUMENT,
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    )


def test_is_healthy(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_tells_of_its_services_by_reflection(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="tensorflow.serving.PredictionService"
        ),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="tensorflow.serving.PredictRequest"
        ),
    ]
    services, service, message = stub.ServerReflectionInfo(iter(questions))
    assert {s.name for s in services.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    assert service.file_descriptor_response.file_descriptor_proto
    assert message.file_descriptor_response.file_descriptor_proto


def test_honours_deadlines() -> None:
    with (
        serving() as server,
        grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        deadlines: list[float | None] = []
        servable = server.models.servables[1]
        original = servable.submit

        def submit(signature: str, inputs: Any, outputs: Any, deadline: Any, done: Any) -> None:
            deadlines.append(None if deadline is None else deadline - server._loop.time())
            original(signature, inputs, outputs, deadline, done)

        servable.submit = submit  # type: ignore[method-assign]
        request = predict_request(x=ONE)
        request.model_spec.version.value = 1
        stub.Predict(request)
        stub.Predict(request, timeout=100)
        assert deadlines[0] is None
        assert deadlines[1] is not None
        assert 40 < deadlines[1] <= 102


def test_the_end_finishes_what_is_in_flight_and_waits_for_no_watcher() -> None:
    """gRPC would cancel a call that arrives while it stops, and wait for watchers all the time."""
    options = ServerOptions(rest_port=0, grpc_port=0, drain_seconds=250)
    with (
        serving(options) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel,
        socket.create_connection(("127.0.0.1", server.ports.grpc), 60),
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        servable = server.models.servables[2]
        servable.held = []
        call = stub.Predict.future(predict_request(x=ONE))
        eventually(lambda: bool(servable.held))
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        ending = threading.Thread(target=lambda: server.call(server.server.drain()))
        ending.start()
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING

        def ask_briefly(request: Any, timeout: float) -> Any:
            return stub.Predict(request, timeout=1)

        stopping = (Code.UNAVAILABLE, "The server is stopping")
        eventually(lambda: refusal(ask_briefly, predict_request(x=ONE)) == stopping)
        held, servable.held = servable.held, None
        server.do(held[0])
        assert list(call.result(60).outputs["y"].float_val) == [2.5]
        ending.join(60)
        assert not ending.is_alive()


@pytest.mark.parametrize("size", [1 << 20, (64 << 20) + 1])
def test_takes_messages_up_to_its_limit(predictions: Any, size: int) -> None:
    request = predict_request("text", s=np.array([b"a" * size], object))
    if size <= 64 << 20:
        assert predictions.Predict(request).outputs["s"].string_val[0] == b"a" * size
    else:
        assert refusal(predictions.Predict, request)[0] == Code.RESOURCE_EXHAUSTED


EVERY = {
    "DT_FLOAT": np.float32([0, -1.5, np.inf, np.nan]),
    "DT_DOUBLE": np.float64([0, -1.5, 1e300]),
    "DT_INT32": np.int32([-(2**31), 2**31 - 1]),
    "DT_UINT8": np.uint8([0, 255]),
    "DT_INT16": np.int16([-(2**15), 2**15 - 1]),
    "DT_INT8": np.int8([-128, 127]),
    "DT_STRING": np.array([b"", b"\xff\x00"], object),
    "DT_COMPLEX64": np.complex64([1 + 2j, -3j]),
    "DT_INT64": np.int64([-(2**63), 2**63 - 1]),
    "DT_BOOL": np.bool_([True, False]),
    "DT_UINT16": np.uint16([0, 65535]),
    "DT_COMPLEX128": np.complex128([1 + 2j, -3j]),
    "DT_HALF": np.float16([0, -1.5, np.inf]),
    "DT_UINT32": np.uint32([0, 2**32 - 1]),
    "DT_UINT64": np.uint64([0, 2**64 - 1]),
}


@pytest.mark.parametrize("dtype", EVERY)
def test_gives_every_dtype_back_bit_by_bit(predictions: Any, dtype: str) -> None:
    by_content = predictions.Predict(predict_request(f"echo_{dtype}", x=EVERY[dtype]))
    answered = by_content.outputs["y"]
    assert not answered.tensor_content
    by_fields = predict_request(f"echo_{dtype}")
    by_fields.inputs["x"].CopyFrom(answered)
    for tensor in (answered, predictions.Predict(by_fields).outputs["y"]):
        array = array_of(tensor)
        assert array.dtype == EVERY[dtype].dtype
        assert array.tolist() == EVERY[dtype].tolist() or array.tobytes() == EVERY[dtype].tobytes()
