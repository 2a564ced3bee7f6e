"""What is queued goes as one batch; nothing that one request does harms another."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from serving.server.contract import Code, ServingError, Signature, TensorSpec
from serving.server.models.batching import INLINE_SECONDS, Batcher, Cost, Limits, SignatureRun
from serving.server.models.requests import RequestPlan
from serving.server.models.servable import LoadedVersion
from serving.server.protos import types_pb2
from serving.server.tensors import Array
from tests.serving.server.models.saved_models import asynchronous

CHEAP, DEAR = Cost(0.0, 0.0), Cost(INLINE_SECONDS, 0.0)


class Doubling:
    """Doubles; refuses negative numbers; remembers how many rows it was asked at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, arrays: Sequence[Array]) -> Sequence[Array]:
        (x,) = arrays
        self.asked.append(len(x))
        if (x < 0).any():
            raise ServingError(Code.INVALID_ARGUMENT, "A number is negative.")
        return [x * 2]


def run_of(function: Any, cost: Cost = CHEAP, *tail: int) -> SignatureRun:
    x, y = (TensorSpec(f"{n}:0", types_pb2.DT_FLOAT, (-1, *tail)) for n in "xy")
    return SignatureRun(
        RequestPlan("double", Signature("", {"x": x}, {"y": y}, {})), function, cost
    )


def version_of(
    run: SignatureRun, limits: Limits = Limits(), signature: str = "double"
) -> LoadedVersion:
    return LoadedVersion("m", 1, b"", {signature: run}, limits, asyncio.get_running_loop())


async def ask(version: LoadedVersion, *numbers: float, deadline: float | None = None) -> Any:
    try:
        answer = await version.run("double", {"x": np.float32(numbers)}, deadline=deadline)
    except ServingError as refusal:
        return refusal.code, refusal.message
    return answer["y"].tolist()


@asynchronous
async def test_all_that_is_queued_goes_as_one_batch() -> None:
    double = Doubling()
    version = version_of(run_of(double))
    answers = await asyncio.gather(ask(version, 1), ask(version, 2, 3), ask(version, 4))
    assert answers == [[2], [4, 6], [8]]
    assert double.asked == [4]


@asynchronous
async def test_a_short_run_is_done_at_once_unless_others_wait() -> None:
    double, loop = Doubling(), asyncio.get_running_loop()
    cost = Cost(INLINE_SECONDS / 10, INLINE_SECONDS / 2)
    batcher = Batcher({"double": run_of(double, cost)}, Limits(), loop)

    def now(*numbers: float, deadline: float | None = None) -> Any:
        inputs = {"x": np.float32(numbers)}
        answer = batcher.answer_now("double", inputs, ("y",), deadline, 0.0)
        return answer["y"].tolist() if isinstance(answer, dict) else answer

    assert now(1, 2, deadline=loop.time() + 600) == [2, 4]
    refusal = now(-1)
    assert (refusal.code, refusal.message) == (Code.INVALID_ARGUMENT, "A number is negative.")
    double.asked.clear()
    assert now(1, 2, 3) is None, "that is a long one"
    assert now(1, deadline=loop.time()) is None, "it expires in the queue"
    assert batcher.answer_now("other", {}, (), None, 1.0) is None, "the queue says why"
    with pytest.raises(ServingError):
        batcher.answer_now("double", {}, (), None, 1.0)
    answered = loop.create_future()
    batcher.submit("double", {"x": np.float32([1])}, (), None, answered.set_result)
    assert now(1) is None, "somebody waits"
    assert double.asked == []
    await answered
    assert now(1) == [2]
    await batcher.close()
    assert now(1) is None, "the queue says that the server is stopping"


@asynchronous
async def test_a_crowd_is_noticed_and_shares_its_runs_until_it_is_gone() -> None:
    double, loop = Doubling(), asyncio.get_running_loop()
    cost = INLINE_SECONDS / 32
    batcher = Batcher({"double": run_of(double, Cost(cost, 0.0))}, Limits(), loop)
    inputs = {"x": np.float32([1])}

    def lone(waiting: float = 0.0) -> int:
        """How many are answered at once before one has to wait; at most a hundred."""
        answers = (batcher.answer_now("double", inputs, (), None, waiting) for _ in range(100))
        return sum(1 for _ in itertools.takewhile(lambda answer: answer is not None, answers))

    async def wait_for(*others: int) -> None:
        answered = [loop.create_future() for _ in others]
        for future in answered:
            batcher.submit("double", inputs, (), None, future.set_result)
        await asyncio.gather(*answered)

    assert lone() == 31
    await wait_for(1)
    assert lone() == 31
    await wait_for(1, 2)
    assert lone() == 0
    assert lone(waiting=2 * cost) == 100, "to wait would cost them more"
    await wait_for(1, 2, 3)
    assert lone() == 0
    await wait_for(1)
    assert lone() == 31
    assert double.asked == [1] * 31 + [1] + [1] * 31 + [2] + [1] * 100 + [3] + [1] + [1] * 31


