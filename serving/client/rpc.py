"""Questions over TensorFlow Serving's gRPC API.

The stubs' paths and messages are TensorFlow Serving's own; the classes come from
:mod:`serving.server.protos`, so TensorFlow is not imported. gRPC's own retries are switched off:
what is counted here is all that is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from learnloop.errors import UsageError
from serving.client.endpoint import Endpoint, Security
from serving.client.question import Answer, Failure, Question, Row, Signatures, Statuses
from serving.server.contract import Code, Signature, TensorSpec, VersionState, VersionStatus

_PREDICTIONS = "/tensorflow.serving.PredictionService/"
_MODELS = "/tensorflow.serving.ModelService/"
_METHODS = {
    "predict": _PREDICTIONS + "Predict",
    "classify": _PREDICTIONS + "Classify",
    "regress": _PREDICTIONS + "Regress",
    "metadata": _PREDICTIONS + "GetModelMetadata",
    "status": _MODELS + "GetModelStatus",
}
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A server that comes back is found at once; how often to knock is the circuit's affair.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
)


def message_of(question: Question) -> Any:
    """Write a question as the request's message.

    Raises:
        UsageError: A value does not fit its input.
    """
    from serving.server.protos import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        predict_pb2,
        regression_pb2,
    )

    kinds = {
        "predict": predict_pb2.PredictRequest,
        "classify": classification_pb2.ClassificationRequest,
        "regress": regression_pb2.RegressionRequest,
        "metadata": get_model_metadata_pb2.GetModelMetadataRequest,
        "status": get_model_status_pb2.GetModelStatusRequest,
    }
    message = kinds[question.operation]()
    message.model_spec.name = question.model
    message.model_spec.signature_name = question.signature
    if question.version is not None:
        message.model_spec.version.value = question.version
    elif question.label:
        message.model_spec.version_label = question.label
    match question.operation:
        case "metadata":
            message.metadata_field.append("signature_def")
        case "predict":
            _add_inputs(message, question)
        case "classify" | "regress":
            _add_examples(message, question.examples)
    return message


def answer_of(question: Question, message: Any) -> Answer:
    """Read the response's message.

    Args:
        question: What was asked.
        message: What came.
    """
    if question.operation == "status":
        return Answer(_statuses(message))
    version = message.model_spec.version.value or None
    match question.operation:
        case "predict":
            return Answer({n: _values(n, t) for n, t in message.outputs.items()}, version)
        case "classify":
            rows = message.result.classifications
            return Answer([{c.label: c.score for c in row.classes} for row in rows], version)
        case "regress":
            return Answer([row.value for row in message.result.regressions], version)
    return Answer(_signatures(message), version)


class _Sender:
    """What both senders share: the channel's options, and what a fault means."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self._endpoint = endpoint
        self._security = security
        self._calls: dict[str, Callable[..., Any]] = {}

    def _open(self, grpc_module: Any) -> Any:
        import grpc

        target = self._endpoint.target
        if not self._endpoint.is_encrypted:
            return grpc_module.insecure_channel(target, options=_OPTIONS)
        credentials = grpc.ssl_channel_credentials(*self._security.pem())
        return grpc_module.secure_channel(target, credentials, options=_OPTIONS)

    def _call(self, channel: Any, question: Question) -> Callable[..., Any]:
        operation = question.operation
        if operation not in self._calls:
            self._calls[operation] = channel.unary_unary(
                _METHODS[operation],
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=_response(operation).FromString,
            )
        return self._calls[operation]

    def _metadata(self, question: Question) -> list[tuple[str, str]]:
        return list({**(question.headers or {}), **self._endpoint.authorization()}.items())


class RpcSender(_Sender):
    """Sends questions over one channel; safe for threads."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        import grpc

        super().__init__(endpoint, security)
        self._channel = self._open(grpc)

    def send(self, question: Question, seconds: float) -> Answer | Failure:
        """Send a question once.

        Args:
            question: The question.
            seconds: How long it may take; the server is told.
        """
        import grpc

        call = self._call(self._channel, question)
        try:
            message = call(message_of(question), timeout=seconds, metadata=self._metadata(question))
        except grpc.RpcError as fault:
            return _failure_of(fault)
        return answer_of(question, message)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class AsyncRpcSender(_Sender):
    """Sends questions over one channel, on an event loop."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        import grpc.aio

        super().__init__(endpoint, security)
        self._channel = self._open(grpc.aio)

    async def send(self, question: Question, seconds: float) -> Answer | Failure:
        """Send a question once.

        Args:
            question: The question.
            seconds: How long it may take; the server is told.
        """
        import grpc

        call = self._call(self._channel, question)
        try:
            message = await call(
                message_of(question), timeout=seconds, metadata=self._metadata(question)
            )
        except grpc.RpcError as fault:
            return _failure_of(fault)
        return answer_of(question, message)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


