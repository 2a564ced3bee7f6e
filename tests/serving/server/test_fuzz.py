"""Whatever arrives, the answer is well-formed: mutated requests on both protocols.

Inputs are made by mutation of good requests with a seeded generator, which is quick enough for a
million; hypothesis shapes the JSON and the messages of the smaller tests.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import httptools
import numpy as np
import orjson
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server.metrics import Metrics
from serving.server.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
    tensor_pb2,
)
from serving.server.rest.api import Api
from serving.server.rest.connection import Connection, RestLimits
from serving.server.rest.server import RestServer
from serving.server.rpc.guard import Guard
from serving.server.rpc.management import ModelService
from serving.server.rpc.prediction import PredictionService
from tests.serving.server.memory import CLASSIFY, FUNCTIONS, REGRESS, MemoryModels
from tests.serving.server.test_grpc import multi_request, predict_request, with_examples
from tests.serving.server.test_rest_compatibility import ROWS

SMALL, LARGE = 4_000, 1_000_000
MOST_GROWTH = 48 << 20
COUNTS = [SMALL, pytest.param(LARGE, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
FORESEEN = {"unforeseen", "refuses_internal", "refuses_unknown", "refuses_data_loss"}
WORDS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"\xff", b"NaN", b"Infinity", b"-", b"1e999", b"null",
    b"18446744073709551616", b"true", b'"', b"\\u", b"\\ud800", b"[", b"]", b"{", b"}", b"[[",
    b'{"b64":"', b"inputs", b"instances", b"signature_name", b"examples", b"context",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
    b"Content-Encoding: gzip\r\n", b"HTTP/1.0", b"HEAD ", b"GET ", b"%00",
    b"/versions/99999999999999999999", b"/labels/x", b"0\r\n\r\n",
)  # fmt: skip


def mutations(corpus: Sequence[bytes], count: int, seed: int) -> Any:
    """Make inputs of a corpus: bytes changed, cut, doubled, spliced, words put in."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
            at = chance.randrange(len(data) + 1)
            kind = chance.randrange(6)
            if kind == 0 and data:
                data[min(at, len(data) - 1)] = chance.randrange(256)
            elif kind == 1:
                data[at:at] = chance.choice(WORDS)
            elif kind == 2:
                del data[at : at + chance.randrange(1, 9)]
            elif kind == 3:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            elif kind == 4:
                other = chance.choice(corpus)
                data[at:] = other[chance.randrange(len(other)) :]
            else:
                del data[at:]
        yield bytes(data)


class Grown:
    """How much memory a process takes more than once it was warm."""

    def __init__(self) -> None:
        gc.collect()
        self._process = psutil.Process(os.getpid())
        self._before = self._process.memory_info().rss

    def bytes(self) -> int:
        gc.collect()
        return int(self._process.memory_info().rss - self._before)


def tell(protocol: str, count: int, seen: Mapping[Any, int], more: int) -> None:
    """Write the account of a run as rows of a table; ``pytest -s`` shows it."""
    print(f"\n| {protocol} | |\n|---|---|\n| inputs | {count:,} |")
    for status, number in sorted(seen.items()):
        print(f"| answered {status} | {number:,} |")
    print(f"| more memory than when warm | {more / 2**20:.1f} MiB |")


class Transport:
    """Takes answers in; the other side of a connection."""

    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.data += data

    def close(self) -> None:
        self.is_closed = True

    abort = write_eof = pause_reading = resume_reading = lambda self: None

    def can_write_eof(self) -> bool:
        return True

    def get_extra_info(self, name: str) -> Any:
        raise AssertionError(name)


