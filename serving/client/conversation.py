"""How a question is asked until it is answered: deadline, retries, circuits, canary, signature.

All of it is written once, as generators that say what to do next (:class:`Send`, :class:`Pause`)
and are told what came of it. They neither wait nor know a protocol, so that the synchronous and the
asynchronous client share every decision, and a test can play the server and the clock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from learnloop.errors import UsageError, closest
from serving.client.breaker import CircuitBreaker
from serving.client.canary import CANARY, STABLE, Canary
from serving.client.endpoint import TOKEN_VARIABLE, Endpoint
from serving.client.errors import PredictionError
from serving.client.question import (
    Answer,
    Classified,
    Columns,
    Failure,
    Prediction,
    Question,
    Row,
    Signatures,
)
from serving.client.retries import RETRYABLE, Retries
from serving.client.subject import DIGEST_ONLY, LOG_HEADER, SUBJECT_HEADER, is_pseudonym
from serving.client.tracing import note_attempts, trace_headers
from serving.server.contract import Code, Signature

FAULTS = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNKNOWN})
"""Codes that speak against the endpoint; any other is an answer."""

MOST_SUBJECTS = 100
"""Subjects that fit the headers of one question."""


@dataclass(frozen=True)
class Send:
    """Send a question and tell what came back.

    Args:
        endpoint: Which of the client's endpoints, by its place.
        question: The question.
        seconds: How long it may take.
    """

    endpoint: int
    question: Question
    seconds: float


@dataclass(frozen=True)
class Pause:
    """Wait.

    Args:
        seconds: How long.
    """

    seconds: float


Result = TypeVar("Result")
Conversation = Generator[Send | Pause, Answer | Failure | None, Result]


class Conversations:
    """Holds conversations with one service: the decisions of a client.

    Args:
        endpoints: Where it is; they are asked in turn.
        circuits: The circuit breaker of each.
        retries: When a question is asked again.
        canary: Chooses the label of questions that name none; None leaves it to the server.
        timeout: Seconds that a question may take in all, attempts and pauses.
        clock: Seconds that never go back.
        draw: Gives numbers evenly from 0 to 1.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        circuits: Sequence[CircuitBreaker],
        retries: Retries,
        canary: Canary | None,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._circuits = tuple(circuits)
        self._retries = retries
        self._canary = canary
        self._timeout = timeout
        self._clock = clock
        self._draw = draw
        self._turn = 0
        self._known: dict[tuple[str, int | None, str], Signatures] = {}
        self.fallbacks = 0

    def ask(self, question: Question, timeout: float | None) -> Conversation[Answer]:
        """Ask about a model: its status or its signatures.

        Args:
            question: The question.
            timeout: Seconds in all; the client's when None.
        """
        asked = self._with_headers(question, (), is_logged=True)
        answer, attempts = yield from self._until_answered(asked, self._deadline(timeout))
        note_attempts(attempts, question.label)
        return answer

    def predict(
        self,
        question: Question,
        rows: Sequence[Row] | None,
        columns: Columns | None,
        subjects: Sequence[str],
        timeout: float | None,
        *,
        is_logged: bool,
    ) -> Conversation[Prediction]:
        """Ask for outputs.

        Args:
            question: The model, version, label and signature.
            rows: A mapping a row, or
            columns: values by input.
            subjects: One pseudonym, or one a row.
            timeout: Seconds in all; the client's when None.
            is_logged: Whether the server may log the raw features.

        Raises:
            UsageError: The question does not fit the model.
            PredictionError: It was not answered.
        """
        given = _columns(rows, columns)
        asked = self._with_headers(replace(question, columns=given), subjects, is_logged=is_logged)
        deadline = self._deadline(timeout)
        answer, attempts, label = yield from self._routed(asked, subjects, deadline)
        note_attempts(attempts, label)
        return Prediction(
            answer.value, question.model, answer.version or question.version, label, attempts
        )

    def classify(
        self,
        question: Question,
        subjects: Sequence[str],
        timeout: float | None,
        *,
        is_logged: bool,
    ) -> Conversation[Classified]:
        """Ask for classes; the arguments are those of :meth:`predict`."""
        answer, attempts, label = yield from self._examples(question, subjects, timeout, is_logged)
        version = answer.version or question.version
        return Classified(answer.value, question.model, version, label, attempts)

    def regress(
        self,
        question: Question,
        subjects: Sequence[str],
        timeout: float | None,
        *,
        is_logged: bool,
    ) -> Conversation[Prediction]:
        """Ask for a number a row; the arguments are those of :meth:`predict`."""
        answer, attempts, label = yield from self._examples(question, subjects, timeout, is_logged)
        version = answer.version or question.version
        return Prediction({"value": answer.value}, question.model, version, label, attempts)

    def _examples(
        self,
        question: Question,
        subjects: Sequence[str],
        timeout: float | None,
        is_logged: bool,
    ) -> Conversation[tuple[Answer, int, str]]:
        asked = self._with_headers(question, subjects, is_logged=is_logged)
        found = yield from self._routed(asked, subjects, self._deadline(timeout))
        note_attempts(found[1], found[2])
        return found

    def _routed(
        self, question: Question, subjects: Sequence[str], deadline: float
    ) -> Conversation[tuple[Answer, int, str]]:
        """Ask the version that the canary's weight chooses; the stable one if there is none."""
        if self._canary is None or question.version is not None or question.label:
            answer, attempts = yield from self._fitting(question, deadline)
            return answer, attempts, question.label
        label = self._canary.choose(question.model, subjects[0] if subjects else "")
        try:
            answer, attempts = yield from self._fitting(question.of_label(label), deadline)
        except PredictionError as fault:
            if label != CANARY or fault.code not in (Code.NOT_FOUND, Code.INVALID_ARGUMENT):
                raise
            # No such label, or its version is gone. What is wrong with the question itself, the
            # stable version will say again.
            self.fallbacks += 1
            label = STABLE
            answer, attempts = yield from self._fitting(question.of_label(label), deadline)
        return answer, attempts, label

    def _fitting(self, question: Question, deadline: float) -> Conversation[tuple[Answer, int]]:
        """Ask with the signature in hand, and once more where a new version has another one."""
        if question.operation != "predict":
            return (yield from self._until_answered(question, deadline))
        key = (question.model, question.version, question.label)
        is_fresh = key not in self._known
        while True:
            if key not in self._known:
                self._known[key] = yield from self._signatures(question, deadline)
            signatures = self._known[key]
            try:
                fitted = _fitted(question, signatures)
                return (yield from self._until_answered(fitted, deadline))
            except (UsageError, PredictionError) as fault:
                if is_fresh or getattr(fault, "code", Code.INVALID_ARGUMENT) not in (
                    Code.INVALID_ARGUMENT,
                    Code.NOT_FOUND,
                ):
                    raise
            self._known.pop(key, None)
            is_fresh = True

    def _signatures(self, question: Question, deadline: float) -> Conversation[Signatures]:
        about = replace(question, operation="metadata", signature="", columns=None)
        answer, _ = yield from self._until_answered(about, deadline)
        found: Signatures = answer.value
        return found

    def _until_answered(
        self, question: Question, deadline: float
    ) -> Conversation[tuple[Answer, int]]:
        failed = 0
        while True:
            place, outcome = yield from self._attempt(question, deadline)
            if isinstance(outcome, Answer):
                return outcome, failed + 1
            failed += 1
            pause = self._retries.pause(failed, outcome.retry_after, self._draw)
            is_last = failed >= self._retries.attempts or self._clock() + pause >= deadline
            if is_last or outcome.code not in RETRYABLE:
                raise _unanswered(question, self._endpoints[place], outcome, failed)
            yield Pause(pause)

    def _attempt(
        self, question: Question, deadline: float
    ) -> Conversation[tuple[int, Answer | Failure]]:
        """Send the question to the next endpoint whose circuit lets it pass."""
        self._turn += 1
        for offset in range(len(self._endpoints)):
            place = (self._turn + offset) % len(self._endpoints)
            circuit = self._circuits[place]
            ticket = circuit.admit()
            if ticket is not None:
                break
        else:
            soonest = min(circuit.seconds_until_probe() for circuit in self._circuits)
            words = "it failed too often; it is left alone for a while"
            failure = Failure(Code.UNAVAILABLE, words, soonest, is_refused_locally=True)
            return self._turn % len(self._endpoints), failure
        seconds = deadline - self._clock()
        if seconds <= 0:
            circuit.abandoned(ticket)
            return place, Failure(Code.DEADLINE_EXCEEDED, "no time is left")
        try:
            outcome = yield Send(place, question, seconds)
        except BaseException:  # the caller gave up, or the question cannot be written down
            circuit.abandoned(ticket)
            raise
        assert outcome is not None
        if isinstance(outcome, Failure) and outcome.code in FAULTS:
            circuit.failed(ticket)
        else:
            circuit.succeeded(ticket)
        return place, outcome

    def _deadline(self, timeout: float | None) -> float:
        return self._clock() + (self._timeout if timeout is None else timeout)

    def _with_headers(
        self, question: Question, subjects: Sequence[str], *, is_logged: bool
    ) -> Question:
        headers: dict[str, str] = dict(trace_headers())
        if subjects:
            _require_pseudonyms(subjects)
            headers[SUBJECT_HEADER] = ",".join(subjects)
        if not is_logged:
            headers[LOG_HEADER] = DIGEST_ONLY
        return replace(question, headers=headers)


