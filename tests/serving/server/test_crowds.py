"""A crowd's requests share what they cost, and each is answered as if it had come alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.contract import Code, ServingError, Signature, TensorSpec
from serving.server.metrics import Metrics
from serving.server.models.batching import INLINE_SECONDS, Cost, Limits, SignatureRun
from serving.server.models.requests import RequestPlan
from serving.server.models.servable import LoadedVersion
from serving.server.protos import types_pb2
from serving.server.rest.api import Api
from serving.server.rest.heads import Head, Heads
from serving.server.rest.rows import cut, predictions, predictions_of_each
from serving.server.tensors import Array
from tests.serving.server.models.saved_models import asynchronous
from tests.serving.server.models.test_batching import DEAR, Blocking, Doubling, run_of, version_of

SHORT = Cost(INLINE_SECONDS / 4, 0.0)
"""After three that come alone the fourth waits for others."""

Answer = tuple[int, bytes, bytes]


class OneModel:
    """A version of a model ``m`` that anything finds."""

    def __init__(self, version: LoadedVersion) -> None:
        self.version = version

    def find(self, model: str, version: int | None = None, label: str | None = None) -> Any:
        if model != "m":
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({model})")
        return self.version

    def statuses(self, model: str, version: int | None = None, label: str | None = None) -> Any:
        self.find(model)
        return []


class Asking:
    """Asks an Api as connections do, many requests in one turn of the event loop."""

    def __init__(self, version: LoadedVersion, observer: Any = None) -> None:
        self.metrics = Metrics()
        models: Any = OneModel(version)
        self._api = Api(models, self.metrics, observer=observer)
        self._heads = Heads()

    async def ask(self, *bodies: bytes, model: str = "m", headers: str = "") -> list[Answer]:
        head = self._head(model, headers)
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Answer]] = [loop.create_future() for _ in bodies]
        for body, answer in zip(bodies, answers, strict=True):
            self._api.ask(head, body, lambda *parts, to=answer: to.set_result(parts))
        return await asyncio.wait_for(asyncio.gather(*answers), 60)

    def send_to(self, body: bytes, send: Any) -> None:
        self._api.ask(self._head("m", ""), body, send)

    async def crowd(self) -> None:
        """Be asked so much in one turn that the next is expected to be a crowd."""
        await self.ask(*[row(1)] * 8)

    def _head(self, model: str, headers: str) -> Head:
        raw = f"POST /v1/models/{model}:predict HTTP/1.1\r\nContent-Length: 1\r\n{headers}\r\n"
        return self._heads.read(raw.encode())


def row(*numbers: float) -> bytes:
    return orjson.dumps({"instances": numbers})


def told(number: float) -> Answer:
    return 200, b"application/json", b'{"predictions":[%.1f]}' % number


def serving_double(double: Any, cost: Cost = SHORT, limits: Limits = Limits()) -> LoadedVersion:
    return version_of(run_of(double, cost), limits, signature="serving_default")


@asynchronous
async def test_what_arrives_in_one_turn_is_one_run() -> None:
    double = Doubling()
    asking = Asking(serving_double(double))
    assert await asking.ask(row(1), row(2), row(3)) == [told(2), told(4), told(6)]
    assert double.asked == [1, 1, 1], "three come one by one, for all that is known"
    await asking.crowd()
    double.asked.clear()
    answers = await asking.ask(row(1), row(2, 3), b'{"instances": [4.5], "x": 1}', row(5))
    several = 200, b"application/json", b'{"predictions":[4.0,6.0]}'
    assert answers == [told(2), several, told(9), told(10)]
    assert double.asked == [4, 1], "what is not ordinary has a run of its own"
    double.asked.clear()
    assert await asking.ask(row(7)) == [told(14)]
    assert await asking.ask(row(8)) == [told(16)]
    assert double.asked == [1, 1]


@asynchronous
async def test_a_crowd_is_counted_and_observed_one_by_one() -> None:
    notes: list[dict[str, Any]] = []
    asking = Asking(serving_double(Doubling()), observer=lambda **note: notes.append(note))
    await asking.crowd()
    notes.clear()
    await asking.ask(row(1), row(2, 3), row(4), headers="X-Subject: abc\r\n")
    seen = [(note["inputs"]["x"].tolist(), note["outputs"]["y"].tolist()) for note in notes]
    assert seen == [([1], [2]), ([2, 3], [4, 6]), ([4], [8])]
    assert {note["metadata"]["x-subject"] for note in notes} == {"abc"}
    page = asking.metrics.page()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 11' in page
    assert 'learnloop_serving_version_runs_total{model_name="m",version="1",status="OK"} 11' in page


@asynchronous
async def test_more_than_a_crowd_goes_in_parts() -> None:
    double = Doubling()
    asking = Asking(serving_double(double))
    await asking.crowd()
    double.asked.clear()
    answers = await asking.ask(*(row(number) for number in range(150)))
    assert answers == [told(2 * number) for number in range(150)]
    assert double.asked == [64, 64, 22]


@asynchronous
async def test_a_refused_row_spoils_no_other_answer() -> None:
    double = Doubling()
    asking = Asking(serving_double(double))
    await asking.crowd()
    refusal = 400, b"application/json", b'{"error":"A number is negative."}'
    assert await asking.ask(row(1), row(-2), row(3)) == [told(2), refusal, told(6)]
    assert ':request_count{model_name="m",status="INVALID_ARGUMENT"} 1' in asking.metrics.page()


@asynchronous
async def test_a_long_run_does_not_hold_the_loop() -> None:
    double = Doubling()
    asking = Asking(serving_double(double, DEAR))
    await asking.ask(row(0), row(0), row(0))
    double.asked.clear()
    assert await asking.ask(row(1), row(2), row(3)) == [told(2), told(4), told(6)]
    assert double.asked == [3], "the queue has put them together"


@asynchronous
async def test_a_crowd_keeps_to_the_queues_limits() -> None:
    asking = Asking(serving_double(Doubling(), DEAR, Limits(queued_requests=2)))
    await asking.ask(row(0), row(0))
    answers = await asking.ask(row(1), row(2), row(3))
    full = "The batch scheduling queue to which this task was submitted is full"
    refusal = 429, b"application/json", orjson.dumps({"error": full})
    assert answers == [told(2), told(4), refusal]


@asynchronous
async def test_a_crowd_runs_no_more_rows_than_a_batch_may_have() -> None:
    double = Doubling()
    asking = Asking(serving_double(double, SHORT, Limits(batch_rows=4)))
    await asking.crowd()
    double.asked.clear()
    answers = await asking.ask(row(1, 2, 3), row(4, 5, 6), row(7))
    assert [answer[2] for answer in answers] == [
        b'{"predictions":[2.0,4.0,6.0]}',
        b'{"predictions":[8.0,10.0,12.0]}',
        b'{"predictions":[14.0]}',
    ]
    assert double.asked == [3, 4]


@asynchronous
async def test_a_large_body_waits_for_nobody() -> None:
    double = Doubling()
    asking = Asking(serving_double(double))
    await asking.crowd()
    double.asked.clear()
    large = row(*[0.5] * 5000)
    assert len(large) > 16 << 10
    answers = await asking.ask(row(1), large, row(2))
    assert [answer[0] for answer in answers] == [200, 200, 200]
    assert double.asked == [5000, 2]


@asynchronous
async def test_who_has_no_time_is_told_so_in_a_crowd_too() -> None:
    asking = Asking(serving_double(Doubling()))
    await asking.crowd()
    late = 504, b"application/json", b'{"error":"Deadline exceeded"}'
    assert await asking.ask(row(1), row(2), headers="grpc-timeout: 0S\r\n") == [late, late]


@asynchronous
async def test_one_that_cannot_be_sent_to_keeps_nobody_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asking = Asking(serving_double(Doubling()))
    await asking.crowd()

    def fail(*answer: object) -> None:
        raise RuntimeError(f"learner {47 * 100 + 11} has gone")

    asking.send_to(row(9), fail)
    assert await asking.ask(row(1), row(2)) == [told(2), told(4)]
    assert "Unforeseen RuntimeError while answering" in caplog.text
    assert "4711" not in caplog.text


@asynchronous
async def test_a_crowd_before_a_model_that_is_gone_is_told_so() -> None:
    asking = Asking(serving_double(Doubling()))
    await asking.crowd()
    gone = 404, b"application/json", b'{"error":"Servable not found for request: Latest(n)"}'
    assert await asking.ask(row(1), row(2), model="n") == [gone, gone]


@asynchronous
async def test_each_of_a_crowd_has_its_own_deadline() -> None:
    model = Blocking()
    asking = Asking(serving_double(model, DEAR))
    running = asyncio.create_task(
        asking.ask(row(0), row(0), row(0), headers="grpc-timeout: 9S\r\n")
    )
    await asyncio.to_thread(model.has_begun.wait, 60)
    late = 504, b"application/json", b'{"error":"Deadline exceeded"}'
    assert await asking.ask(row(1), row(2), headers="grpc-timeout: 50m\r\n") == [late, late]
    model.may_go_on.set()
    assert await running == [told(0)] * 3


@asynchronous
async def test_an_answer_that_is_not_row_by_row_is_asked_for_alone() -> None:
    def one_answer(arrays: Sequence[Array]) -> Sequence[Array]:
        return [arrays[0].sum(keepdims=True)]

    asking = Asking(serving_double(one_answer))
    await asking.ask(*[row(1)] * 8)
    assert await asking.ask(row(1), row(2), row(3)) == [told(1), told(2), told(3)]


NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.floats(width=32),
    st.sampled_from([2**24 + 1, 2**63, 1e39, 0.1, "1", True, None, [1], "é"]),
)
ROWS = st.lists(
    st.one_of(NUMBERS, st.fixed_dictionaries({"f": NUMBERS, "i": NUMBERS, "s": NUMBERS})),
    max_size=3,
)
BODIES = st.one_of(
    ROWS.map(lambda rows: json.dumps({"instances": rows}).encode()),
    ROWS.map(lambda rows: json.dumps({"inputs": rows}).encode()),
    ROWS.map(lambda rows: json.dumps({"instances": rows, "signature_name": "no"}).encode()),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(lambda rows: row(*rows)),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(
        lambda rows: orjson.dumps({"instances": [{"f": n, "i": n, "s": str(n)} for n in rows]})
    ),
    st.binary(max_size=9),
    st.just(b'{"instances":[NaN]}'),
)


def echo() -> LoadedVersion:
    """Three inputs of three dtypes, and as many outputs."""
    dtypes = {"f": types_pb2.DT_FLOAT, "i": types_pb2.DT_INT64, "s": types_pb2.DT_STRING}
    tensors = {name: TensorSpec(f"{name}:0", dtype, (-1,)) for name, dtype in dtypes.items()}
    plan = RequestPlan("serving_default", Signature("", tensors, tensors, {}))
    return version_of(SignatureRun(plan, lambda arrays: arrays, SHORT), signature=plan.name)


@pytest.mark.parametrize("make", [echo, lambda: serving_double(Doubling())])
@given(bodies=st.lists(BODIES, min_size=2, max_size=6))
def test_a_crowd_is_answered_as_each_of_it_alone(make: Any, bodies: list[bytes]) -> None:
    async def ask() -> None:
        alone, crowded = Asking(make()), Asking(make())
        await crowded.crowd()
        expected = [(await alone.ask(body))[0] for body in bodies]
        assert await crowded.ask(*bodies) == expected

    asyncio.run(ask())


@given(
    dtype=st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, object]),
    tail=st.lists(st.integers(0, 3), max_size=2),
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    is_finite=st.booleans(),
    names=st.sampled_from(["y", "yz"]),
)
def test_writes_for_each_what_is_written_for_one(
    dtype: Any, tail: list[int], counts: list[int], is_finite: bool, names: str
) -> None:
    shape = (sum(counts), *tail)
    drawn = np.random.default_rng(len(counts)).normal(size=shape) * 100
    if not is_finite and drawn.size and dtype in (np.float32, np.float64):
        drawn.flat[0] = np.nan
    array = drawn.astype(dtype) if dtype is not object else np.full(shape, b'],["', object)
    outputs = dict.fromkeys(names, array)
    ends = np.cumsum(counts).tolist()
    each = [predictions(cut(outputs, end - n, end)) for n, end in zip(counts, ends, strict=True)]
    assert predictions_of_each(outputs, ends) == each
