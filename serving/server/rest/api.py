"""Answers questions that came by REST.

Nothing here waits: what the model cannot answer at once is put to its queue with what is to be done
with the answer, and the event loop goes on. That spares every request a task and a future.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
import weakref
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict

from serving.server.contract import (
    Code,
    Models,
    Observer,
    Servable,
    ServingError,
    Signature,
    Tensors,
    VersionState,
)
from serving.server.examples import (
    DEFAULT_SIGNATURE,
    INPUTS,
    classification_outputs,
    classifications,
    examples_array,
    regression_outputs,
    regressions,
    signature_named,
)
from serving.server.metrics import PAGE_PATH, Metrics
from serving.server.protos import error_codes_pb2, get_model_metadata_pb2
from serving.server.rest import rows
from serving.server.rest.answers import HTML, JSON, STATUSES, TEXT, error_body, page
from serving.server.rest.heads import Head
from serving.server.rest.json_examples import examples_of_document
from serving.server.rest.json_tensors import (
    parse_document,
    refuse,
    request_values,
    signature_name,
    tensors_of_columns,
    tensors_of_rows,
)
from serving.server.rest.routes import Route, Verb
from serving.server.security import Tokens

LOG = logging.getLogger(__name__)
HEALTH_PATH = "/health"
_WAITING_SECONDS = 1e-6
"""What it costs a request in a crowd to wait for the others: they share a turn of the loop."""
_clock = time.perf_counter

Send = Callable[[int, bytes, bytes], None]
"""Takes the status, the content's type and the content of an answer, once."""