def _columns(rows: Sequence[Row] | None, columns: Columns | None) -> Columns:
    """Lay rows out by column."""
    if (rows is None) == (columns is None):
        raise UsageError(
            "A question is either rows or columns.",
            where="predict",
            expected="rows=[{…}, …] or columns={…}",
            received="both" if rows is not None else "neither",
        )
    if columns is not None:
        return columns
    assert rows is not None
    if not rows:
        raise UsageError("There is no row to ask about.", where="predict", expected="a row")
    names = rows[0].keys()
    for number, row in enumerate(rows):
        if row.keys() != names:
            raise UsageError(
                "Every row needs the same columns.",
                where=f"row {number}",
                expected=", ".join(sorted(names)),
                received=", ".join(sorted(row)),
            )
    return {name: [row[name] for row in rows] for name in names}


def _fitted(question: Question, signatures: Signatures) -> Question:
    """Check the names of a question, and put the signature in its hands."""
    signature = _named(question, signatures)
    assert question.columns is not None
    for name in question.columns:
        if name not in signature.inputs:
            raise UsageError(
                f"{question.model} has no input '{name}'.",
                where=f"signature '{question.signature}' of {question.asked}",
                expected=closest(name, signature.inputs),
                received=repr(name),
            )
    return replace(question, specification=signature)


