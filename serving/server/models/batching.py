"""Continuous batching without a timer.

What is queued when the runner is free goes as one batch, so a lone request never waits and a
crowd shares a run. While requests come one by one, each that is cheap runs at once; now and then
one waits nevertheless, to see whether there is a crowd by now. A batch that is cheap by measured
cost runs in the event loop, at the end of the iteration in which it arrived: handing it to
a thread would cost more than running it. A dear one runs in the version's own thread while the loop
takes in the next, and while it runs an alarm tells whoever's deadline passes, in the queue or in
the run itself, whose answer is then dropped.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from serving.server.contract import Code, Done, ServingError, Tensors
from serving.server.models.executions import GRAPH
from serving.server.models.requests import RequestPlan
from serving.server.models.runtime import Function
from serving.server.tensors import Array

INLINE_SECONDS = 0.001
"""A batch that is expected to take less runs in the event loop; and so long may lone requests run
until one waits to see whether there are others."""

_ALARM_SECONDS = 0.005
"""Deadlines are looked at no more often, however many there are."""


@dataclass(frozen=True)
class Cost:
    """What a run was measured to take.

    Args:
        fixed: Seconds of a run of one row.
        per_row: Seconds of each row more.
    """

    fixed: float
    per_row: float

    def of(self, rows: int) -> float:
        """Expect the seconds of a run."""
        return self.fixed + self.per_row * (rows - 1)


@dataclass(frozen=True)
class Limits:
    """What a version takes before it refuses.

    Args:
        batch_rows: Rows of a batch; a request with more runs alone.
        queued_requests: Requests that wait.
        queued_rows: Rows that wait, all requests together.
    """

    batch_rows: int = 1024
    queued_requests: int = 10_000
    queued_rows: int = 1_000_000


@dataclass(frozen=True)
class SignatureRun:
    """A signature that can be run.

    Args:
        plan: What its requests must be.
        function: Its run.
        cost: What that takes.
        execution: By what it runs.
    """

    plan: RequestPlan
    function: Function
    cost: Cost
    execution: str = GRAPH


class _Request:
    __slots__ = ("deadline", "done", "is_answered", "outputs", "rows", "values")

    def __init__(
        self,
        values: Sequence[Array],
        rows: int,
        outputs: tuple[str, ...],
        deadline: float | None,
        done: Done,
    ) -> None:
        self.values = values
        self.rows = rows
        self.outputs = outputs
        self.deadline = deadline
        self.done = done
        self.is_answered = False

    def is_expired(self, now: float) -> bool:
        return self.deadline is not None and self.deadline <= now


class _Group:
    """Requests that may share a batch."""

    __slots__ = ("requests", "run")

    def __init__(self, run: SignatureRun) -> None:
        self.run = run
        self.requests: list[_Request] = []


class Batcher:
    """The queue and the runner of one version.

    Args:
        runs: The version's signatures by name.
        limits: What it takes.
        loop: The event loop that requests come from and answers go to.
    """

    def __init__(
        self, runs: Mapping[str, SignatureRun], limits: Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._runs = runs
        self._limits = limits
        self._loop = loop
        self._groups: dict[Hashable, _Group] = {}
        self._requests = 0
        self._rows = 0
        self._is_scheduled = False
        self._is_closed = False
        self._lone_seconds = INLINE_SECONDS
        self._thread: ThreadPoolExecutor | None = None
        self._in_thread: list[_Request] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None

    def answer_now(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        seconds: float,
    ) -> Tensors | ServingError | None:
        """Answer a lone request (:meth:`serving.server.contract.Servable.answer_now`)."""
        run = self._runs.get(signature)
        longest = min(max(seconds, self._lone_seconds), INLINE_SECONDS)
        if run is None or self._is_scheduled or self._is_closed or run.cost.fixed >= longest:
            return None
        values, rows, _ = run.plan.arrange(inputs)
        cost = run.cost.of(rows)
        if cost >= longest or rows > self._limits.batch_rows:
            return None
        if deadline is not None and deadline <= self._loop.time():
            return None
        self._lone_seconds -= cost
        return _run_alone(run, values, rows, run.plan.choose(outputs))

    def submit(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        done: Done,
    ) -> None:
        """Queue a request (:meth:`serving.server.contract.Servable.submit`)."""
        if self._is_closed:
            raise ServingError(Code.UNAVAILABLE, "The server is stopping")
        run = self._runs.get(signature)
        if run is None:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f'Serving signature name: "{signature}" not found in signature def',
            )
        values, rows, key = run.plan.arrange(inputs)
        request = _Request(values, rows, run.plan.choose(outputs), deadline, done)
        if self._requests >= self._limits.queued_requests or (
            self._requests and self._rows + rows > self._limits.queued_rows
        ):
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                "The batch scheduling queue to which this task was submitted is full",
            )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[request if key is None else key] = _Group(run)
        group.requests.append(request)
        self._requests += 1
        self._rows += rows
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run_next)
        elif self._in_thread and deadline is not None:
            self._set_alarm(deadline)

    async def drain(self) -> None:
        """Wait until nothing is queued or running."""
        if self._is_scheduled:
            self._idle = self._idle or self._loop.create_future()
            await asyncio.shield(self._idle)

    async def close(self) -> None:
        """Answer what is queued, and refuse what comes after."""
        self._is_closed = True
        await self.drain()
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def replace(self, runs: Mapping[str, SignatureRun]) -> None:
        """Run signatures by other means; what is queued or running is not touched."""
        self._runs = runs

    def _run_next(self) -> None:
        """Run the group that has waited longest; one, so that the loop stays responsive."""
        key = next(iter(self._groups))
        group = self._groups.pop(key)
        run, requests = group.run, group.requests
        if len(requests) > 1 or requests[0].rows > 1 or requests[0].deadline is not None:
            requests = self._take(key, group)
        else:
            self._requests -= 1
            self._rows -= 1
        self._lone_seconds = INLINE_SECONDS if len(requests) < 2 else 0.0
        rows = sum([request.rows for request in requests])
        if not requests or run.cost.of(rows) < INLINE_SECONDS:
            self._answer(requests, _run(run, requests))
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._in_thread = requests
        self._set_next_alarm()
        self._thread.submit(self._run_in_thread, run, requests)

    def _run_in_thread(self, run: SignatureRun, requests: list[_Request]) -> None:
        answers = _run(run, requests)
        self._loop.call_soon_threadsafe(self._answer_from_thread, requests, answers)

    def _answer_from_thread(
        self, requests: list[_Request], answers: Sequence[Tensors | ServingError]
    ) -> None:
        self._in_thread = []
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._answer(requests, answers)

    def _set_next_alarm(self) -> None:
        waiting = itertools.chain(
            self._in_thread, *(group.requests for group in self._groups.values())
        )
        deadlines = [
            request.deadline
            for request in waiting
            if request.deadline is not None and not request.is_answered
        ]
        if deadlines:
            self._set_alarm(min(deadlines))

    def _set_alarm(self, deadline: float) -> None:
        """Wake at a deadline, unless that is done for an earlier one."""
        at = max(deadline, self._loop.time() + _ALARM_SECONDS)
        if self._alarm is None or at < self._alarm.when():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(at, self._tell_expired)

    def _tell_expired(self) -> None:
        """Tell those whose deadline has passed while the thread runs."""
        self._alarm = None
        now = self._loop.time()
        expired = [request for request in self._in_thread if request.is_expired(now)]
        for key, group in list(self._groups.items()):
            late = [request for request in group.requests if request.is_expired(now)]
            if late:
                self._requests -= len(late)
                self._rows -= sum([request.rows for request in late])
                group.requests = [r for r in group.requests if not r.is_expired(now)]
                expired += late
            if not group.requests:
                del self._groups[key]
        self._tell_late(expired)
        self._set_next_alarm()

    def _take(self, key: Hashable, group: _Group) -> list[_Request]:
        """Take a batch out of a group; the rest goes to the end of the queue."""
        now = self._loop.time()
        taken: list[_Request] = []
        expired: list[_Request] = []
        rows = 0
        for place, request in enumerate(group.requests):
            is_expired = request.is_expired(now)
            if not is_expired and taken and rows + request.rows > self._limits.batch_rows:
                rest = self._groups[key] = _Group(group.run)
                rest.requests = group.requests[place:]
                break
            self._requests -= 1
            self._rows -= request.rows
            if is_expired:
                expired.append(request)
            else:
                taken.append(request)
                rows += request.rows
        self._tell_late(expired)
        return taken

    def _answer(self, requests: list[_Request], answers: Sequence[Tensors | ServingError]) -> None:
        for request, answer in zip(requests, answers, strict=True):
            self._tell(request, answer)
        if self._groups:
            self._loop.call_soon(self._run_next)
            return
        self._is_scheduled = False
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _tell_late(self, expired: Sequence[_Request]) -> None:
        # Whoever is told may ask again at once, so the queue has to be in order by then.
        for request in expired:
            self._tell(request, ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded"))

    def _tell(self, request: _Request, answer: Tensors | ServingError) -> None:
        if request.is_answered:
            return  # its deadline has passed
        request.is_answered = True
        try:
            request.done(answer)
        except Exception as fault:
            self._loop.call_exception_handler(
                {"message": "The receiver of an answer failed", "exception": fault}
            )


def _run(run: SignatureRun, requests: Sequence[_Request]) -> list[Tensors | ServingError]:
    """Run a batch; where that fails, each request alone, so that one cannot fail the others."""
    if len(requests) < 2:
        return _run_each(run, requests)
    try:
        columns = zip(*(request.values for request in requests), strict=True)
        answer = run.function([np.concatenate(column) for column in columns])
        return _split(run, requests, answer)
    except Exception:
        return _run_each(run, requests)


def _run_each(run: SignatureRun, requests: Sequence[_Request]) -> list[Tensors | ServingError]:
    return [_run_alone(run, one.values, one.rows, one.outputs) for one in requests]


def _run_alone(
    run: SignatureRun, values: Sequence[Array], rows: int, outputs: tuple[str, ...]
) -> Tensors | ServingError:
    names = run.plan.outputs
    try:
        arrays = run.function(values) if rows else run.plan.empty_answer()
    except ServingError as refusal:
        return refusal
    except Exception as fault:
        return ServingError(Code.INTERNAL, f"The model failed: {type(fault).__name__}")
    answer = dict(zip(names, arrays, strict=True))
    return answer if outputs is names else {name: answer[name] for name in outputs}


def _split(
    run: SignatureRun, requests: Sequence[_Request], arrays: Sequence[Array]
) -> list[Tensors | ServingError]:
    rows = sum([request.rows for request in requests])
    if any(len(array) != rows for array in arrays):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
            "sizes of the input tensors",
        )
    columns = dict(zip(run.plan.outputs, arrays, strict=True))
    answers: list[Tensors | ServingError] = []
    start = 0
    for request in requests:
        end = start + request.rows
        answers.append({name: columns[name][start:end] for name in request.outputs})
        start = end
    return answers