class Api:
    """Answers questions that came by REST.

    Args:
        models: What can be asked.
        metrics: What is counted.
        tokens: Who may ask.
        observer: Is told of every prediction that was sent.
        seconds: How long a request may take, where it does not say so itself.
        largest_body: The most bytes that a body may have once it is decompressed.
        metrics_path: Where Prometheus finds the metrics.
    """

    def __init__(
        self,
        models: Models,
        metrics: Metrics,
        tokens: Tokens = Tokens(),
        observer: Observer | None = None,
        *,
        seconds: float = 30.0,
        largest_body: int = 64 << 20,
        metrics_path: str = PAGE_PATH,
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._tokens = tokens
        self._observer = observer
        self._seconds = seconds
        self._largest_body = largest_body
        self._metrics_path = metrics_path
        self._now = asyncio.get_running_loop().time
        self._readers: weakref.WeakKeyDictionary[Servable, dict[str, rows.RowReader]] = (
            weakref.WeakKeyDictionary()
        )
        self.is_healthy = True

    def ask(self, head: Head, body: bytes, send: Send) -> None:
        """Answer a request, now or later.

        Args:
            head: Its head.
            body: Its body.
            send: Takes the answer.
        """
        started = _clock()
        try:
            if self._tokens and head.path != HEALTH_PATH:
                self._tokens.check(head.authorization)
            route = head.route
            if route is None:
                self._answer_elsewhere(head, send)
                return
            if head.gzip:
                body = self._decompressed(body)
            if route.verb is Verb.PREDICT:
                self._predict(head, route, body, send, started)
            elif route.verb is Verb.STATUS:
                send(200, JSON, self._status(route))
            elif route.verb is Verb.METADATA:
                send(200, JSON, self._metadata(route))
            else:
                self._infer(head, route, body, send, started)
        except Exception as error:
            self._refuse(head, error, send)

    def _predict(self, head: Head, route: Route, body: bytes, send: Send, started: float) -> None:
        document = parse_document(body)
        name = signature_name(document) or DEFAULT_SIGNATURE
        servable = self._models.find(route.model, route.version, route.label)
        signature = servable.signatures.get(name)
        if signature is None:
            raise refuse(f'Serving signature name: "{name}" not found in signature def')
        if not signature.inputs:
            raise refuse(f"Failed to get input map for signature: {name}")
        values, are_rows = request_values(document)
        reader = self._reader(servable, name, signature)
        inputs: Tensors | None
        if are_rows:
            inputs = reader.rows(body, values)
            if inputs is None:
                inputs = tensors_of_rows(values, signature)
        else:
            inputs = reader.columns(body, values)
            if inputs is None:
                inputs = tensors_of_columns(values, signature)
        write = rows.predictions if are_rows else rows.columns
        self._run(head, route, servable, name, inputs, (), write, send, started)

    def _infer(self, head: Head, route: Route, body: bytes, send: Send, started: float) -> None:
        document = parse_document(body)
        name = signature_name(document) or DEFAULT_SIGNATURE
        examples = examples_of_document(document)
        servable = self._models.find(route.model, route.version, route.label)
        signature = signature_named(servable, name)
        self._metrics.gave_examples(route.model, len(examples))
        inputs = {INPUTS: examples_array(examples)}
        if route.verb is Verb.CLASSIFY:
            outputs, write = classification_outputs(signature), _classes(len(examples))
        else:
            outputs, write = regression_outputs(signature), _numbers(len(examples))
        self._run(head, route, servable, name, inputs, outputs, write, send, started)

    def _run(
        self,
        head: Head,
        route: Route,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        outputs: tuple[str, ...],
        write: Callable[[Tensors], bytes],
        send: Send,
        started: float,
    ) -> None:
        deadline = self._now() + (self._seconds if head.seconds is None else head.seconds)
        asked = _clock()
        answer = servable.answer_now(signature, inputs, outputs, deadline, _WAITING_SECONDS)
        given = (head, route, servable, signature, inputs, write, send, started, asked)
        if answer is None:
            servable.submit(signature, inputs, outputs, deadline, partial(self._answer, *given))
        else:
            self._answer(*given, answer)

    def _answer(
        self,
        head: Head,
        route: Route,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        write: Callable[[Tensors], bytes],
        send: Send,
        started: float,
        asked: float,
        answer: Tensors | ServingError,
    ) -> None:
        ran = _clock()
        try:
            if isinstance(answer, ServingError):
                self._metrics.failed(servable, answer.code)
                raise answer
            text = write(answer)
        except Exception as error:
            self._refuse(head, error, send)
            return
        send(200, JSON, text)
        api = route.verb.value
        self._metrics.ran(servable, api.capitalize(), ran - asked)
        seconds = _clock() - started
        self._metrics.answered(route.model, api, "REST", seconds)
        if self._observer is not None:
            self._tell(head, route, servable, signature, inputs, answer, seconds)

    def _tell(
        self,
        head: Head,
        route: Route,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        outputs: Tensors,
        seconds: float,
    ) -> None:
        assert self._observer is not None
        try:
            self._observer(
                model=servable.model,
                version=servable.version,
                label=route.label,
                signature=signature,
                inputs=inputs,
                outputs=outputs,
                metadata=head.metadata,
                seconds=seconds,
            )
        except Exception:
            self._metrics.observer_failures += 1

    def _reader(self, servable: Servable, name: str, signature: Signature) -> rows.RowReader:
        readers = self._readers.get(servable)
        if readers is None:
            readers = self._readers[servable] = {}
        reader = readers.get(name)
        if reader is None:
            reader = readers[name] = rows.RowReader(signature)
        return reader

    def _status(self, route: Route) -> bytes:
        statuses = self._models.statuses(route.model, route.version, route.label)
        return _json(
            {
                "model_version_status": [
                    {
                        "version": str(status.version),
                        "state": VersionState(status.state).name,
                        "status": {
                            "error_code": error_codes_pb2.Code.Name(status.code),
                            "error_message": status.message,
                        },
                    }
                    for status in statuses
                ]
            }
        )

    def _metadata(self, route: Route) -> bytes:
        servable = self._models.find(route.model, route.version, route.label)
        signatures = get_model_metadata_pb2.SignatureDefMap.FromString(servable.meta_graph)
        return _json(
            {
                "model_spec": {
                    "name": servable.model,
                    "signature_name": "",
                    "version": str(servable.version),
                },
                "metadata": {
                    "signature_def": MessageToDict(
                        signatures,
                        preserving_proto_field_name=True,
                        including_default_value_fields=True,
                    )
                },
            }
        )

    def _answer_elsewhere(self, head: Head, send: Send) -> None:
        if head.refusal is not None:
            raise head.refusal
        if head.path == HEALTH_PATH and head.method == "GET":
            state = "SERVING" if self.is_healthy else "NOT_SERVING"
            send(200 if self.is_healthy else 503, JSON, _json({"status": state}))
        elif head.path == self._metrics_path:
            send(200, TEXT, self._metrics.page().encode())
        else:
            send(404, HTML, page(404))

    def _decompressed(self, body: bytes) -> bytes:
        reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text = reader.decompress(body, self._largest_body)
        except zlib.error:
            return b""  # as TensorFlow Serving: what cannot be decompressed is an empty document
        if reader.unconsumed_tail:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"The decompressed body has more than {self._largest_body} bytes.",
            )
        return text

    def _refuse(self, head: Head, error: Exception, send: Send) -> None:
        if not isinstance(error, ServingError):
            # The message of an unforeseen error may quote a learner's data: only its place is told.
            place = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("Unforeseen %s while answering:\n%s", type(error).__name__, place)
            error = ServingError(Code.INTERNAL, "Internal error.")
        if head.route is not None and head.route.verb not in (Verb.STATUS, Verb.METADATA):
            self._metrics.refused(self._known(head.route.model), error.code)
        send(STATUSES.get(error.code, 500), JSON, error_body(error))

    def _known(self, model: str) -> str:
        """Name a model in the metrics only if there is one: callers must not make label values."""
        try:
            self._models.statuses(model)
        except ServingError:
            return ""
        return model


def _classes(count: int) -> Callable[[Tensors], bytes]:
    def write(outputs: Tensors) -> bytes:
        return rows.results(
            [
                [[label.decode("utf-8", "replace"), score] for label, score in classes]
                for classes in classifications(outputs, count)
            ]
        )

    return write


def _numbers(count: int) -> Callable[[Tensors], bytes]:
    return lambda outputs: rows.results(regressions(outputs, count))  # type: ignore[arg-type]


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value)
