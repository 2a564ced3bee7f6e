"""Answers Predict: alone, or together with the others of a crowd.

While requests come one by one each is read, run and written at once. In a crowd those to a model
that arrive in one turn of the event loop are read, run and written together, so that what a call
of numpy or of the model costs is paid once for all of them.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import operator
import weakref
from collections.abc import Sequence

from serving.server.contract import Models, Servable, ServingError, Signature, Tensors
from serving.server.examples import DEFAULT_SIGNATURE
from serving.server.metrics import Metrics
from serving.server.rest import rows
from serving.server.rest.answering import Answering, Asked, clock, log_fault
from serving.server.rest.json_tensors import (
    parse_document,
    refuse,
    request_values,
    signature_name,
    tensors_of_columns,
    tensors_of_rows,
)

_LARGEST_CROWD = 64
"""Requests that are read together: more would keep the loop from what else there is to do."""

_LARGEST_BODY = 16 << 10
"""A larger body has little to gain, and would wait in memory and make the others wait."""

_SHORTEST_SECONDS = 0.001
"""Who has less time has no turn of the loop to lose."""


class Predictions:
    """Answers Predict.

    Args:
        models: What can be asked.
        metrics: What is counted.
        answering: Runs requests and sends their answers.
    """

    def __init__(self, models: Models, metrics: Metrics, answering: Answering) -> None:
        self._models = models
        self._metrics = metrics
        self._answering = answering
        self._call_soon = asyncio.get_running_loop().call_soon
        self._is_crowded = False
        self._crowds: dict[tuple[str, int | None, str | None], list[Asked]] = {}
        self._readers: weakref.WeakKeyDictionary[Servable, dict[str, rows.RowReader]] = (
            weakref.WeakKeyDictionary()
        )

    def ask(self, asked: Asked) -> None:
        """Answer a request, now or later.

        Raises:
            ServingError: Why there is no answer.
        """
        seconds = asked.head.seconds
        if (
            not self._is_crowded
            or len(asked.body) > _LARGEST_BODY
            or (seconds is not None and seconds < _SHORTEST_SECONDS)
        ):
            self._answer_alone(asked)
            return
        if not self._crowds:
            self._call_soon(self._answer_crowds)
        route = asked.route
        key = (route.model, route.version, route.label)
        crowd = self._crowds.get(key)
        if crowd is None:
            crowd = self._crowds[key] = []
        crowd.append(asked)

    def _answer_crowds(self) -> None:
        """Answer what arrived in this turn of the event loop."""
        crowds, self._crowds = list(self._crowds.values()), {}
        self._is_crowded = sum([len(crowd) for crowd in crowds]) > 1
        for crowd in crowds:
            for first in range(0, len(crowd), _LARGEST_CROWD):
                self._answer_together(crowd[first : first + _LARGEST_CROWD])

    def _answer_alone(self, asked: Asked) -> None:
        document = parse_document(asked.body)
        name = signature_name(document) or DEFAULT_SIGNATURE
        route = asked.route
        servable = self._models.find(route.model, route.version, route.label)
        signature = servable.signatures.get(name)
        if signature is None:
            raise refuse(f'Serving signature name: "{name}" not found in signature def')
        if not signature.inputs:
            raise refuse(f"Failed to get input map for signature: {name}")
        values, are_rows = request_values(document)
        reader = self._reader(servable, name, signature)
        inputs: Tensors | None
        if are_rows:
            inputs = reader.rows(asked.body, values)
            if inputs is None:
                inputs = tensors_of_rows(values, signature)
        else:
            inputs = reader.columns(asked.body, values)
            if inputs is None:
                inputs = tensors_of_columns(values, signature)
        write = rows.predictions if are_rows else rows.columns
        if not self._answering.run(asked, servable, name, inputs, (), write):
            self._is_crowded = True

    def _answer_together(self, crowd: Sequence[Asked]) -> None:
        """Answer the ordinary requests of a crowd in one run, and the others one by one."""
        counts = self._answer_ordinary(crowd) if len(crowd) > 1 else [0]
        for asked in itertools.compress(crowd, map(operator.not_, counts)):
            try:
                self._answer_alone(asked)
            except Exception as error:
                self._answering.refuse(asked.head, error, asked.send)

    def _answer_ordinary(self, crowd: Sequence[Asked]) -> Sequence[int]:
        """Answer what can be answered together, and tell the rows of each that was answered."""
        none = [0] * len(crowd)
        route = crowd[0].route
        try:
            servable = self._models.find(route.model, route.version, route.label)
            signature = servable.signatures.get(DEFAULT_SIGNATURE)
            if signature is None or not signature.is_batchable:
                return none
            reader = self._reader(servable, DEFAULT_SIGNATURE, signature)
            inputs, counts = reader.many([asked.body for asked in crowd])
            if not inputs:
                return none
            ends = list(itertools.accumulate(filter(None, counts)))
            began = clock()
            answer = servable.answer_now(DEFAULT_SIGNATURE, inputs, (), None, math.inf)
            seconds = clock() - began
            outputs = _row_by_row(answer, ends[-1])
            texts = [] if outputs is None else rows.predictions_of_each(outputs, ends)
        except Exception as fault:
            if not isinstance(fault, ServingError):
                log_fault(fault)
            return none  # each is told by itself what is wrong
        requests = list(itertools.compress(crowd, counts))
        if outputs is None:
            self._submit_each(requests, ends, servable, inputs)
            return counts
        self._metrics.ran(servable, route.verb.capitalize(), seconds, len(requests))
        took = self._answering.send(requests, texts)
        if self._answering.is_observed:
            for asked, seconds, start, end in zip(requests, took, (0, *ends), ends, strict=False):
                own = rows.cut(inputs, start, end), rows.cut(outputs, start, end)
                self._answering.tell(asked, servable, DEFAULT_SIGNATURE, *own, seconds)
        return counts

    def _submit_each(
        self, requests: Sequence[Asked], ends: Sequence[int], servable: Servable, inputs: Tensors
    ) -> None:
        """Put requests to the queue: their run takes long, or one of them is refused."""
        for asked, start, end in zip(requests, (0, *ends), ends, strict=False):
            own = rows.cut(inputs, start, end)
            try:
                self._answering.submit(
                    asked, servable, DEFAULT_SIGNATURE, own, (), rows.predictions
                )
            except Exception as error:
                self._answering.refuse(asked.head, error, asked.send)

    def _reader(self, servable: Servable, name: str, signature: Signature) -> rows.RowReader:
        readers = self._readers.get(servable)
        if readers is None:
            readers = self._readers[servable] = {}
        reader = readers.get(name)
        if reader is None:
            reader = readers[name] = rows.RowReader(signature)
        return reader


def _row_by_row(answer: Tensors | ServingError | None, size: int) -> Tensors | None:
    """Give a crowd's outputs; None where each request has to be run by itself.

    A model may not answer row by row, though its signature says so.
    """
    if not isinstance(answer, dict):
        return None
    for array in answer.values():
        if array.shape[:1] != (size,):
            return None
    return answer
