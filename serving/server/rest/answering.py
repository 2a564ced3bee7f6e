"""Runs what a request asks of a version, and sends the answer or the refusal.

Nothing here waits: what the model cannot answer at once is put to its queue with what is to be done
with the answer, and the event loop goes on. That spares every request a task and a future.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from serving.server.contract import (
    Code,
    Models,
    Observer,
    Servable,
    ServingError,
    Tensors,
)
from serving.server.metrics import Metrics
from serving.server.rest.answers import JSON, STATUSES, error_body
from serving.server.rest.heads import Head
from serving.server.rest.routes import Route

LOG = logging.getLogger(__name__)
_WAITING_SECONDS = 1e-6
"""What it costs a request in a crowd to wait for the others: they share a turn of the loop."""
clock = time.perf_counter
"""Tells when a request arrived."""

Send = Callable[[int, bytes, bytes], None]
"""Takes the status, the content's type and the content of an answer, once."""

Write = Callable[[Tensors], bytes]
"""Writes an answer's tensors as JSON."""


class Asked(NamedTuple):
    """A request to a model.

    Args:
        head: Its head.
        route: What the head asks.
        body: Its body.
        send: Takes the answer.
        since: When it arrived, by ``clock``.
    """

    head: Head
    route: Route
    body: bytes
    send: Send
    since: float


def log_fault(error: Exception) -> None:
    """Log an unforeseen error's place alone: its message may quote a learner's data."""
    place = "".join(traceback.format_tb(error.__traceback__))
    LOG.error("Unforeseen %s while answering:\n%s", type(error).__name__, place)


class Answering:
    """Runs requests and sends their answers.

    Args:
        models: What can be asked.
        metrics: What is counted.
        observer: Is told of every prediction that was sent.
        seconds: How long a request may take, where it does not say so itself.
    """

    def __init__(
        self, models: Models, metrics: Metrics, observer: Observer | None, seconds: float
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._observer = observer
        self._seconds = seconds
        self._now = asyncio.get_running_loop().time
        self.is_observed = observer is not None

    def run(
        self,
        asked: Asked,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        outputs: tuple[str, ...],
        write: Write,
    ) -> bool:
        """Answer a request, now or when its turn comes.

        Args:
            asked: The request.
            servable: The version that answers.
            signature: The signature's name.
            inputs: Its inputs.
            outputs: The outputs that are asked for; all when empty.
            write: Writes the answer.

        Returns:
            Whether it was answered now.

        Raises:
            ServingError: What is known to be wrong before a run.
        """
        deadline, began = self._deadline(asked.head), clock()
        answer = servable.answer_now(signature, inputs, outputs, deadline, _WAITING_SECONDS)
        if answer is None:
            self.submit(asked, servable, signature, inputs, outputs, write)
            return False
        self._answer(asked, servable, signature, inputs, write, began, answer)
        return True

    def submit(
        self,
        asked: Asked,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        outputs: tuple[str, ...],
        write: Write,
    ) -> None:
        """Put a request to the version's queue; the arguments are those of ``run``."""
        read = asked._replace(body=b"")  # what waits holds its tensors, not its text too
        done = partial(self._answer, read, servable, signature, inputs, write, clock())
        servable.submit(signature, inputs, outputs, self._deadline(asked.head), done)

    def send(self, requests: Sequence[Asked], texts: Sequence[bytes]) -> list[float]:
        """Send the answers to requests that were run, and count them.

        Args:
            requests: The requests, all of one route.
            texts: The answer to each in JSON.

        Returns:
            The seconds that each took.
        """
        seconds = []
        for asked, text in zip(requests, texts, strict=True):
            try:
                asked.send(200, JSON, text)
            except Exception as fault:
                log_fault(fault)  # the others have their answers all the same
            seconds.append(clock() - asked.since)
        route = requests[0].route
        self._metrics.answered(route.model, route.verb, "REST", seconds)
        return seconds

    def tell(
        self,
        asked: Asked,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        outputs: Tensors,
        seconds: float,
    ) -> None:
        """Tell the observer of an answer.

        Args:
            asked: The request.
            servable: The version that answered.
            signature: The signature's name.
            inputs: What it was run with.
            outputs: What came of it.
            seconds: What it took.
        """
        if self._observer is None:
            return
        try:
            self._observer(
                model=servable.model,
                version=servable.version,
                label=asked.route.label,
                signature=signature,
                inputs=inputs,
                outputs=outputs,
                metadata=asked.head.metadata,
                seconds=seconds,
            )
        except Exception:
            self._metrics.observer_failures += 1

    def refuse(self, head: Head, error: Exception, send: Send) -> None:
        """Send why there is no answer."""
        if not isinstance(error, ServingError):
            log_fault(error)
            error = ServingError(Code.INTERNAL, "Internal error.")
        if head.route is not None and head.route.verb not in ("status", "metadata"):
            self._metrics.refused(self._known(head.route.model), error.code)
        send(STATUSES.get(error.code, 500), JSON, error_body(error))

    def _deadline(self, head: Head) -> float:
        return self._now() + (self._seconds if head.seconds is None else head.seconds)

    def _answer(
        self,
        asked: Asked,
        servable: Servable,
        signature: str,
        inputs: Tensors,
        write: Write,
        began: float,
        answer: Tensors | ServingError,
    ) -> None:
        ran = clock() - began
        try:
            if isinstance(answer, ServingError):
                self._metrics.failed(servable, answer.code)
                raise answer
            text = write(answer)
        except Exception as error:
            self.refuse(asked.head, error, asked.send)
            return
        self._metrics.ran(servable, asked.route.verb.capitalize(), ran)
        (seconds,) = self.send((asked,), (text,))
        self.tell(asked, servable, signature, inputs, answer, seconds)

    def _known(self, model: str) -> str:
        """Name a model in the metrics only if there is one: callers must not make label values."""
        try:
            self._models.statuses(model)
        except ServingError:
            return ""
        return model
