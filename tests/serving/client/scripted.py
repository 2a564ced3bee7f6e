"""Servers that speak TensorFlow Serving's API for one tiny model and fail as a script tells them.

The model ``double`` answers ``y = 2 x`` and ``name``, a text; version 1 is ``stable``, version 2,
if there is one, ``canary`` and answers ``y = 2 x + 0.5``. A script names, request by request, what
shall happen in place of an answer.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import grpc
import numpy as np

from serving.server.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
    types_pb2,
)
from serving.server.tensors import array_of, proto_of

PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:\w+|)")


class Scripted:
    """What both servers share: the script, and what came in.

    Attributes:
        script: What happens to the next requests, by turn; "" or none left for an answer.
        always: What happens to every request that no script is left for.
        has_canary: Whether version 2 is there.
        requests: Method or operation, model, version or label, and headers, as they came.
    """

    def __init__(self) -> None:
        self.script: list[str] = []
        self.always = ""
        self.has_canary = True
        self.input_name = "x"
        self.requests: list[tuple[str, str, str, dict[str, str]]] = []
        self.released = threading.Event()
        self._lock = threading.Lock()

    def next_fault(self) -> str:
        with self._lock:
            return self.script.pop(0) if self.script else self.always

    def asked(self, operation: str) -> int:
        """Count the requests of an operation."""
        return sum(request[0] == operation for request in list(self.requests))

    def version(self, model: str, version: int | None, label: str) -> int | None:
        """Find the version asked; None if there is none."""
        if model != "double":
            return None
        known = {"stable": 1, "canary": 2} if self.has_canary else {"stable": 1}
        if label:
            return known.get(label)
        latest = max(known.values())
        return latest if version is None else version if version in known.values() else None


class RestServer(ThreadingHTTPServer):
    """Speaks REST on a free port."""

    daemon_threads = True

    def __init__(self, state: Scripted, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.state = state

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def rest_server(state: Scripted, port: int = 0) -> Iterator[RestServer]:
    """Run it until the block ends."""
    with RestServer(state, port) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        state.released.set()
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.close_connection = True

    def do_GET(self) -> None:  # the name that http.server calls
        self._answer({})

    def do_POST(self) -> None:  # the name that http.server calls
        size = int(self.headers["Content-Length"])
        self._answer(json.loads(self.rfile.read(size)))

    def _answer(self, body: dict[str, Any]) -> None:
        state = self.server.state
        match = PATH.fullmatch(self.path)
        assert match is not None, self.path
        model, version, label = unquote(match[1]), match[2], unquote(match[3] or "")
        operation = match[4].lstrip("/:") or "status"
        headers = {name.lower(): value for name, value in self.headers.items()}
        state.requests.append((operation, model, version or label, headers))
        fault, _, detail = state.next_fault().partition(" ")
        if fault.isdigit():
            self._send(int(fault), {"error": f"scripted {fault}"}, {"Retry-After": detail})
        elif fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
        elif fault == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            self.close_connection = True
        elif fault == "garbage":
            self._send(200, ["no", "document"], {})
        elif fault == "hang":
            state.released.wait(60)
            self.close_connection = True
        elif fault == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not state.released.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()
        else:
            number = state.version(model, int(version) if version else None, label)
            if number is None:
                self._send(404, {"error": f"Servable not found for request: {model}"}, {})
            else:
                self._send(*_rest_answer(state, operation, number, body), {})

    def _send(self, status: int, document: Any, headers: dict[str, str]) -> None:
        content = json.dumps(document).encode()
        self.send_response_only(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _rest_answer(
    state: Scripted, operation: str, version: int, body: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    name = state.input_name
    match operation:
        case "status":
            known = (2, 1) if state.has_canary else (1,)
            status = {"error_code": "OK", "error_message": ""}
            entries = [{"version": str(v), "state": "AVAILABLE", "status": status} for v in known]
            return 200, {"model_version_status": entries}
        case "metadata":
            tensors = {name: _rest_spec("DT_FLOAT"), "who": _rest_spec("DT_STRING")}
            outputs = {"y": _rest_spec("DT_FLOAT"), "name": _rest_spec("DT_STRING")}
            signatures = {
                "serving_default": _rest_signature(tensors, {"y": _rest_spec("DT_FLOAT")}),
                "both": _rest_signature(tensors, outputs),
            }
            return 200, {"metadata": {"signature_def": {"signature_def": signatures}}}
        case "classify":
            scores = [[["0", 1 - row["x"]], ["1", row["x"]]] for row in body["examples"]]
            return 200, {"results": scores}
        case "regress":
            return 200, {"results": [answer(row["x"], version) for row in body["examples"]]}
    if name not in body["inputs"]:
        return 400, {"error": f"Missing input {name}"}
    answers = [answer(value, version) for value in body["inputs"][name]]
    if body["signature_name"] == "both":
        return 200, {"outputs": {"y": answers, "name": body["inputs"]["who"]}}
    return 200, {"outputs": answers}


def answer(value: float, version: int) -> float:
    """What the model says."""
    return 2 * value + (0.5 if version == 2 else 0.0)


def _rest_spec(dtype: str) -> dict[str, Any]:
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    return {"dtype": dtype, "tensor_shape": shape, "name": "t:0"}


def _rest_signature(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    method = "tensorflow/serving/predict"
    return {"inputs": inputs, "outputs": outputs, "method_name": method}


class _RpcHandler(grpc.GenericRpcHandler):
    def __init__(self, state: Scripted) -> None:
        self.state = state

    def service(self, call: Any) -> Any:
        operation = {
            "Predict": "predict",
            "Classify": "classify",
            "Regress": "regress",
            "GetModelMetadata": "metadata",
            "GetModelStatus": "status",
        }[call.method.rpartition("/")[2]]
        kinds = {
            "predict": predict_pb2.PredictRequest,
            "classify": classification_pb2.ClassificationRequest,
            "regress": regression_pb2.RegressionRequest,
            "metadata": get_model_metadata_pb2.GetModelMetadataRequest,
            "status": get_model_status_pb2.GetModelStatusRequest,
        }
        metadata = dict(call.invocation_metadata)

        def handle(request: Any, context: Any) -> Any:
            metadata["remaining"] = f"{context.time_remaining():.3f}"
            return self._handle(operation, request, metadata, context)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=kinds[operation].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _handle(self, operation: str, request: Any, metadata: Any, context: Any) -> Any:
        state, spec = self.state, request.model_spec
        asked = str(spec.version.value or spec.version_label)
        state.requests.append((operation, spec.name, asked, metadata))
        fault, _, detail = state.next_fault().partition(" ")
        if fault == "hang":
            state.released.wait(60)
        elif fault:
            if detail:
                context.set_trailing_metadata((("retry-after", detail),))
            context.abort(grpc.StatusCode[fault], f"scripted {fault}")
        version = state.version(spec.name, spec.version.value or None, spec.version_label)
        if version is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")
        return _rpc_answer(state, operation, request, version)


def _rpc_answer(state: Scripted, operation: str, request: Any, version: int) -> Any:
    if operation == "status":
        status = get_model_status_pb2.GetModelStatusResponse()
        for number in (2, 1) if state.has_canary else (1,):
            status.model_version_status.add(version=number, state=30)
        return status
    if operation == "metadata":
        found = get_model_metadata_pb2.SignatureDefMap()
        for name in ("serving_default", "both"):
            signature = found.signature_def[name]
            signature.method_name = "tensorflow/serving/predict"
            tensors = {state.input_name: types_pb2.DT_FLOAT, "who": types_pb2.DT_STRING}
            for key, dtype in tensors.items():
                signature.inputs[key].dtype = dtype
                signature.inputs[key].tensor_shape.dim.add(size=-1)
            signature.outputs["y"].dtype = types_pb2.DT_FLOAT
            if name == "both":
                signature.outputs["name"].dtype = types_pb2.DT_STRING
        described = get_model_metadata_pb2.GetModelMetadataResponse()
        described.metadata["signature_def"].Pack(found)
        return described
    response: Any
    if operation in ("classify", "regress"):
        rows = [
            example.features.feature["x"].float_list.value[0]
            for example in request.input.example_list.examples
        ]
        if operation == "classify":
            response = classification_pb2.ClassificationResponse()
            for value in rows:
                row = response.result.classifications.add()
                row.classes.add(label="0", score=1 - value)
                row.classes.add(label="1", score=value)
        else:
            response = regression_pb2.RegressionResponse()
            for value in rows:
                response.result.regressions.add(value=answer(value, version))
    else:
        response = predict_pb2.PredictResponse()
        values = array_of(request.inputs[state.input_name])
        assert values.dtype == np.float32
        answers = np.array([answer(value, version) for value in values], np.float32)
        response.outputs["y"].CopyFrom(proto_of(answers))
        if request.model_spec.signature_name == "both":
            response.outputs["name"].CopyFrom(request.inputs["who"])
    response.model_spec.version.value = version
    return response


@contextlib.contextmanager
def rpc_server(state: Scripted) -> Iterator[str]:
    """Run a gRPC server until the block ends; give its URL."""
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(_RpcHandler(state),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    state.released.set()
    server.stop(None).wait()


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
