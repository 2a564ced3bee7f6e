"""The two clients: one waits, the other awaits; all else they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from learnloop.errors import UsageError
from serving.client.breaker import CircuitBreaker, CircuitSettings
from serving.client.canary import Canary
from serving.client.conversation import Conversation, Conversations, Pause, Result, Send
from serving.client.endpoint import Endpoint, Security
from serving.client.question import (
    Answer,
    Classified,
    Columns,
    Failure,
    Operation,
    Prediction,
    Question,
    Row,
    Signatures,
    Statuses,
)
from serving.client.retries import Retries
from serving.client.tracing import traced

DEFAULT_SIGNATURE = "serving_default"


class _Client:
    def __init__(
        self,
        *urls: str,
        timeout: float = 5.0,
        retries: Retries = Retries(),
        circuit: CircuitSettings = CircuitSettings(),
        canary: Canary | None = None,
        security: Security = Security(),
    ) -> None:
        if not urls:
            raise UsageError(
                "A client needs the address of a server.",
                where=type(self).__name__,
                expected="http://127.0.0.1:8501 or grpc://127.0.0.1:8500",
            )
        self._endpoints = tuple(Endpoint.parse(url) for url in urls)
        self._circuits = tuple(CircuitBreaker(circuit) for _ in self._endpoints)
        self._conversations = Conversations(
            self._endpoints, self._circuits, retries, canary, timeout
        )
        self._security = security

    @property
    def circuits(self) -> Mapping[str, CircuitBreaker]:
        """The circuit breaker of each endpoint, by URL."""
        urls = (endpoint.url for endpoint in self._endpoints)
        return dict(zip(urls, self._circuits, strict=True))

    @property
    def fallbacks(self) -> int:
        """How many questions meant for a canary went to the stable version."""
        return self._conversations.fallbacks


class PredictionClient(_Client):
    """Asks served models, over REST or gRPC; safe for threads.

    Every question is free of effects, so it is asked again where the server could not be reached or
    was too busy, until its time is over.

    Args:
        urls: ``http://host:port``, ``https://…``, ``grpc://…`` or ``grpcs://…``; of several
            replicas, each is asked in turn.
        timeout: Seconds that a question may take in all, attempts and pauses; the server is told.
        retries: How often and how soon a question is asked again.
        circuit: When an endpoint that keeps failing is left alone.
        canary: Chooses between ``stable`` and ``canary`` where a question names neither version nor
            label.
        security: TLS files. A bearer token is read from ``LEARNLOOP_SERVING_TOKEN``.

    Example:
        ::

            with PredictionClient("http://127.0.0.1:8501") as client:
                prediction = client.predict("learner_outcome", rows=[{"clicks": 12, …}])
                print(prediction.scores)
    """

    def __init__(
        self,
        *urls: str,
        timeout: float = 5.0,
        retries: Retries = Retries(),
        circuit: CircuitSettings = CircuitSettings(),
        canary: Canary | None = None,
        security: Security = Security(),
    ) -> None:
        super().__init__(
            *urls,
            timeout=timeout,
            retries=retries,
            circuit=circuit,
            canary=canary,
            security=security,
        )
        self._senders = [_sender(endpoint, security) for endpoint in self._endpoints]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for sender in self._senders:
            sender.close()

    def predict(
        self,
        model: str,
        rows: Sequence[Row] | None = None,
        columns: Columns | None = None,
        *,
        signature: str = DEFAULT_SIGNATURE,
        version: int | None = None,
        label: str = "",
        subject: str | Sequence[str] = (),
        log_features: bool = True,
        timeout: float | None = None,
    ) -> Prediction:
        """Ask a model for its outputs.

        Args:
            model: The model's name.
            rows: Values by input name, a mapping a row; or
            columns: values by input name, of all rows: sequences or numpy arrays.
            signature: The signature asked.
            version: The version asked, or
            label: the label asked; neither leaves the choice to the canary or the server.
            subject: Whose rows they are: a pseudonym (:func:`serving.client.pseudonym`) for all, or
                one a row. The first decides who belongs to a canary.
            log_features: Whether the server may log the raw features; else a digest only.
            timeout: Seconds in all; the client's when None.

        Returns:
            The outputs.

        Raises:
            UsageError: The question does not fit the model.
            PredictionError: It was not answered.
        """
        question = _question("predict", model, version, label, signature)
        conversation = self._conversations.predict(
            question, rows, columns, _subjects(subject), timeout, is_logged=log_features
        )
        return self._hold(question, conversation)

    def classify(
        self,
        model: str,
        rows: Sequence[Row],
        *,
        signature: str = "classify",
        version: int | None = None,
        label: str = "",
        subject: str | Sequence[str] = (),
        log_features: bool = True,
        timeout: float | None = None,
    ) -> Classified:
        """Ask a model for the score of each class; see :meth:`predict` for the arguments.

        Raises:
            UsageError: A value is none that a ``tf.Example`` holds.
            PredictionError: It was not answered.
        """
        question = _question("classify", model, version, label, signature, rows)
        conversation = self._conversations.classify(
            question, _subjects(subject), timeout, is_logged=log_features
        )
        return self._hold(question, conversation)

    def regress(
        self,
        model: str,
        rows: Sequence[Row],
        *,
        signature: str = "regress",
        version: int | None = None,
        label: str = "",
        subject: str | Sequence[str] = (),
        log_features: bool = True,
        timeout: float | None = None,
    ) -> Prediction:
        """Ask a model for a number a row; see :meth:`predict` for the arguments.

        Raises:
            UsageError: A value is none that a ``tf.Example`` holds.
            PredictionError: It was not answered.
        """
        question = _question("regress", model, version, label, signature, rows)
        conversation = self._conversations.regress(
            question, _subjects(subject), timeout, is_logged=log_features
        )
        return self._hold(question, conversation)

    def status(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str = "",
        timeout: float | None = None,
    ) -> Statuses:
        """Ask where the versions of a model stand.

        Raises:
            PredictionError: It was not answered, or there is no such model.
        """
        question = _question("status", model, version, label)
        answer = self._hold(question, self._conversations.ask(question, timeout))
        statuses: Statuses = answer.value
        return statuses

    def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str = "",
        timeout: float | None = None,
    ) -> Signatures:
        """Ask for the signatures of a model.

        Raises:
            PredictionError: It was not answered, or there is no such model.
        """
        question = _question("metadata", model, version, label)
        answer = self._hold(question, self._conversations.ask(question, timeout))
        signatures: Signatures = answer.value
        return signatures

    def _hold(self, question: Question, conversation: Conversation[Result]) -> Result:
        with traced(question.operation, question.model):
            try:
                step = next(conversation)
                while True:
                    step = conversation.send(self._do(step))
            except StopIteration as ended:
                result: Result = ended.value
                return result
            finally:
                conversation.close()

    def _do(self, step: Send | Pause) -> Answer | Failure | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        outcome: Answer | Failure = self._senders[step.endpoint].send(step.question, step.seconds)
        return outcome


class AsyncPredictionClient(_Client):
    """Asks served models without blocking the event loop; see :class:`PredictionClient`.

    It belongs to the event loop on which it is first used.

    Example:
        ::

            async with AsyncPredictionClient("grpc://127.0.0.1:8500") as client:
                prediction = await client.predict("learner_outcome", rows=[{"clicks": 12, …}])
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *fault: object) -> None:
        await self.close()

    _senders: list[Any] | None = None

    async def close(self) -> None:
        """Close all connections."""
        for sender in self._senders or ():
            await sender.close()

    async def predict(
        self,
        model: str,
        rows: Sequence[Row] | None = None,
        columns: Columns | None = None,
        *,
        signature: str = DEFAULT_SIGNATURE,
        version: int | None = None,
        label: str = "",
        subject: str | Sequence[str] = (),
        log_features: bool = True,
        timeout: float | None = None,
    ) -> Prediction:
        """Ask a model for its outputs; see :meth:`PredictionClient.predict`."""
        question = _question("predict", model, version, label, signature)
        conversation = self._conversations.predict(
            question, rows, columns, _subjects(subject), timeout, is_logged=log_features
        )
        return await self._hold(question, conversation)

    async def classify(
        self,
        model: str,
        rows: Sequence[Row],
        *,
        signature: str = "classify",
        version: int | None = None,
        label: str = "",
        subject: str | Sequence[str] = (),
        log_features: bool = True,
        timeout: float | None = None,
    ) -> Classified:
        """Ask a model for the score of each class; see :meth:`PredictionClient.classify`."""
        question = _question("classify", model, version, label, signature, rows)
        conversation = self._conversations.classify(
            question, _subjects(subject), timeout, is_logged=log_features
        )
        return await self._hold(question, conversation)

    async def regress(
        self,
        model: str,
        rows: Sequence[Row],
        *,
        signature: str = "regress",
        version: int | None = None,
        label: str = "",
        subject: str | Sequence[str] = (),
        log_features: bool = True,
        timeout: float | None = None,
    ) -> Prediction:
        """Ask a model for a number a row; see :meth:`PredictionClient.regress`."""
        question = _question("regress", model, version, label, signature, rows)
        conversation = self._conversations.regress(
            question, _subjects(subject), timeout, is_logged=log_features
        )
        return await self._hold(question, conversation)

    async def status(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str = "",
        timeout: float | None = None,
    ) -> Statuses:
        """Ask where the versions of a model stand; see :meth:`PredictionClient.status`."""
        question = _question("status", model, version, label)
        answer = await self._hold(question, self._conversations.ask(question, timeout))
        statuses: Statuses = answer.value
        return statuses

    async def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str = "",
        timeout: float | None = None,
    ) -> Signatures:
        """Ask for the signatures of a model; see :meth:`PredictionClient.metadata`."""
        question = _question("metadata", model, version, label)
        answer = await self._hold(question, self._conversations.ask(question, timeout))
        signatures: Signatures = answer.value
        return signatures

    async def _hold(self, question: Question, conversation: Conversation[Result]) -> Result:
        with traced(question.operation, question.model):
            try:
                step = next(conversation)
                while True:
                    step = conversation.send(await self._do(step))
            except StopIteration as ended:
                result: Result = ended.value
                return result
            finally:
                conversation.close()

    async def _do(self, step: Send | Pause) -> Answer | Failure | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        if self._senders is None:  # gRPC's channels belong to the loop that opens them
            self._senders = [_async_sender(one, self._security) for one in self._endpoints]
        outcome: Answer | Failure = await self._senders[step.endpoint].send(
            step.question, step.seconds
        )
        return outcome


def _question(
    operation: Operation,
    model: str,
    version: int | None,
    label: str,
    signature: str = "",
    examples: Sequence[Row] = (),
) -> Question:
    if version is not None and label:
        raise UsageError(
            "A question names a version or a label, not both.",
            where=operation,
            expected="version or label",
            received=f"version {version} and label {label!r}",
        )
    return Question(operation, model, version, label, signature, examples=examples)


def _subjects(subject: str | Sequence[str]) -> tuple[str, ...]:
    return (subject,) if isinstance(subject, str) else tuple(subject)


def _sender(endpoint: Endpoint, security: Security) -> Any:
    if endpoint.protocol == "rest":
        from serving.client.rest import RestSender

        return RestSender(endpoint, security)
    from serving.client.rpc import RpcSender

    return RpcSender(endpoint, security)


def _async_sender(endpoint: Endpoint, security: Security) -> Any:
    if endpoint.protocol == "rest":
        from serving.client.rest import AsyncRestSender

        return AsyncRestSender(endpoint, security)
    from serving.client.rpc import AsyncRpcSender

    return AsyncRpcSender(endpoint, security)
