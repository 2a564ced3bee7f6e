"""Connections that ask one request again and again, with as little work as can be.

The first answer is compared with the model's own; of the others the status and the length are
looked at, and nothing is parsed, so that the load is not what is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import orjson

from benchmarks.serving.load import Asker
from benchmarks.serving.models import rows
from serving.server.protos import predict_pb2
from serving.server.tensors import array_of, proto_of

TOLERANCE = 1e-5
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class RestAsker(asyncio.Protocol):
    """A kept-alive HTTP connection.

    Args:
        request: Head and body.
    """

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._lengths: dict[bytes, int] = {}
        self._done: Callable[[], None] = lambda: None
        self._transport: Any = None
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def ask(self, done: Callable[[], None]) -> None:
        """Ask once."""
        self._done = done
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        received = self._received + data if self._received else data
        head, _, body = received.partition(_END)
        length = self._lengths.get(head)
        if length is None:
            if _END not in received:
                self._received = received
                return
            length = self._length(head)
        if len(body) < length:
            self._received = received
            return
        self._received = b""
        self.body = body
        self._done()

    async def close(self) -> None:
        """End."""
        self._transport.close()

    def _length(self, head: bytes) -> int:
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head)
        length = int(head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0])
        self._lengths = {head: length}
        return length


class GrpcAsker:
    """A gRPC channel of its own.

    Args:
        port: The server's port.
        request: The message, serialised.
    """

    def __init__(self, port: int, request: bytes) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._call = self._channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        self._request = request
        self._asking: asyncio.Task[None] | None = None
        self.body = b""

    def ask(self, done: Callable[[], None]) -> None:
        """Ask once."""
        self._asking = asyncio.create_task(self._ask(done))

    async def close(self) -> None:
        """End."""
        await self._channel.close()

    async def _ask(self, done: Callable[[], None]) -> None:
        self.body = await self._call(self._request)
        done()


async def rest_asker(port: int, path: str, model: str, expected: float) -> Asker:
    """Connect to a server of REST, and see that it answers as the model does."""
    body = orjson.dumps({"instances": _row(model).tolist()})
    if path == "/invocations":  # MLflow's protocol
        body = body.replace(b"instances", b"inputs")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    _, asker = await loop.create_connection(
        lambda: RestAsker(head.encode() + body), "127.0.0.1", port
    )
    await _once(asker)
    answer = np.ravel(orjson.loads(asker.body)["predictions"])
    np.testing.assert_allclose(answer, [expected], atol=TOLERANCE)
    return asker


async def grpc_asker(port: int, model: str, expected: float) -> Asker:
    """Connect to a server of gRPC, and see that it answers as the model does."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(proto_of(_row(model)))
    asker = GrpcAsker(port, request.SerializeToString())
    await _once(asker)
    answer = predict_pb2.PredictResponse.FromString(asker.body).outputs["y"]
    np.testing.assert_allclose(np.ravel(array_of(answer)), [expected], atol=TOLERANCE)
    return asker


async def _once(asker: Asker) -> None:
    is_answered = asyncio.Event()
    asker.ask(is_answered.set)
    await asyncio.wait_for(is_answered.wait(), 60)


def _row(model: str) -> Any:
    return rows(model, 1)
