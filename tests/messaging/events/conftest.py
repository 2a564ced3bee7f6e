"""A private Kafka, once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.messaging.events.kafka import kafka_cluster


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a cluster."""
    with kafka_cluster() as bootstrap:
        yield bootstrap
