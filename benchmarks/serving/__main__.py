"""Measures, interleaved, and writes ``docs/evidence/serving.json``.

FastAPI and a plain ``grpc.aio`` servicer run on this interpreter; LitServe, BentoML and MLflow on
the one that ``SERVING_PEERS_PYTHON`` names, where it does. Every server answers the same rows with
the same models; before it is measured its answers are compared. Servers are asked in turn, a round
at a time, so that what else the machine does meets all of them. Beside them stand the floors, which
answer the same bytes whatever arrives (:mod:`.floor`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import uvloop

from benchmarks.serving.askers import grpc_asker, rest_asker
from benchmarks.serving.kernel import kernel
from benchmarks.serving.load import Asker, closed, open_loop
from benchmarks.serving.models import SHAPES
from learnloop.settings import load_settings
from serving.embedded import embedded_server
from tests.servers import free_port, running

HERE = Path(__file__).parent
EVIDENCE = HERE.parents[1] / "docs" / "evidence" / "serving.json"
REST, RPC, PLAIN_RPC = "LearnLoop REST", "LearnLoop gRPC", "plain grpc.aio"
ECHO, EMPTY_RPC = "floor: echo on uvloop", "floor: empty grpc.aio"
CONCURRENCIES = (1, 16)
RATES = {REST: (200.0, 2000.0), RPC: (200.0,), "FastAPI": (200.0,)}
_PACKAGES = ("fastapi", "grpcio", "litserve", "bentoml", "mlflow", "tensorflow")
_READY_SECONDS = 120.0

Measured = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Peer:
    """A server of a model.

    Args:
        process: The process that was started; its children count as its own.
        connect: Makes a connection.
    """

    process: psutil.Process
    connect: Callable[[float], Coroutine[Any, Any, Asker]]

    def cpu_seconds(self) -> float:
        """Tell the processor time that it has taken so far."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(member.cpu_times()[:2]) for member in family)


@contextlib.asynccontextmanager
async def connected(peer: Peer, expected: float, count: int) -> AsyncIterator[Sequence[Asker]]:
    """Hold connections for a round; some servers close those that are idle between rounds."""
    askers = await asyncio.gather(*(peer.connect(expected) for _ in range(count)))
    try:
        yield askers
    finally:
        for asker in askers:
            await asker.close()


async def measure_closed(
    peers: Mapping[str, Mapping[str, Peer]],
    answers: Mapping[str, float],
    rounds: int,
    seconds: float,
) -> Measured:
    """Measure every server a round at a time, and give the medians of the rounds."""
    found: Measured = {}
    for model, servers in peers.items():
        for concurrency in CONCURRENCIES:
            seen: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
            for _ in range(rounds):
                for name, peer in servers.items():
                    async with connected(peer, answers[model], concurrency) as askers:
                        await closed(askers, seconds / 10)
                        before, own = peer.cpu_seconds(), time.process_time()
                        count, taken = await closed(askers, seconds)
                        cpu, own = peer.cpu_seconds() - before, time.process_time() - own
                    seen[name].append(
                        {
                            "requests_per_second": count / taken,
                            "cpu_us_per_request": cpu / count * 1e6,
                            "client_cpu_us_per_request": own / count * 1e6,
                        }
                    )
            found[f"{model}, concurrency {concurrency}"] = {
                name: {key: round(median(one[key] for one in results), 1) for key in results[0]}
                for name, results in seen.items()
            }
    return found


