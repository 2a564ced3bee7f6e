"""What no server on this event loop can do without: ``floor PROTOCOL ANSWER PORT``.

Neither parses nor computes anything: whatever arrives is answered with the same bytes. By ``rest``
a kept-alive connection of uvloop that stays awake as LearnLoop does, by ``grpc`` an empty servicer
of ``grpc.aio``. Beside them it is plain how much of a request is the kernel, the loopback and the
client.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
import uvloop

from serving.server.app import ServerOptions
from serving.server.protos import predict_pb2
from serving.server.rest.busy_poll import BusyPoll
from serving.server.tensors import write_fields


class Echo(asyncio.Protocol):
    """Answers every segment that arrives; the askers send a request in one.

    Args:
        answer: Head and body.
        busy_poll: Keeps the event loop awake.
    """

    def __init__(self, answer: bytes, busy_poll: BusyPoll) -> None:
        self._answer = answer
        self._busy_poll = busy_poll
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self._transport.write(self._answer)
        self._busy_poll.answered()


async def rest(answer: str, port: int) -> None:
    """Answer by REST."""
    body = f'{{"predictions":[[{answer}]]}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    whole = f"{head}\r\n\r\n{body}".encode()
    loop = asyncio.get_running_loop()
    busy_poll = BusyPoll(loop, ServerOptions().busy_poll_seconds)
    server = await loop.create_server(lambda: Echo(whole, busy_poll), "127.0.0.1", port)
    await server.serve_forever()


async def grpc(answer: str, port: int) -> None:
    """Answer by gRPC."""
    import grpc as library

    response = predict_pb2.PredictResponse()
    write_fields(np.float32([[float(answer)]]), response.outputs["y"])
    whole: bytes = response.SerializeToString()

    async def predict(request: bytes, context: Any) -> bytes:
        return whole

    server = library.aio.server()
    handler = library.unary_unary_rpc_method_handler(predict)
    service = "tensorflow.serving.PredictionService"
    server.add_generic_rpc_handlers(
        (library.method_handlers_generic_handler(service, {"Predict": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    protocol, answer, port = sys.argv[1:]
    uvloop.run({"rest": rest, "grpc": grpc}[protocol](answer, int(port)))