@asynchronous
async def test_a_batch_has_a_largest_size_and_a_larger_request_runs_alone() -> None:
    double = Doubling()
    version = version_of(run_of(double), Limits(batch_rows=3))
    sizes = (2, 1, 2, 5, 1)
    answers = await asyncio.gather(*(ask(version, *range(size)) for size in sizes))
    assert answers == [[2.0 * n for n in range(size)] for size in sizes]
    assert double.asked == [3, 2, 5, 1]


@asynchronous
async def test_a_bad_row_spoils_no_other_answer() -> None:
    double = Doubling()
    version = version_of(run_of(double))
    answers = await asyncio.gather(ask(version, 1), ask(version, -1), ask(version, 3))
    assert answers == [[2], (Code.INVALID_ARGUMENT, "A number is negative."), [6]]
    assert double.asked == [3, 1, 1, 1]


@asynchronous
async def test_what_fails_unforeseen_quotes_no_value() -> None:
    def fail(arrays: Sequence[Array]) -> Sequence[Array]:
        raise RuntimeError("learner 4711 scored 0.3")

    version = version_of(run_of(fail))
    assert await ask(version, 1) == (Code.INTERNAL, "The model failed: RuntimeError")


@asynchronous
async def test_outputs_that_do_not_fit_the_batch_are_asked_for_alone() -> None:
    version = version_of(run_of(lambda arrays: [np.float32([len(arrays[0])])]))
    assert await asyncio.gather(ask(version, 1), ask(version, 1, 2)) == [[1], [2]]


@asynchronous
async def test_a_full_queue_refuses() -> None:
    version = version_of(run_of(Doubling()), Limits(queued_requests=2))
    full = "The batch scheduling queue to which this task was submitted is full"
    answers = await asyncio.gather(*(ask(version, n) for n in range(3)))
    assert answers == [[0], [2], (Code.RESOURCE_EXHAUSTED, full)]
    assert await ask(version, 4) == [8], "there is room again"


@asynchronous
async def test_a_queue_refuses_more_rows_than_it_may_hold_but_takes_one_large_request() -> None:
    version = version_of(run_of(Doubling()), Limits(queued_rows=3))
    answers = await asyncio.gather(ask(version, *range(4)), ask(version, 1))
    assert answers[0] == [0, 2, 4, 6]
    assert answers[1][0] == Code.RESOURCE_EXHAUSTED


@asynchronous
async def test_what_is_expired_never_runs() -> None:
    double = Doubling()
    version = version_of(run_of(double))
    now = asyncio.get_running_loop().time()
    expired = (Code.DEADLINE_EXCEEDED, "Deadline exceeded")
    assert await ask(version, 1, deadline=now) == expired
    answers = await asyncio.gather(
        ask(version, 1, deadline=now), ask(version, 2, deadline=now + 600), ask(version, 3)
    )
    assert answers == [expired, [4], [6]]
    assert double.asked == [2]


