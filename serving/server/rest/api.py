"""Answers what came by REST: finds out what is asked and hands it on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict

from serving.server.contract import Code, Models, Observer, ServingError, Tensors, VersionState
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
from serving.server.rest.answering import Answering, Asked, Send, Write, clock
from serving.server.rest.answers import HTML, JSON, TEXT, page
from serving.server.rest.heads import Head
from serving.server.rest.json_examples import examples_of_document
from serving.server.rest.json_tensors import parse_document, signature_name
from serving.server.rest.predictions import Predictions
from serving.server.rest.routes import Route
from serving.server.security import Tokens

HEALTH_PATH = "/health"


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
        self._is_open = not tokens
        self._largest_body = largest_body
        self._metrics_path = metrics_path
        self._answering = Answering(models, metrics, observer, seconds)
        self._predictions = Predictions(models, metrics, self._answering)
        self.is_healthy = True

    def ask(self, head: Head, body: bytes, send: Send) -> None:
        """Answer a request, now or later.

        Args:
            head: Its head.
            body: Its body.
            send: Takes the answer.
        """
        since = clock()
        try:
            if not (self._is_open or head.path == HEALTH_PATH):
                self._tokens.check(head.authorization)
            route = head.route
            if route is None:
                self._answer_elsewhere(head, send)
                return
            if head.gzip:
                body = self._decompressed(body)
            if route.verb == "predict":
                self._predictions.ask(Asked(head, route, body, send, since))
            elif route.verb == "status":
                send(200, JSON, self._status(route))
            elif route.verb == "metadata":
                send(200, JSON, self._metadata(route))
            else:
                self._infer(Asked(head, route, body, send, since))
        except Exception as error:
            self._answering.refuse(head, error, send)

    def _infer(self, asked: Asked) -> None:
        document = parse_document(asked.body)
        name = signature_name(document) or DEFAULT_SIGNATURE
        examples = examples_of_document(document)
        route = asked.route
        servable = self._models.find(route.model, route.version, route.label)
        signature = signature_named(servable, name)
        self._metrics.gave_examples(route.model, len(examples))
        inputs = {INPUTS: examples_array(examples)}
        if route.verb == "classify":
            outputs, write = classification_outputs(signature), _classes(len(examples))
        else:
            outputs, write = regression_outputs(signature), _numbers(len(examples))
        self._answering.run(asked, servable, name, inputs, outputs, write)

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


def _classes(count: int) -> Write:
    def write(outputs: Tensors) -> bytes:
        return rows.results(
            [
                [[label.decode("utf-8", "replace"), score] for label, score in classes]
                for classes in classifications(outputs, count)
            ]
        )

    return write


def _numbers(count: int) -> Write:
    return lambda outputs: rows.results(regressions(outputs, count))  # type: ignore[arg-type]


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value)
