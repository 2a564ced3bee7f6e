"""Reaching RabbitMQ, and what is declared there: again at every start, changing nothing.

::

    retrain.requested ─▶ learnloop.events ─▶ retrain ─▶ the listener
                                               ▲   │ (too many deliveries, or refused by hand)
                        ┌──────────────────────┘   ▼
           learnloop.delayed ◀─ listener ─▶ learnloop.dead ─▶ retrain.dead

A delay is a confirmed republish to a queue without consumers whose messages, when their time is
over, the broker moves to ``retrain``. All queues are quorum queues, and a message that is moved
leaves its queue only when the next one has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learnloop.errors import LearnLoopError, UsageError

if TYPE_CHECKING:
    import pika
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

VARIABLE = "LEARNLOOP_RABBITMQ"
EVENTS, DELAYED, DEAD = "learnloop.events", "learnloop.delayed", "learnloop.dead"
"""The exchanges."""

QUEUE, DEAD_QUEUE, ROUTING_KEY = "retrain", "retrain.dead", "retrain.requested"
ATTEMPT, REASON = "x-learnloop-attempt", "x-learnloop-reason"
"""Headers: how often a message was put off, and why a dead letter is one."""

DELIVERY_LIMIT = 1000
"""Kills of the listener that a message outlives; it stops a message that kills the listener."""

HEARTBEAT_SECONDS = 60
CONNECT_SECONDS = 10


# At least once: a message that is moved stays until the next queue has confirmed it.
_MOVED = {
    "x-queue-type": "quorum",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def declare_queues(channel: BlockingChannel) -> None:
    """Declare what a request needs to be safe: exchanges, its queue and the one of dead letters.

    Args:
        channel: An open channel.
    """
    for name, kind in ((EVENTS, "topic"), (DEAD, "direct")):
        channel.exchange_declare(name, exchange_type=kind, durable=True)
    channel.queue_declare(DEAD_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(DEAD_QUEUE, DEAD, routing_key=QUEUE)
    arguments = {
        "x-single-active-consumer": True,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": QUEUE,
    }
    channel.queue_declare(QUEUE, durable=True, arguments={**_MOVED, **arguments})
    channel.queue_bind(QUEUE, EVENTS, routing_key=ROUTING_KEY)


@dataclass(frozen=True)
class Delays:
    """The queues in which messages wait for a further attempt.

    Args:
        seconds: How long, before the first, second and every further attempt.
    """

    seconds: tuple[float, ...]

    @property
    def queues(self) -> dict[str, int]:
        """Milliseconds by queue: the name holds them, since no queue can change its own."""
        return {f"{QUEUE}.delayed.{one}ms": one for one in self._milliseconds}

    def queue(self, attempt: int) -> str:
        """Name the queue for an attempt that has failed.

        Args:
            attempt: Which one, from 1.
        """
        return tuple(self.queues)[min(attempt, len(self.queues)) - 1]

    def declare(self, channel: BlockingChannel) -> None:
        """Declare the queues.

        Args:
            channel: An open channel on which :func:`declare_queues` was called.
        """
        channel.exchange_declare(DELAYED, exchange_type="direct", durable=True)
        for name, milliseconds in self.queues.items():
            arguments = {
                "x-message-ttl": milliseconds,
                "x-dead-letter-exchange": EVENTS,
                "x-dead-letter-routing-key": ROUTING_KEY,
            }
            channel.queue_declare(name, durable=True, arguments={**_MOVED, **arguments})
            channel.queue_bind(name, DELAYED, routing_key=name)

    @property
    def _milliseconds(self) -> tuple[int, ...]:
        return tuple(round(one * 1000) for one in self.seconds)


def broker_url() -> str:
    """Read the broker's address, which may hold a password.

    Raises:
        UsageError: The environment does not hold it.
    """
    url = os.environ.get(VARIABLE)
    if not url:
        raise UsageError(
            "No RabbitMQ is named.",
            where="the environment",
            expected=f"an AMQP URL in {VARIABLE}",
            next=f"export {VARIABLE}=amqp://user:password@host:5672/%2F",
        )
    return url


def parameters_of(url: str) -> pika.URLParameters:
    """Read an AMQP URL.

    Args:
        url: ``amqp://`` or ``amqps://``.

    Raises:
        UsageError: It is not one.
    """
    import pika

    scheme = url.partition("://")[0]
    try:
        if scheme not in ("amqp", "amqps"):
            raise ValueError
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):
        raise UsageError(
            "The broker's address is not an AMQP URL.",
            where=VARIABLE,
            expected="amqp://user:password@host:5672/%2F",
            received=f"a URL that begins with '{scheme[:10]}'",
        ) from None
    parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.socket_timeout = parameters.stack_timeout = CONNECT_SECONDS
    parameters.blocked_connection_timeout = HEARTBEAT_SECONDS
    return parameters


def connect(url: str) -> BlockingConnection:
    """Connect to the broker, once.

    Args:
        url: Its address.

    Raises:
        LearnLoopError: It cannot be reached, or refuses.
    """
    import pika

    parameters = parameters_of(url)
    with explain_broker_faults(url):
        return pika.BlockingConnection(parameters)


@contextmanager
def explain_broker_faults(url: str) -> Iterator[None]:
    """Turn the client's errors into one that a person can act on.

    Args:
        url: The broker's address; its password is not told.

    Raises:
        LearnLoopError: The broker did not do as asked.
    """
    import pika
    from pika.adapters.utils.connection_workflow import AMQPConnectorException

    try:
        yield
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError) as fault:
        parameters = parameters_of(url)
        raise LearnLoopError(
            "RabbitMQ did not do as asked.",
            where=f"{parameters.host}:{parameters.port}{_virtual_host(parameters)}",
            received=_said(fault),
            next=f"check that the broker runs and that {VARIABLE} names it",
        ) from fault


@contextmanager
def opened_channel(url: str) -> Iterator[BlockingChannel]:
    """Open a channel that confirms, queues declared, for the length of a ``with`` block.

    Args:
        url: The broker's address.

    Yields:
        The channel; what is taken on it and not acked goes back when it closes.

    Raises:
        LearnLoopError: The broker did not do as asked.
    """
    connection = connect(url)
    try:
        with explain_broker_faults(url):
            channel = connection.channel()
            declare_queues(channel)
            channel.confirm_delivery()
            yield channel
    finally:
        if connection.is_open:
            connection.close()


def _virtual_host(parameters: Any) -> str:
    name = parameters.virtual_host
    return "" if name == "/" else f"/{name}"


def _said(fault: BaseException) -> str:
    if cause := getattr(fault, "reply_text", "") or str(fault):
        return cause
    inner = fault.args[0] if fault.args else fault
    return str(getattr(inner, "exception", inner)) or type(fault).__name__
