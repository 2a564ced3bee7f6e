"""Sending requests: persistent, confirmed by the broker, and never into the void.

A request that the broker has confirmed is on a disk and in a queue. One that finds no queue, or is
refused, is an error of whoever sends it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from learnloop.errors import LearnLoopError
from messaging.broker import (
    EVENTS,
    ROUTING_KEY,
    connect,
    declare_queues,
    explain_broker_faults,
)
from messaging.messages import TYPE, RetrainRequest

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

ATTEMPTS, RETRY_SECONDS = 5, 0.5
PERSISTENT = 2


class MessageRefused(LearnLoopError):
    """The broker is there and did not take a message."""


class Publisher:
    """Sends requests to retrain. It connects when it first sends, and again when that is lost.

    Args:
        url: The broker's address.

    Example:
        ::

            with Publisher(broker_url()) as publisher:
                publisher.send(new_request("learner_outcome", "new_data", "ingest"))
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: BlockingConnection | None = None
        self._channel: BlockingChannel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, request: RetrainRequest) -> None:
        """Send a request and wait until the broker has it.

        A connection that breaks in the middle leaves open whether the broker has it, so it is sent
        again: its message id tells the listener.

        Args:
            request: The request.

        Raises:
            PoisonMessage: It does not fit its schema.
            LearnLoopError: The broker cannot be reached, refuses it, or has no queue for it.
        """
        body = request.to_bytes()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with explain_broker_faults(self._url):
                    publish(self._ready(), EVENTS, ROUTING_KEY, body, request.message_id)
                return
            except MessageRefused:
                raise
            except LearnLoopError:
                self.close()
                if attempt == ATTEMPTS:
                    raise
            time.sleep(RETRY_SECONDS * attempt)

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it may be broken in any way, and is of no more use
                connection.close()

    def _ready(self) -> BlockingChannel:
        if self._channel is None or not self._channel.is_open:
            self.close()
            self._connection = connect(self._url)
            self._channel = self._connection.channel()
            declare_queues(self._channel)
            self._channel.confirm_delivery()
        return self._channel


def publish(
    channel: BlockingChannel,
    exchange: str,
    routing_key: str,
    body: bytes,
    message_id: str,
    headers: Mapping[str, Any] | None = None,
) -> None:
    """Publish one message, persistent and mandatory, on a channel that confirms.

    Args:
        channel: In confirm mode.
        exchange: The exchange.
        routing_key: The routing key.
        body: The message.
        message_id: Its id, for tools that do not read the body.
        headers: What is written beside it.

    Raises:
        MessageRefused: The broker has no queue for it, or did not take it.
    """
    import pika

    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        message_id=message_id,
        type=TYPE,
        headers=dict(headers or {}),
    )
    try:
        channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
    except pika.exceptions.UnroutableError:
        raise MessageRefused(
            "No queue takes this message.",
            where=f"exchange '{exchange}', routing key '{routing_key}'",
            received=f"message {message_id} came back",
            next="learnloop listen declares the queues",
        ) from None
    except pika.exceptions.NackError:
        raise MessageRefused(
            "The broker did not take this message.",
            where=f"exchange '{exchange}', routing key '{routing_key}'",
            received=f"message {message_id} was refused",
            next="learnloop retrain queue",
        ) from None