class Answers:
    """Checks that bytes are answers of HTTP, each with a body as its head says."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._body = b""
        self._kind = b""

    def check(self, data: bytes) -> None:
        parser = httptools.HttpResponseParser(self)
        self._parser = parser
        parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Content-Type":
            self._kind = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 100:
            self.statuses.append(status)
            if self._kind == b"application/json" and self._body:
                document = json.loads(self._body)
                assert status == 200 or set(document) <= {"error", "status"}
        self._body = b""


def rest_corpus() -> list[bytes]:
    """Every request of the compatibility suite that is not answered by an unforeseen error."""
    corpus = []
    for row in ROWS:
        body = orjson.dumps(row.body) if isinstance(row.body, dict | list) else row.body or b""
        if any(name.encode() in body for name in FORESEEN):
            continue
        head = f"{row.method} {row.path} HTTP/1.1\r\nHost: localhost\r\n"
        corpus.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        corpus.append(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunked)
    return corpus


async def fuzz_rest(inputs: Any) -> dict[int, int]:
    metrics = Metrics()
    limits = RestLimits(head_bytes=4096, body_bytes=65536)
    server = RestServer(Api(MemoryModels(), metrics, largest_body=65536), metrics, limits)
    seen: dict[int, int] = {}
    for number, data in enumerate(inputs):
        connection, transport = Connection(server), Transport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        cut = number % (len(data) + 1) if number % 3 == 0 else len(data)
        for part in (data[:cut], data[cut:]):
            if part and not transport.is_closed:
                connection.data_received(part)
        for _ in range(64):
            if connection._asked is None:
                break
            await asyncio.sleep(0)
        assert connection._asked is None, data
        if not transport.is_closed:
            connection.eof_received()
        connection.connection_lost(None)
        answers = Answers()
        try:
            # What follows a head's answer has no body.
            if not data.startswith(b"HEAD") and b"HEAD" not in data:
                answers.check(transport.data)
        except Exception:
            raise AssertionError((data, transport.data)) from None
        for status in answers.statuses:
            assert status != 500, (data, transport.data)
            seen[status] = seen.get(status, 0) + 1
    assert metrics.connections() == 0
    return seen


@pytest.mark.parametrize("count", COUNTS, ids=str)
def test_rest_answers_whatever_arrives(count: int) -> None:
    corpus = rest_corpus()
    asyncio.run(fuzz_rest(mutations(corpus, SMALL, seed=1)))
    grown = Grown()
    seen = asyncio.run(fuzz_rest(mutations(corpus, count, seed=2)))
    more = grown.bytes()
    tell("REST", count, seen, more)
    assert {200, 400, 404} <= set(seen)
    assert more < MOST_GROWTH


class Aborted(Exception):
    """What ``context.abort`` raises."""


class Context:
    """A call's other side."""

    def __init__(self) -> None:
        self.status: grpc.StatusCode | None = None

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        details.encode()
        self.status = code
        raise Aborted

    def time_remaining(self) -> float | None:
        return None

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


def grpc_corpus() -> list[tuple[str, Any, bytes]]:
    """Methods with the kind of their answer and a good request."""
    one = np.float32([1])
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "half"
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "half"
    reload = model_management_pb2.ReloadConfigRequest()
    reload.config.model_config_list.config.add(name="half", base_path="/m")
    filtered = predict_request(x=one)
    filtered.output_filter.append("y")
    filtered.model_spec.version_label = "stable"
    fields = predict_request()
    fields.inputs["x"].CopyFrom(tensor_pb2.TensorProto(dtype=1, float_val=[1, 2]))
    fields.inputs["x"].tensor_shape.dim.add(size=3)
    mixed = predict_request(
        "mixed", x=np.float32([[1, 2]]), i=np.int64([3]), s=np.array([b"a"], object)
    )
    regression = with_examples(regression_pb2.RegressionRequest, "regress_x_to_y", 1.0)
    classification = with_examples(
        classification_pb2.ClassificationRequest, "classify_labelled", 0.5
    )
    multi = multi_request(
        ("half", "regress_x_to_y", REGRESS), ("half", "classify_x_to_y", CLASSIFY)
    )
    asked = {
        ("Predict", predict_pb2.PredictResponse): [predict_request(x=one), filtered, fields, mixed],
        ("Classify", classification_pb2.ClassificationResponse): [classification],
        ("Regress", regression_pb2.RegressionResponse): [regression],
        ("MultiInference", inference_pb2.MultiInferenceResponse): [multi],
        ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataResponse): [metadata],
        ("GetModelStatus", get_model_status_pb2.GetModelStatusResponse): [status],
        ("HandleReloadConfigRequest", model_management_pb2.ReloadConfigResponse): [reload],
    }
    return [
        (method, kind, message.SerializeToString())
        for (method, kind), messages in asked.items()
        for message in messages
    ]