def _failure_of(fault: Any) -> Failure:
    details = fault.details() or "no details"
    try:
        code = Code(fault.code().value[0])
    except ValueError:
        code = Code.UNKNOWN
    asked = dict(fault.trailing_metadata() or ()).get("retry-after")
    try:
        retry_after = None if asked is None else max(0.0, float(asked))
    except ValueError:
        retry_after = None
    is_unreachable = code is Code.UNAVAILABLE and "failed to connect" in details.lower()
    return Failure(code, details, retry_after, is_unreachable=is_unreachable)


def _response(operation: str) -> Any:
    from serving.server.protos import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        predict_pb2,
        regression_pb2,
    )

    return {
        "predict": predict_pb2.PredictResponse,
        "classify": classification_pb2.ClassificationResponse,
        "regress": regression_pb2.RegressionResponse,
        "metadata": get_model_metadata_pb2.GetModelMetadataResponse,
        "status": get_model_status_pb2.GetModelStatusResponse,
    }[operation]


def _add_inputs(message: Any, question: Question) -> None:
    from serving.server.tensors import proto_of

    assert question.columns is not None
    assert question.specification is not None
    for name, values in question.columns.items():
        array = _array(name, values, question.specification.inputs[name])
        message.inputs[name].CopyFrom(proto_of(array))


def _array(name: str, values: Any, spec: TensorSpec) -> Any:
    """Turn values into an array of the input's type; never cuts a fraction off."""
    import numpy as np

    from serving.server.tensors import NUMPY_TYPES

    dtype = NUMPY_TYPES[spec.dtype]
    try:
        if dtype.hasobject:
            array = np.array(values, object)
            flat = [_bytes(value) for value in array.ravel().tolist()]
            filled = np.empty(len(flat), object)
            filled[:] = flat
            return filled.reshape(array.shape)
        array = np.asarray(values)
        return array.astype(dtype, casting="same_kind" if array.size else "unsafe")
    except (TypeError, ValueError) as fault:
        raise UsageError(
            f"The values of input '{name}' do not fit it.",
            where=spec.name,
            expected=f"{'text' if dtype.hasobject else dtype.name} in rows of equal length",
            received=_without_values(fault),
        ) from None


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise TypeError(f"Cannot cast {type(value).__name__} to text")
    return value


def _without_values(fault: Exception) -> str:
    """Say what numpy met, but not with which value: that may be a learner's."""
    text = str(fault)
    if text.startswith("Cannot cast"):
        return text
    return "rows of unequal length" if "inhomogeneous" in text else "values of another type"


def _add_examples(message: Any, rows: Sequence[Row]) -> None:
    for row in rows:
        features = message.input.example_list.examples.add().features.feature
        for name, value in row.items():
            _add_feature(features[name], name, value)


def _add_feature(feature: Any, name: str, value: Any) -> None:
    plain = value.tolist() if hasattr(value, "tolist") else value
    values = list(plain) if isinstance(plain, (list, tuple)) else [plain]
    if all(isinstance(item, (str, bytes)) for item in values):
        texts = [item.encode() if isinstance(item, str) else item for item in values]
        feature.bytes_list.value.extend(texts)
    elif all(isinstance(item, int) for item in values):
        feature.int64_list.value.extend(values)
    elif all(isinstance(item, (int, float)) for item in values):
        feature.float_list.value.extend(values)
    else:
        raise UsageError(
            f"The values of feature '{name}' do not fit a tf.Example.",
            expected="whole numbers, numbers, or texts",
            received=", ".join(sorted({type(item).__name__ for item in values})),
        )


def _values(name: str, tensor: Any) -> list[Any]:
    """Read an output as REST would give it: texts unless the name ends in ``_bytes``."""
    from serving.server.tensors import array_of

    array = array_of(tensor)
    values: list[Any] = array.tolist()
    return _texts(values) if array.dtype.hasobject and not name.endswith("_bytes") else values


def _texts(values: Any) -> Any:
    if isinstance(values, list):
        return [_texts(value) for value in values]
    return values.decode("utf-8", "replace")


def _statuses(message: Any) -> Statuses:
    return [
        VersionStatus(
            entry.version,
            VersionState(entry.state),
            entry.status.error_code,
            entry.status.error_message,
        )
        for entry in message.model_version_status
    ]


def _signatures(message: Any) -> Signatures:
    from serving.server.protos import get_model_metadata_pb2

    found = get_model_metadata_pb2.SignatureDefMap()
    message.metadata["signature_def"].Unpack(found)
    return {
        name: Signature(
            signature.method_name,
            {key: _spec(tensor) for key, tensor in signature.inputs.items()},
            {key: _spec(tensor) for key, tensor in signature.outputs.items()},
            {},
        )
        for name, signature in found.signature_def.items()
    }


def _spec(tensor: Any) -> TensorSpec:
    shape = tensor.tensor_shape
    sizes = None if shape.unknown_rank else tuple(size.size for size in shape.dim)
    return TensorSpec(tensor.name, tensor.dtype, sizes)