async def measure_open(
    peers: Mapping[str, Mapping[str, Peer]], answers: Mapping[str, float], seconds: float
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Measure latency at fixed rates."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for model, servers in peers.items():
        found[model] = {}
        for name, rates in RATES.items():
            async with connected(servers[name], answers[model], 16) as askers:
                found[model][name] = [await open_loop(askers, rate, seconds) for rate in rates]
    return found


def ratios(closed_loop: Measured, kernels: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Say what the figures come to: the best of the others, and what a request costs."""
    found = {}
    for case, servers in closed_loop.items():
        others = {
            name: figures["requests_per_second"]
            for name, figures in servers.items()
            if name not in (REST, RPC, PLAIN_RPC, ECHO, EMPTY_RPC)
        }
        best = max(others.values())
        cpu = {name: figures["cpu_us_per_request"] for name, figures in servers.items()}
        bare = kernels[case.partition(",")[0]]["cpu_us"]
        own, echo = (servers[name]["requests_per_second"] for name in (REST, ECHO))
        found[case] = {
            "REST requests/s over the best of the others": round(own / best, 1),
            "the echo's requests/s over the best of the others": round(echo / best, 1),
            "REST CPU over the bare kernel's": round(cpu[REST] / bare, 1),
            "the echo's CPU over the bare kernel's": round(cpu[ECHO] / bare, 1),
            "gRPC CPU over the empty servicer's": round(cpu[RPC] / cpu[EMPTY_RPC], 2),
            "gRPC CPU over plain grpc.aio's": round(cpu[RPC] / cpu[PLAIN_RPC], 2),
            "gRPC CPU over REST's": round(cpu[RPC] / cpu[REST], 1),
        }
    return found


@contextlib.contextmanager
def peer_process(script: str, first: str, folder: Path, python: str) -> Any:
    """Run another server until the block ends; gives its process and port."""
    port, log = free_port(), folder / f"{script}-{first}.log"
    command = [python, str(HERE / script), first, str(folder), str(port)]
    environment = {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": ""}
    with running(command, port, log, environment=environment) as process:
        yield psutil.Process(process.pid), port


def start(
    stack: contextlib.ExitStack, folder: Path, peers_python: str | None
) -> dict[str, dict[str, Peer]]:
    """Start all servers side by side; they end with the stack."""
    scripts = {"FastAPI": ("peers.py", "fastapi"), PLAIN_RPC: ("peers.py", "grpc")}
    if peers_python:
        scripts["LitServe"] = ("litserve_peer.py", "litserve")
        scripts["BentoML"] = ("bento_peer.py", "bentoml")
        for model in SHAPES:
            scripts[f"MLflow {model}"] = ("mlflow_peer.py", model)

    def begin(name: str) -> tuple[psutil.Process, int]:
        script, first = scripts[name]
        python = sys.executable if script == "peers.py" else str(peers_python)
        started: tuple[psutil.Process, int] = stack.enter_context(
            peer_process(script, first, folder, python)
        )
        return started

    own = stack.enter_context(embedded_server(folder / "models", folder / "own.log"))
    with ThreadPoolExecutor(len(scripts)) as pool:
        others = dict(zip(scripts, pool.map(begin, scripts), strict=True))
    for model in SHAPES:
        own.fastest_executions(model, _READY_SECONDS)
    rest, rpc = (int(url.rpartition(":")[2]) for url in (own.rest_url, own.grpc_url))
    process = psutil.Process(own.process.pid)
    peers: dict[str, dict[str, Peer]] = {}
    for model in SHAPES:
        path = f"/v1/models/{model}:predict"
        peers[model] = {
            REST: Peer(process, over_rest(rest, path, model)),
            RPC: Peer(process, over_grpc(rpc, model)),
        }
        paths = {"FastAPI": path, "LitServe": "/predict", "BentoML": f"/{model}"}
        for name, (other, port) in others.items():
            if name == PLAIN_RPC:
                peers[model][name] = Peer(other, over_grpc(port, model))
            elif name in paths:
                peers[model][name] = Peer(other, over_rest(port, paths[name], model))
            elif name == f"MLflow {model}":
                peers[model]["MLflow"] = Peer(other, over_rest(port, "/invocations", model))
    return peers


def start_floors(
    stack: contextlib.ExitStack, folder: Path, answers: Mapping[str, float]
) -> dict[str, dict[str, Peer]]:
    """Start the floors of both protocols for every model; they end with the stack."""
    floors: dict[str, dict[str, Peer]] = {}
    for model, answer in answers.items():
        found = floors[model] = {}
        for protocol, name in (("rest", ECHO), ("grpc", EMPTY_RPC)):
            port, log = free_port(), folder / f"floor-{protocol}-{model}.log"
            command = [sys.executable, "-m", "benchmarks.serving.floor", protocol, str(answer)]
            started = stack.enter_context(running([*command, str(port)], port, log))
            path = f"/v1/models/{model}:predict"
            connect = over_rest(port, path, model) if name == ECHO else over_grpc(port, model)
            found[name] = Peer(psutil.Process(started.pid), connect)
    return floors


def over_rest(port: int, path: str, model: str) -> Callable[[float], Coroutine[Any, Any, Asker]]:
    """Say how to connect by REST."""
    return lambda expected: rest_asker(port, path, model, expected)


def over_grpc(port: int, model: str) -> Callable[[float], Coroutine[Any, Any, Asker]]:
    """Say how to connect by gRPC."""
    return lambda expected: grpc_asker(port, model, expected)


def versions(python: str) -> dict[str, str]:
    """Read which versions of the packages an interpreter has."""
    code = (
        "import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\n"
        "found = {}\nfor name in sys.argv[1:]:\n    try:\n        found[name] = version(name)\n"
        "    except PackageNotFoundError:\n        pass\nprint(json.dumps(found))"
    )
    answer = subprocess.run(
        [python, "-c", code, *_PACKAGES], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(answer.stdout)
    return found


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Start the servers, measure, and give the whole document."""
    peers_python = os.environ.get("SERVING_PEERS_PYTHON")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        (folder / "learnloop.toml").touch()
        os.environ["LEARNLOOP_PROJECT"] = place
        command = [sys.executable, "-m", "benchmarks.serving.models", place]
        subprocess.run(command, check=True)
        peers = start(stack, folder, peers_python)
        cache = load_settings().home_folder / "prepared-models"
        kernels = {
            model: kernel(folder / "models" / model / "1", cache, seconds) for model in SHAPES
        }
        answers = {model: found.pop("answer") for model, found in kernels.items()}
        floors = start_floors(stack, folder, answers)
        all_of_them = {model: {**peers[model], **floors[model]} for model in peers}
        closed_loop = uvloop.run(measure_closed(all_of_them, answers, rounds, seconds))
        latency = uvloop.run(measure_open(peers, answers, 2 * seconds))
    return {
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True
        ).stdout.strip(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average_before": round(load, 2),
        "rounds": rounds,
        "seconds_per_round": seconds,
        "versions": {
            "this environment": versions(sys.executable),
            **({"peers": versions(peers_python)} if peers_python else {}),
        },
        "kernels": kernels,
        "closed_loop": closed_loop,
        "ratios": ratios(closed_loop, kernels),
        "open_loop": latency,
    }


def table(document: Mapping[str, Any]) -> str:
    """Write the figures for people."""
    lines = [
        "| case | server | requests/s | CPU µs a request | the client's |",
        "|---|---|---|---|---|",
    ]
    for case, servers in document["closed_loop"].items():
        lines += [
            f"| {case} | {name} | {found['requests_per_second']:,.0f} "
            f"| {found['cpu_us_per_request']:,.0f} | {found['client_cpu_us_per_request']:,.0f} |"
            for name, found in servers.items()
        ]
    lines += [
        "",
        "| open loop | server | rate | p50 ms | p99 ms | p99.9 ms |",
        "|---|---|---|---|---|---|",
    ]
    for model, servers in document["open_loop"].items():
        lines += [
            f"| {model} | {name} | {one['rate']:,.0f} | {one['p50_ms']} | {one['p99_ms']} "
            f"| {one['p999_ms']} |"
            for name, found in servers.items()
            for one in found
        ]
    lines += ["", *(f"{case}: {found}" for case, found in document["ratios"].items())]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure; a quick try writes nothing down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, nothing written")
    if parser.parse_args(arguments).quick:
        print(table(measure(rounds=1, seconds=0.4)))
        return
    document = measure(rounds=3, seconds=1.0)
    EVIDENCE.write_text(json.dumps(document, indent=1) + "\n")
    print(table(document))


if __name__ == "__main__":
    main(sys.argv[1:])