def _named(question: Question, signatures: Mapping[str, Signature]) -> Signature:
    signature = signatures.get(question.signature)
    if signature is None:
        raise UsageError(
            f"{question.model} has no signature '{question.signature}'.",
            where=question.asked,
            expected=closest(question.signature, signatures),
            received=repr(question.signature),
        )
    return signature


def _require_pseudonyms(subjects: Sequence[str]) -> None:
    if len(subjects) > MOST_SUBJECTS:
        raise UsageError(
            "There are more subjects than a question's headers hold.",
            where="subject",
            expected=f"at most {MOST_SUBJECTS} rows with subjects a question",
            received=len(subjects),
        )
    if not all(is_pseudonym(subject) for subject in subjects):
        raise UsageError(
            "A subject is a pseudonym, never a learner's id.",
            where="subject",
            expected="what serving.client.pseudonym(learner) gives",
            received="another text",
        )


def _unanswered(
    question: Question, endpoint: Endpoint, failure: Failure, attempts: int
) -> PredictionError:
    if failure.is_refused_locally:
        what = f"{endpoint.url} is not asked now."
    elif failure.is_unreachable:
        what = f"No server answers at {endpoint.url}."
    else:
        what = f"The question to {question.asked} was not answered."
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return PredictionError(
        what,
        code=failure.code,
        attempts=attempts,
        where=f"{question.operation} of {question.asked} at {endpoint.url}",
        expected="an answer",
        received=f"{failure.code.name}: {failure.message.rstrip('.')}, after {times}",
        next=_next(failure),
    )


def _next(failure: Failure) -> str:
    if failure.is_unreachable:
        return "start a server: learnloop serve"
    hints: dict[Any, str] = {
        Code.UNAUTHENTICATED: f"export {TOKEN_VARIABLE}=…",
        Code.NOT_FOUND: "learnloop serving status",
        Code.DEADLINE_EXCEEDED: "allow more time, or ask for fewer rows at once",
        Code.RESOURCE_EXHAUSTED: "ask less often, or for fewer rows at once",
        Code.UNAVAILABLE: "ask again later; learnloop serving status tells what is served",
    }
    return hints.get(failure.code, "")
