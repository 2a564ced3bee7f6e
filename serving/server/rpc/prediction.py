"""``tensorflow.serving.PredictionService``.

Handlers take and give bytes: the messages are read and written here, so that nothing between the
socket and the arrays is done twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from serving.server.contract import (
    Code,
    Models,
    Observer,
    Servable,
    ServingError,
    Tensors,
)
from serving.server.examples import (
    CLASSIFY,
    DEFAULT_SIGNATURE,
    INPUTS,
    REGRESS,
    classification_outputs,
    classifications,
    examples_array,
    examples_of,
    regression_outputs,
    regressions,
    signature_named,
)
from serving.server.metrics import Metrics
from serving.server.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.server.rpc.guard import Guard, metadata_of
from serving.server.tensors import array_of, write_fields

SERVICE = "tensorflow.serving.PredictionService"
SIGNATURE_FIELD = "signature_def"
_WAITING_SECONDS = 10e-6
"""What it costs a call in a crowd to wait for the others: each has a task that is woken again."""
_clock = time.perf_counter

Handler = Callable[[bytes, Any], Awaitable[bytes]]


def _refuse(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def read_message(kind: Any, raw: bytes) -> Any:
    """Read a message.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: the bytes are none of this kind.
    """
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise _refuse(f"The bytes are no {kind.DESCRIPTOR.full_name}.") from None


def find(models: Models, spec: Any) -> Servable:
    """Find what a ``ModelSpec`` names.

    Raises:
        ServingError: There is none.
    """
    if not spec.name:
        raise _refuse("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    if choice is None:
        return models.find(spec.name)
    if choice == "version":
        return models.find(spec.name, spec.version.value)
    return models.find(spec.name, label=spec.version_label)


class PredictionService:
    """Answers predictions.

    Args:
        models: What can be asked.
        metrics: What is counted.
        guard: Turns refusals into statuses.
        observer: Is told of every prediction that was sent.
    """

    def __init__(
        self, models: Models, metrics: Metrics, guard: Guard, observer: Observer | None = None
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self.handlers: Mapping[str, Handler] = {
            name: guard(handler)
            for name, handler in {
                "Predict": self._predict,
                "Classify": self._classify,
                "Regress": self._regress,
                "MultiInference": self._multi_inference,
                "GetModelMetadata": self._metadata,
            }.items()
        }

    async def _predict(self, raw: bytes, context: Any) -> bytes:
        started = _clock()
        request = read_message(predict_pb2.PredictRequest, raw)
        spec = request.model_spec
        try:
            servable = find(self._models, spec)
            name = spec.signature_name or DEFAULT_SIGNATURE
            signature = servable.signatures.get(name)
            if signature is None:
                raise ServingError(
                    Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
                )
            inputs = {alias: _array(alias, tensor) for alias, tensor in request.inputs.items()}
            if not inputs.keys() <= signature.inputs.keys():
                unknown = min(inputs.keys() - signature.inputs.keys())
                if len(inputs) == len(signature.inputs):
                    raise _refuse(
                        f"input tensor alias not found in signature: {unknown}. Inputs expected "
                        f"to be in the set {{{','.join(sorted(signature.inputs))}}}."
                    )
            outputs = tuple(request.output_filter)
            if len(set(outputs)) < len(outputs):
                twice = next(alias for alias in outputs if outputs.count(alias) > 1)
                raise _refuse(f"duplicate output tensor alias: {twice}")
            answer = await self._run("Predict", servable, name, inputs, outputs, context)
            response = predict_pb2.PredictResponse()
            _write_spec(response.model_spec, servable, name)
            for alias, array in answer.items():
                write_fields(array, response.outputs[alias])
            message: bytes = response.SerializeToString()
        except ServingError as error:
            self._refused(spec.name, error)
            raise
        seconds = _clock() - started
        self._metrics.answered(spec.name, "Predict", "GRPC", [seconds])
        self._tell(spec, servable, name, inputs, answer, context, seconds)
        return message

    async def _classify(self, raw: bytes, context: Any) -> bytes:
        request = read_message(classification_pb2.ClassificationRequest, raw)
        response = classification_pb2.ClassificationResponse()
        await self._infer("Classify", CLASSIFY, request, response, context)
        return bytes(response.SerializeToString())

    async def _regress(self, raw: bytes, context: Any) -> bytes:
        request = read_message(regression_pb2.RegressionRequest, raw)
        response = regression_pb2.RegressionResponse()
        await self._infer("Regress", REGRESS, request, response, context)
        return bytes(response.SerializeToString())

    async def _infer(
        self, api: str, method: str, request: Any, response: Any, context: Any
    ) -> None:
        started = _clock()
        spec = request.model_spec
        try:
            servable = find(self._models, spec)
            name = spec.signature_name or DEFAULT_SIGNATURE
            outputs = _outputs(method, signature_named(servable, name))
            inputs = {INPUTS: examples_array(examples_of(request.input))}
            answer = await self._run(api, servable, name, inputs, outputs, context)
            _write_result(method, response.result, answer, len(inputs[INPUTS]))
            _write_spec(response.model_spec, servable, name)
        except ServingError as error:
            self._refused(spec.name, error)
            raise
        self._metrics.gave_examples(spec.name, len(inputs[INPUTS]))
        seconds = _clock() - started
        self._metrics.answered(spec.name, api, "GRPC", [seconds])
        self._tell(spec, servable, name, inputs, answer, context, seconds)

    async def _multi_inference(self, raw: bytes, context: Any) -> bytes:
        request = read_message(inference_pb2.MultiInferenceRequest, raw)
        if not request.tasks:
            raise _refuse("Inference request must contain at least one task.")
        servable = find(self._models, request.tasks[0].model_spec)
        asked = _tasks(servable, request.tasks)
        inputs = {INPUTS: examples_array(examples_of(request.input))}
        count = len(inputs[INPUTS])
        # Each of them joins a batch of its signature; one after another would wait for each.
        answers = await asyncio.gather(
            *(
                self._run("MultiInference", servable, name, inputs, outputs, context)
                for name, _, outputs in asked
            )
        )
        response = inference_pb2.MultiInferenceResponse()
        for (name, method, _), answer in zip(asked, answers, strict=True):
            result = response.results.add()
            field = "classification_result" if method == CLASSIFY else "regression_result"
            _write_result(method, getattr(result, field), answer, count)
            _write_spec(result.model_spec, servable, name)
        self._metrics.gave_examples(servable.model, count)
        return bytes(response.SerializeToString())

    async def _metadata(self, raw: bytes, context: Any) -> bytes:
        request = read_message(get_model_metadata_pb2.GetModelMetadataRequest, raw)
        if not request.HasField("model_spec"):
            raise _refuse("Missing ModelSpec")
        if not request.metadata_field:
            raise _refuse("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_FIELD:
                raise _refuse(f"Metadata field {field} is not supported")
        servable = find(self._models, request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.model
        response.model_spec.version.value = servable.version
        packed = response.metadata[SIGNATURE_FIELD]
        packed.type_url = (
            "type.googleapis.com/" + get_model_metadata_pb2.SignatureDefMap.DESCRIPTOR.full_name
        )
        packed.value = servable.meta_graph
        return bytes(response.SerializeToString())

    async def _run(
        self,
        api: str,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        context: Any,
    ) -> Tensors:
        remaining = context.time_remaining()
        deadline = None if remaining is None else self._loop.time() + remaining
        asked = _clock()
        answer = servable.answer_now(signature, inputs, outputs, deadline, _WAITING_SECONDS)
        if answer is None:
            try:
                answer = await servable.run(signature, inputs, outputs, deadline=deadline)
            except ServingError as error:
                answer = error
        if isinstance(answer, ServingError):
            self._metrics.failed(servable, answer.code)
            raise answer
        self._metrics.ran(servable, api, _clock() - asked)
        return answer

    def _refused(self, model: str, error: ServingError) -> None:
        try:
            self._models.statuses(model)
        except ServingError:
            model = ""  # callers must not make label values
        self._metrics.refused(model, error.code)

    def _tell(
        self,
        spec: Any,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        outputs: Tensors,
        context: Any,
        seconds: float,
    ) -> None:
        if self._observer is None:
            return
        observer, metadata = self._observer, metadata_of(context)
        label = spec.version_label or None

        def tell() -> None:
            try:
                observer(
                    model=servable.model,
                    version=servable.version,
                    label=label,
                    signature=signature,
                    inputs=inputs,
                    outputs=outputs,
                    metadata=metadata,
                    seconds=seconds,
                )
            except Exception:
                self._metrics.observer_failures += 1

        context.add_done_callback(lambda _: tell())


def _array(alias: str, tensor: Any) -> Any:
    try:
        return array_of(tensor)
    except (ServingError, ValueError, OverflowError):
        raise _refuse(f"tensor parsing error: {alias}") from None


def _outputs(method: str, signature: Any) -> tuple[str, ...]:
    return (
        classification_outputs(signature) if method == CLASSIFY else regression_outputs(signature)
    )


def _tasks(servable: Servable, tasks: Sequence[Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Check the tasks of a MultiInference; gives each one's signature, method and outputs."""
    asked: list[tuple[str, str, tuple[str, ...]]] = []
    tensor_names = set()
    for task in tasks:
        spec, method = task.model_spec, task.method_name
        name = spec.signature_name or DEFAULT_SIGNATURE
        if not spec.name:
            raise _refuse("Found ModelSpec with an empty model name.")
        if spec.name != servable.model:
            raise _refuse(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        if any(name == other for other, _, _ in asked):
            raise _refuse(f"Duplicate evaluation of signature: {name}")
        signature = servable.signatures.get(name)
        if signature is None:
            raise _refuse(f"Requested signature not found in model graph: {name}")
        if method not in (CLASSIFY, REGRESS):
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")
        asked.append((name, method, _outputs(method, signature)))
        tensor_names.add(signature.inputs[INPUTS].name)
    if len(tensor_names) > 1:
        raise _refuse("Input tensor must be the same for all Signatures.")
    return asked


def _write_result(method: str, result: Any, answer: Tensors, count: int) -> None:
    if method == REGRESS:
        for value in regressions(answer, count).tolist():
            result.regressions.add(value=value)
        return
    for classes in classifications(answer, count):
        one = result.classifications.add()
        for label, score in classes:
            one.classes.add(label=label.decode("utf-8", "replace"), score=float(score))


def _write_spec(spec: Any, servable: Servable, signature: str) -> None:
    spec.name = servable.model
    spec.version.value = servable.version
    spec.signature_name = signature