async def fuzz_grpc(asked: Any) -> dict[grpc.StatusCode | None, int]:
    models, guard = MemoryModels(), Guard()
    handlers = {
        **PredictionService(models, Metrics(), guard).handlers,
        **ModelService(models, guard).handlers,
    }
    seen: dict[grpc.StatusCode | None, int] = {}
    for method, kind, raw in asked:
        context = Context()
        try:
            answer = await handlers[method](raw, context)
        except Aborted:
            pass
        else:
            kind.FromString(answer)
        assert context.status is not grpc.StatusCode.INTERNAL, (method, raw)
        seen[context.status] = seen.get(context.status, 0) + 1
        models.reloaded.clear()
    return seen


def grpc_mutations(count: int, seed: int) -> Any:
    corpus = grpc_corpus()
    chance = random.Random(seed)
    per_method = {
        method: mutations([raw for name, _, raw in corpus if name == method], count, seed)
        for method, _, _ in corpus
    }
    for _ in range(count):
        method, kind, _ = chance.choice(corpus)
        yield method, kind, next(per_method[method])


@pytest.mark.parametrize("count", COUNTS, ids=str)
def test_grpc_answers_whatever_arrives(count: int) -> None:
    asyncio.run(fuzz_grpc(grpc_mutations(SMALL, seed=3)))
    grown = Grown()
    seen = asyncio.run(fuzz_grpc(grpc_mutations(count, seed=4)))
    more = grown.bytes()
    tell("gRPC", count, {"OK" if one is None else one.name: n for one, n in seen.items()}, more)
    assert {None, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND} <= set(seen)
    assert more < MOST_GROWTH


KEYS = st.sampled_from(
    ["instances", "inputs", "signature_name", "examples", "context", "x", "b64", "i", "s", "z"]
)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4)
    | st.sampled_from(sorted(FUNCTIONS.keys() - FORESEEN))
)  # fmt: skip
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200)
@given(
    st.dictionaries(KEYS, DOCUMENTS, max_size=4),
    st.sampled_from(["predict", "classify", "regress"]),
)
def test_rest_answers_any_json(document: dict[str, Any], verb: str) -> None:
    body = json.dumps(document).encode()
    head = f"POST /v1/models/half:{verb} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    asyncio.run(fuzz_rest([head.encode() + body]))


@settings(max_examples=200)
@given(st.data())
def test_grpc_answers_any_tensor(data: st.DataObject) -> None:
    tensor = tensor_pb2.TensorProto(
        dtype=data.draw(st.integers(0, 30)),
        tensor_content=data.draw(st.binary(max_size=16)),
        float_val=data.draw(st.lists(st.floats(width=32), max_size=3)),
        int_val=data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3)),
        half_val=data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3)),
        string_val=data.draw(st.lists(st.binary(max_size=3), max_size=3)),
    )
    for size in data.draw(
        st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3), max_size=3)
    ):
        tensor.tensor_shape.dim.add(size=size)
    request = predict_request(data.draw(st.sampled_from(sorted(FUNCTIONS.keys() - FORESEEN))))
    request.inputs["x"].CopyFrom(tensor)
    asyncio.run(fuzz_grpc([("Predict", predict_pb2.PredictResponse, request.SerializeToString())]))
