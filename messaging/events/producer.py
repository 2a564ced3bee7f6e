"""Telling events to Kafka: each acknowledged by all replicas, or an error says it was not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from learnloop.errors import LearnLoopError
from messaging.events.connection import open_client
from messaging.events.schema import TOPIC

FLUSH_SECONDS = 60.0


class EventProducer:
    """Sends events, those of a learner to one partition and in order.

    Args:
        bootstrap: Kafka's ``host:port``, several by commas.
        topic: Where they go.
    """

    def __init__(self, bootstrap: str, topic: str = TOPIC) -> None:
        from confluent_kafka import Producer

        self.topic = topic
        self._fault: Any = None
        self._producer = open_client(
            Producer,
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 20,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
            },
        )

    def send(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events; :meth:`flush` waits until they are acknowledged.

        Args:
            events: Each as the schema ``learner_event.v1`` has it, sequences rising.

        Raises:
            LearnLoopError: An earlier event was not taken.
        """
        for event in events:
            self._send_one(str(event["learner"]), json.dumps(event))
        self._check()

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            LearnLoopError: Something was not; send from the last flush on again: what had arrived
                is known by its sequence.
        """
        left = self._producer.flush(FLUSH_SECONDS)
        self._check()
        if left:
            raise LearnLoopError(
                f"Kafka has not acknowledged {left} events within {FLUSH_SECONDS:.0f} s.",
                where=self.topic,
                next="see that the broker runs, then send again from the last flush on",
            )

    def _send_one(self, key: str, value: str) -> None:
        while True:
            try:
                self._producer.produce(self.topic, value, key, on_delivery=self._delivered)
            except BufferError:  # the queue is full: let the network catch up
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, fault: Any, message: Any) -> None:
        self._fault = self._fault or fault

    def _check(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise LearnLoopError(
                "Kafka did not take an event.",
                where=self.topic,
                received=fault.str(),
                next="see that the broker runs, then send again from the last flush on",
            )
