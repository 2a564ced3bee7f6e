"""Kafka for tests: librdkafka's built-in mock cluster in a process of its own, which speaks the
real protocol and keeps nothing, or the real cluster that ``KAFKA_BOOTSTRAP`` names.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator

from pipelines.loop.kafka import mock_cluster


@contextlib.contextmanager
def kafka_cluster() -> Iterator[str]:
    """Give the address of a cluster that other processes can reach too."""
    if named := os.environ.get("KAFKA_BOOTSTRAP"):
        yield named
        return
    with mock_cluster() as address:
        yield address


def new_topic() -> str:
    """Name a topic that nobody has used."""
    return f"events-{uuid.uuid4().hex[:8]}"
