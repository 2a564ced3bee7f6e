"""Measures, interleaved, and writes ``docs/evidence/serving.json``.

FastAPI and a plain ``grpc.aio`` servicer run on this interpreter; LitServe on the one that
``SERVING_PEERS_PYTHON`` names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson

from benchmarks.serving.load import Ask, closed, open_loop
from benchmarks.serving.models import SHAPES
from serving.embedded import embedded_server
from serving.server.protos import predict_pb2
from serving.server.tensors import proto_of
from tests.servers import free_port, running

SECONDS = float(os.environ.get("SERVING_BENCH_SECONDS", "3"))
ROUNDS = int(os.environ.get("SERVING_BENCH_ROUNDS", "3"))
EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence" / "serving.json"
PEERS = Path(__file__).parent / "peers.py"


async def rest_ask(port: int, path: str, body: bytes) -> Ask:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def ask() -> None:
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        assert answer.startswith(b"HTTP/1.1 200"), body

    return ask


async def grpc_ask(port: int, name: str) -> Ask:
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].CopyFrom(proto_of(np.zeros((1, *SHAPES[name]), np.float32)))
    raw = request.SerializeToString()

    async def ask() -> None:
        await call(raw)

    return ask


async def measure(servers: dict[str, tuple[int, Callable[[str], Any]]]) -> dict[str, Any]:
    """Measure every server a round at a time, and give the median of the rounds."""
    found: dict[str, Any] = {}
    for model in SHAPES:
        for concurrency in (1, 16):
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
            for _ in range(ROUNDS + 1):
                for name, (pid, connect) in servers.items():
                    asks = [await connect(model) for _ in range(concurrency)]
                    rounds[name].append(await closed(asks, SECONDS, pid))
            found[f"{model}, concurrency {concurrency}"] = {
                name: {key: float(np.median([r[key] for r in results[1:]])) for key in results[0]}
                for name, results in rounds.items()
            }
        for name in ("learnloop REST", "learnloop gRPC"):
            asks = [await servers[name][1](model) for _ in range(16)]
            found.setdefault(f"{model}, open loop", {})[name] = await open_loop(
                asks, 200.0, 2 * SECONDS
            )
    return found


def main() -> None:
    """Start the servers, measure, write."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        models = folder / "models"
        os.environ["LEARNLOOP_PROJECT"] = place
        command = [sys.executable, "-m", "benchmarks.serving.models", str(models)]
        subprocess.run(command, check=True)
        pythons = {"fastapi": sys.executable, "grpc": sys.executable}
        if named := os.environ.get("SERVING_PEERS_PYTHON"):
            pythons["litserve"] = named
        ports = {kind: free_port() for kind in pythons}
        with contextlib.ExitStack() as stack:
            own = stack.enter_context(embedded_server(models, folder / "own.log"))
            rest, rpc = (int(url.rpartition(":")[2]) for url in (own.rest_url, own.grpc_url))
            servers: dict[str, tuple[int, Any]] = {
                "learnloop REST": (own.process.pid, rest_connect(rest, "/v1/models/{}:predict")),
                "learnloop gRPC": (own.process.pid, lambda model: grpc_ask(rpc, model)),
            }
            for kind, python in pythons.items():
                port = ports[kind]
                script = PEERS.with_name("litserve_peer.py") if kind == "litserve" else PEERS
                process = stack.enter_context(
                    running(
                        [python, str(script), kind, str(models), str(port)], port, folder / kind
                    )
                )
                path = "/predict" if kind == "litserve" else "/v1/models/{}:predict"
                servers[kind] = (
                    process.pid,
                    (lambda model, port=port: grpc_ask(port, model))
                    if kind == "grpc"
                    else rest_connect(port, path),
                )
            time.sleep(10)  # the own server finds its fastest way while it serves
            document = {
                "load_average_before": os.getloadavg()[0],
                "seconds_per_round": SECONDS,
                "rounds": ROUNDS,
                "measured": asyncio.run(measure(servers)),
            }
    EVIDENCE.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


def rest_connect(port: int, path: str) -> Callable[[str], Any]:
    """Connect to a server of REST."""
    return lambda model: rest_ask(
        port, path.format(model), orjson.dumps({"instances": [np.zeros(SHAPES[model]).tolist()]})
    )


if __name__ == "__main__":
    main()
