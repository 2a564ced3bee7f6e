"""Publishing: into a queue and on a disk, or an error."""

from __future__ import annotations

import socket

import pytest

from learnloop.errors import LearnLoopError, UsageError
from messaging import publisher as module
from messaging.broker import (
    DEAD_QUEUE,
    EVENTS,
    QUEUE,
    ROUTING_KEY,
    broker_url,
    connect,
    declare_queues,
    opened_channel,
)
from messaging.dead_letters import read_dead_letters
from messaging.private_broker import PrivateBroker
from messaging.publisher import MessageRefused, Publisher, publish
from tests.messaging.conftest import DELAYS, count, wait_until
from tests.messaging.requests import a_request, message_id
from tests.servers import free_port

pytestmark = pytest.mark.xdist_group("rabbitmq")


def test_a_message_is_persistent_and_says_what_it_is(broker: str, publisher: Publisher) -> None:
    publisher.send(a_request(1))
    with opened_channel(broker) as channel:
        _, properties, body = next(channel.consume(QUEUE, auto_ack=True))
    assert body == a_request(1).to_bytes()
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert (properties.message_id, properties.type) == (message_id(1), "retrain.requested")


def test_declaring_again_changes_nothing(broker: str, publisher: Publisher) -> None:
    publisher.send(a_request(1))
    for _ in range(2):
        with opened_channel(broker) as channel:
            declare_queues(channel)
            DELAYS.declare(channel)
    assert count(broker, QUEUE) == 1


def test_a_message_that_finds_no_queue_is_an_error(broker: str, publisher: Publisher) -> None:
    publisher.send(a_request(1))
    with opened_channel(broker) as channel:
        channel.queue_unbind(QUEUE, EVENTS, ROUTING_KEY)
    with pytest.raises(MessageRefused) as caught:
        publisher.send(a_request(2))
    assert str(caught.value) == (
        "No queue takes this message.\n"
        "  where:    exchange 'learnloop.events', routing key 'retrain.requested'\n"
        f"  received: message {message_id(2)} came back\n"
        "  next:     learnloop listen declares the queues"
    )


def test_a_message_that_the_broker_refuses_is_an_error(broker: str) -> None:
    with opened_channel(broker) as channel:
        full = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare("full", durable=True, arguments=full)
        publish(channel, "", "full", b"1", "1")
        with pytest.raises(MessageRefused) as caught:
            publish(channel, "", "full", b"2", "2")
    assert str(caught.value) == (
        "The broker did not take this message.\n"
        "  where:    exchange '', routing key 'full'\n"
        "  received: message 2 was refused\n"
        "  next:     learnloop retrain queue"
    )


def test_a_lost_connection_is_made_again(
    broker: str, rabbitmq: PrivateBroker, publisher: Publisher
) -> None:
    publisher.send(a_request(1))
    assert publisher._connection is not None
    transport = publisher._connection._impl._transport
    transport._sock.shutdown(socket.SHUT_RDWR)  # as when the broker dies
    publisher.send(a_request(2))
    assert count(broker, QUEUE) == 2


def test_an_unreachable_broker_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    port = free_port()
    with pytest.raises(LearnLoopError) as caught:
        Publisher(f"amqp://ada:lovelace@127.0.0.1:{port}/school").send(a_request(1))
    assert caught.value.what == "RabbitMQ did not do as asked."
    assert caught.value.where == f"127.0.0.1:{port}/school"
    assert "lovelace" not in str(caught.value)


def test_wrong_credentials_are_told_without_them(rabbitmq: PrivateBroker) -> None:
    with pytest.raises(LearnLoopError) as caught:
        connect(rabbitmq.url().replace("guest:guest", "guest:lovelace"))
    assert "ACCESS_REFUSED" in caught.value.received
    assert "lovelace" not in str(caught.value)


def test_a_server_that_is_no_broker_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch, pytest.raises(LearnLoopError):
            patch.setattr("messaging.broker.CONNECT_SECONDS", 0.2)
            connect(f"amqp://127.0.0.1:{port}")


def test_an_address_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEARNLOOP_RABBITMQ", raising=False)
    with pytest.raises(UsageError) as caught:
        broker_url()
    assert str(caught.value) == (
        "No RabbitMQ is named.\n"
        "  where:    the environment\n"
        "  expected: an AMQP URL in LEARNLOOP_RABBITMQ\n"
        "  next:     export LEARNLOOP_RABBITMQ=amqp://user:password@host:5672/%2F"
    )


@pytest.mark.parametrize("url", ["http://ada:lovelace@host", "amqp://host:port", "nonsense"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        connect(url)
    assert str(caught.value) == (
        "The broker's address is not an AMQP URL.\n"
        "  where:    LEARNLOOP_RABBITMQ\n"
        "  expected: amqp://user:password@host:5672/%2F\n"
        f"  received: a URL that begins with '{url.partition('://')[0]}'"
    )


def test_the_broker_moves_what_was_delivered_too_often(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is generous, and holds: a message that kills every listener stops doing so."""
    monkeypatch.setattr("messaging.broker.DELIVERY_LIMIT", 2)
    with Publisher(broker) as made:
        made.send(a_request(1))
    for _ in range(3):
        with opened_channel(broker) as channel:
            next(channel.consume(QUEUE))  # and the connection ends without an ack
    wait_until(lambda: count(broker, DEAD_QUEUE) == 1)
    (letter,) = read_dead_letters(broker, 10)
    assert (letter.id, letter.reason) == (
        message_id(1),
        "It was delivered too often without being acknowledged.",
    )
