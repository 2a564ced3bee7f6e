"""Telling events to Kafka: each acknowledged by all replicas, or an error says it was not.

Where there is a master key, what goes out is sealed under the learner's own key.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from learnloop.errors import LearnLoopError
from learnloop.settings import load_settings
from messaging.events.connection import open_client
from messaging.events.keys import LearnerKeys, open_learner_keys
from messaging.events.schema import TOPIC
from messaging.events.sealing import seal

FLUSH_SECONDS = 60.0
BLOCK = 1_000
"""Events whose keys are looked up at once."""

REFRESH_SECONDS = 1.0
"""How long a key may still be sealed with that was destroyed; nobody can open that any more."""


class EventProducer:
    """Sends events, those of a learner to one partition and in order.

    Args:
        bootstrap: Kafka's ``host:port``, several by commas.
        topic: Where they go.
        keys: Seal the events; those of the settings if None, and where there is no master key the
            events go out as they are.
    """

    def __init__(self, bootstrap: str, topic: str = TOPIC, keys: LearnerKeys | None = None) -> None:
        from confluent_kafka import Producer

        self.topic = topic
        self._keys = keys or open_learner_keys(load_settings())
        self._refreshed = 0.0
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
            ErasedLearner: One is of a learner who was erased; of its block nothing was sent.
            LearnLoopError: An earlier event was not taken.
        """
        for block in _blocks(events):
            for key, message in self._seal(block):
                self._send_one(key, message)
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

    def _seal(self, events: list[Mapping[str, Any]]) -> list[tuple[str, bytes]]:
        """Make Kafka's keys and messages; a learner's key is always the same."""
        learners = [str(event["learner"]) for event in events]
        messages = [json.dumps(event).encode() for event in events]
        if self._keys is None:
            return list(zip(learners, messages, strict=True))
        if time.monotonic() - self._refreshed > REFRESH_SECONDS:
            self._keys.refresh()
            self._refreshed = time.monotonic()
        keys = self._keys.to_seal({*learners})
        own = [keys[learner] for learner in learners]
        return [(key.reference, seal(key, one)) for key, one in zip(own, messages, strict=True)]

    def _send_one(self, key: str, value: bytes) -> None:
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


def _blocks(events: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    waiting = iter(events)
    while block := list(itertools.islice(waiting, BLOCK)):
        yield block
