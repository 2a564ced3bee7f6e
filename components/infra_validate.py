"""Try an exported model in a fresh server, as callers will meet it, before it is registered.

A model may be good and yet not be servable: a file that is missing, an operation that the server
does not have, an answer that differs over a protocol, memory that a pod does not have. So the model
is published to a scratch folder, a server process of its own loads it there, and real rows are
asked over REST and gRPC. A server begins with the model's own graph and goes on with what is
fastest, TFLite or ONNX Runtime, so the rows are asked of both.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.served_rows import made_up_rows, served_rows
from learnloop.artifacts import Blessing, Examples, Model
from learnloop.component import Context, Input, Output, Resources, component
from learnloop.errors import GateRefused, LearnLoopError
from serving.embedded import EmbeddedServer, embedded_server
from serving.publish import Publication, publish_version
from serving.server.contract import VersionState
from serving.warmup import write_warmup_requests

if TYPE_CHECKING:
    import numpy.typing as npt

    from serving.client import PredictionClient

    Arrays = Mapping[str, npt.NDArray[Any]]

PREDICT = "tensorflow/serving/predict"
VERSION = 1
ROUNDS = 3
"""How often latencies are measured at most: what disturbs a machine for a while makes no model
slow, so the quickest round counts."""
PATIENCE_SECONDS = 60.0
"""How long one question may take; what is too slow is found by its latency, not by a time-out."""
PREPARATION_SECONDS = 900.0
"""How long the server may look for the fastest way to run the model."""


# The server is another process, but what it does is part of what this gate says.
@component(
    resources=Resources(cpus=2.0, memory_gib=4.0), dynamic_imports=("serving.server.command",)
)
def infra_validate(
    model: Input[Model],
    blessing: Input[Blessing],
    examples: Input[Examples],
    infra_blessing: Output[Blessing],
    *,
    name: str,
    rows: int = 32,
    requests: int = 100,
    tolerance: float = 1e-6,
    max_p99_milliseconds: float = 500.0,
    max_memory_mib: float = 4096.0,
    max_start_seconds: float = 120.0,
    context: Context,
) -> None:
    """Serve the model in a process of its own; refuse it unless answers, speed and memory fit.

    Args:
        model: The exported model.
        blessing: The verdict on what it has learned; the verdict here includes it.
        examples: Raw rows by split, the first of which are asked.
        infra_blessing: ``blessed`` and ``reasons`` of both, and what was measured; always written.
        name: The name it is served under.
        rows: Rows in the questions whose answers are compared.
        requests: Questions of one row each, over each protocol, whose latency is measured.
        tolerance: How far an answer may lie from the one in this process.
        max_p99_milliseconds: How long 99 of 100 questions of one row may take at most.
        max_memory_mib: The most memory that the serving process may ever hold.
        max_start_seconds: How long it may take until the model answers.
        context: Scratch space and progress.

    Raises:
        GateRefused: The model cannot be served as it should be.
    """
    tensors = served_rows(model, examples, rows)
    kept_beside = made_up_rows(model, examples, rows)  # it is published with such, and tried so
    base = context.scratch / "served"
    log = context.scratch / "server.log"
    shutil.rmtree(base, ignore_errors=True)
    reasons: list[str] = []
    measured: dict[str, Any] = {}
    try:
        publication = Publication(
            model.saved_model,
            VERSION,
            model.content_digest(),
            lineage={},
            complete=lambda folder: write_warmup_requests(folder, name, kept_beside),
        )
        publish_version(publication, base / name)
        context.report("starting a server")
        began = time.monotonic()
        home = context.settings.home_folder
        with embedded_server(base, log, max_start_seconds, home=home) as server:
            measured["seconds_to_start"] = time.monotonic() - began
            _require_available(server, name)
            context.report("asking it")
            reasons += _differences(server, model, name, tensors, tolerance, measured)
            reasons += _slowness(server, name, tensors, requests, max_p99_milliseconds, measured)
            held = measured["peak_memory_mib"] = server.peak_memory_mib()
        if held > max_memory_mib:
            reasons.append(
                f"The server held {held:,.0f} MiB, at most {max_memory_mib:,.0f} MiB are allowed."
            )
    except LearnLoopError as fault:
        reasons.append(_told(fault))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    earlier = blessing.load()
    verdict = {
        "blessed": bool(earlier["blessed"]) and not reasons,
        "reasons": [*reasons, *earlier["reasons"]],
    }
    infra_blessing.write({**verdict, "warnings": [], "measured": measured})
    # Measured times differ from run to run; what follows depends on the verdict alone.
    document = json.dumps([model.content_digest(), verdict], sort_keys=True)
    infra_blessing.set_content_digest(hashlib.sha256(document.encode()).hexdigest())
    if reasons:
        raise GateRefused(
            reasons, where="the model in a server", next=f"learnloop show {context.run_id}"
        )


def _require_available(server: EmbeddedServer, name: str) -> None:
    with _client(server.rest_url) as client:
        (status,) = client.status(name)
    if status.state is not VersionState.AVAILABLE:
        raise LearnLoopError("The server does not load the model.", received=status.message)


def _told(fault: LearnLoopError) -> str:
    return f"{fault.what} {fault.received}".strip().rstrip(".") + "."


def _differences(
    server: EmbeddedServer,
    model: Model,
    name: str,
    tensors: Arrays,
    tolerance: float,
    measured: dict[str, Any],
) -> list[str]:
    """Compare answers with those of this process, by every way in which the server gives them."""
    expected = _expected(server, model, name, tensors)
    if not expected:
        return ["The model has no signature that takes its raw columns."]
    reasons: list[str] = []
    largest = measured["largest_difference"] = {}
    executions = server.executions(name)
    asked = expected
    while asked:
        for protocol, url in _protocols(server).items():
            with _client(url) as client:
                for signature, (inputs, outputs) in asked.items():
                    distance = _largest_distance(client, name, signature, inputs, outputs)
                    way = f"'{signature}' by {executions[signature]}"
                    largest[f"{protocol}, {way}"] = distance
                    if not distance <= tolerance:
                        reasons.append(
                            f"Over {protocol}, answers of {way} lie up to {distance:.2g} from "
                            f"those in this process, at most {tolerance:.2g} is allowed."
                        )
        before, executions = executions, server.fastest_executions(name, PREPARATION_SECONDS)
        asked = {key: both for key, both in asked.items() if executions[key] != before[key]}
    return reasons


def _largest_distance(
    client: PredictionClient, name: str, signature: str, inputs: Arrays, outputs: Arrays
) -> float:
    answered = client.predict(name, columns=inputs, signature=signature, log_features=False)
    return max(_distance(answered.outputs[key], values) for key, values in outputs.items())


def _expected(
    server: EmbeddedServer, model: Model, name: str, tensors: Arrays
) -> dict[str, tuple[Arrays, Arrays]]:
    """Ask the model in this process; gives inputs and outputs by signature."""
    import tensorflow as tf

    signatures = model.load().signatures
    constants = {column: tf.constant(values) for column, values in tensors.items()}
    with _client(server.rest_url) as client:
        known = client.metadata(name)
    expected: dict[str, tuple[Arrays, Arrays]] = {}
    for signature, described in sorted(known.items()):
        if described.method != PREDICT or not tensors.keys() >= described.inputs.keys():
            continue
        answer = signatures[signature](**{key: constants[key] for key in described.inputs})
        expected[signature] = (
            {key: tensors[key] for key in described.inputs},
            {key: values.numpy() for key, values in answer.items()},
        )
    return expected


def _distance(answered: Any, expected: npt.NDArray[Any]) -> float:
    """How far two answers lie apart at most; infinitely where they have not even one shape."""
    import numpy as np

    if expected.dtype.hasobject:
        texts = np.char.decode(expected.astype(np.bytes_), "utf-8")
        return 0.0 if answered == texts.tolist() else float("inf")
    values = np.asarray(answered, np.float64)
    if values.shape != expected.shape:
        return float("inf")
    apart = np.abs(values - expected.astype(np.float64))
    return float(np.max(np.where(np.isnan(values) & np.isnan(expected), 0.0, apart), initial=0.0))


def _slowness(
    server: EmbeddedServer,
    name: str,
    tensors: Arrays,
    requests: int,
    allowed: float,
    measured: dict[str, Any],
) -> list[str]:
    """Ask one row at a time, one after the other, again if that was too slow."""
    count = len(next(iter(tensors.values())))
    single = [
        {key: values[row : row + 1] for key, values in tensors.items()} for row in range(count)
    ]
    reasons: list[str] = []
    found: dict[str, dict[str, float]] = {}
    for protocol, url in _protocols(server).items():
        with _client(url) as client:
            questions = [single[number % count] for number in range(requests)]
            quickest = _latencies(client, name, questions)
            for _ in range(1, ROUNDS):
                if quickest["p99"] > allowed:
                    again = _latencies(client, name, questions)
                    quickest = min(quickest, again, key=lambda latencies: latencies["p99"])
        found[protocol] = quickest
        if (p99 := quickest["p99"]) > allowed:
            reasons.append(
                f"Over {protocol}, 99 of 100 questions of one row took up to {p99:,.1f} ms, "
                f"at most {allowed:,.1f} ms are allowed."
            )
    measured["milliseconds"] = found
    return reasons


def _latencies(
    client: PredictionClient, name: str, questions: Sequence[Arrays]
) -> dict[str, float]:
    """Ask, and give the percentiles in milliseconds."""
    import numpy as np

    taken = []
    for columns in questions:
        began = time.perf_counter()
        client.predict(name, columns=columns, log_features=False)
        taken.append((time.perf_counter() - began) * 1000)
    return {f"p{percent}": float(np.percentile(taken, percent)) for percent in (50, 99)}


def _protocols(server: EmbeddedServer) -> dict[str, str]:
    return {"REST": server.rest_url, "gRPC": server.grpc_url}


def _client(url: str) -> PredictionClient:
    from serving.client import PredictionClient, Retries

    return PredictionClient(url, timeout=PATIENCE_SECONDS, retries=Retries(attempts=1))