@asynchronous
async def test_while_a_dear_batch_runs_the_next_one_gathers() -> None:
    double, may_go_on, has_begun = Doubling(), threading.Event(), threading.Event()

    def slow(arrays: Sequence[Array]) -> Sequence[Array]:
        has_begun.set()
        assert may_go_on.wait(60)
        assert threading.current_thread() is not threading.main_thread()
        return double(arrays)

    version = version_of(run_of(slow, DEAR))
    first = asyncio.create_task(ask(version, 1))
    await asyncio.to_thread(has_begun.wait, 60)
    others = [asyncio.create_task(ask(version, n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)
    may_go_on.set()
    assert await asyncio.gather(first, *others) == [[2], [4], [6], [8]]
    assert double.asked == [1, 3]
    await version.close()


class Blocking(Doubling):
    """Doubles once it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, arrays: Sequence[Array]) -> Sequence[Array]:
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        return super().__call__(arrays)


@asynchronous
async def test_a_deadline_that_passes_while_a_batch_runs_is_told_then() -> None:
    """Both of a request in that run and of one behind it; the other answers are not touched."""
    expired = (Code.DEADLINE_EXCEEDED, "Deadline exceeded")
    blocking, loop = Blocking(), asyncio.get_running_loop()
    version = version_of(run_of(blocking, DEAR), Limits(queued_requests=3))
    running = [asyncio.create_task(ask(version, 1, deadline=loop.time() + 0.5))]
    running += [asyncio.create_task(ask(version, 2, deadline=loop.time() + 600))]
    await asyncio.to_thread(blocking.has_begun.wait, 60)
    queued = [asyncio.create_task(ask(version, 3, deadline=loop.time() + 600))]
    queued += [asyncio.create_task(ask(version, 4, deadline=loop.time() + 0.1))]
    queued += [asyncio.create_task(ask(version, 5))]
    assert await queued[1] == expired
    assert await running[0] == expired
    late = asyncio.create_task(ask(version, 6))
    await asyncio.sleep(0)
    assert not any(task.done() for task in (running[1], queued[0], queued[2], late))
    blocking.may_go_on.set()
    assert await asyncio.gather(running[1], queued[0], queued[2], late) == [[4], [6], [10], [12]]
    assert blocking.asked == [2, 3], "the queue had room again, and what expired in it never ran"
    await version.close()


@asynchronous
async def test_who_is_told_that_it_is_late_may_ask_again_at_once() -> None:
    """As a connection with a further request does; that request is not lost."""
    loop = asyncio.get_running_loop()
    for cost in (CHEAP, DEAR):
        blocking, answered = Blocking(), loop.create_future()
        batcher = Batcher({"double": run_of(blocking, cost)}, Limits(batch_rows=2), loop)

        def again(answer: Any, batcher: Batcher = batcher, answered: Any = answered) -> None:
            assert answer.code is Code.DEADLINE_EXCEEDED
            inputs = {"x": np.float32([3])}
            batcher.submit("double", inputs, (), loop.time() + 600, answered.set_result)

        if cost is DEAR:
            batcher.submit("double", {"x": np.float32([1])}, (), None, lambda answer: None)
            await asyncio.to_thread(blocking.has_begun.wait, 60)
        now = loop.time()
        batcher.submit("double", {"x": np.float32([1])}, (), now, again)
        for _ in range(2):
            inputs = {"x": np.float32([1, 2])}
            batcher.submit("double", inputs, (), now + 600, lambda answer: None)
        if cost is DEAR:
            await asyncio.sleep(0.05)
        blocking.may_go_on.set()
        assert (await answered)["y"].tolist() == [6]
        await batcher.close()


@asynchronous
async def test_no_rows_are_answered_with_no_rows() -> None:
    """TFLite and ONNX Runtime cannot run none: the function is not asked."""

    def of_some(arrays: Sequence[Array]) -> Sequence[Array]:
        assert len(arrays[0])
        return [arrays[0] * 2]

    version = version_of(run_of(of_some))
    assert await ask(version) == []
    assert await asyncio.gather(ask(version), ask(version, 1), ask(version)) == [[], [2], []]
    assert await asyncio.gather(ask(version), ask(version)) == [[], []]


@asynchronous
async def test_rows_of_other_sizes_share_no_batch() -> None:
    double = Doubling()
    version = version_of(run_of(double, CHEAP, -1))
    sizes = (2, 3, 2)
    answers = await asyncio.gather(
        *(version.run("double", {"x": np.ones((1, size), np.float32)}) for size in sizes)
    )
    assert [answer["y"].shape for answer in answers] == [(1, size) for size in sizes]
    assert double.asked == [2, 1]


@asynchronous
async def test_answers_by_other_means_once_it_is_told_so() -> None:
    before, after = Doubling(), Doubling()
    version = version_of(run_of(before))
    asked = [asyncio.create_task(ask(version, n)) for n in (1, 2)]
    await asyncio.sleep(0)
    version.replace({"double": run_of(after)})
    assert await asyncio.gather(*asked, ask(version, 3)) == [[2], [4], [6]]
    assert await ask(version, 4) == [8]
    assert (before.asked, after.asked) == ([2], [1, 1])


@asynchronous
async def test_the_end_answers_what_is_queued_and_refuses_what_comes_after() -> None:
    version = version_of(run_of(Doubling()))
    asked = [asyncio.create_task(ask(version, n)) for n in (1, 2)]
    await asyncio.sleep(0)
    await version.close()
    assert await asyncio.gather(*asked) == [[2], [4]]
    assert await ask(version, 3) == (Code.UNAVAILABLE, "The server is stopping")


@asynchronous
async def test_an_asker_who_has_gone_harms_nobody() -> None:
    version = version_of(run_of(Doubling()))
    asked = [asyncio.create_task(ask(version, n)) for n in (1, 2)]
    await asyncio.sleep(0)
    asked[0].cancel()
    assert await asked[1] == [4]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            {},
            "input size does not match signature: 0!=1 len({}) != len({x}). "
            "Sent extra: {}. Missing but required: {x}.",
        ),
        (
            {"x": np.float32([1]), "z": np.float32([1])},
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
            "Sent extra: {z}. Missing but required: {}.",
        ),
        ({"x": np.float64([1])}, "input x: expected DT_FLOAT, received float64."),
        ({"x": np.float32([[1]])}, "input x: expected shape [?], received [1,1]."),
        ({"x": np.float32(1)}, "input x: expected shape [?], received []."),
    ],
)
def test_refuses_at_once_what_does_not_fit(inputs: Any, words: str) -> None:
    async def submit() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher({"double": run_of(Doubling())}, Limits(), loop)
        batcher.submit("double", inputs, (), None, lambda answer: None)

    with pytest.raises(ServingError) as caught:
        asyncio.run(submit())
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, words)
