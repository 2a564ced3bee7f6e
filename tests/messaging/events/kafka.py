"""Kafka for tests: librdkafka's built-in mock cluster in a process of its own, which speaks the
real protocol and keeps nothing, or the real cluster that ``KAFKA_BOOTSTRAP`` names.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

_CLUSTER = """
import sys
from confluent_kafka import Producer
holder = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 2})
brokers = holder.list_topics(timeout=60).brokers.values()
print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def kafka_cluster() -> Iterator[str]:
    """Give the address of a cluster that other processes can reach too."""
    if named := os.environ.get("KAFKA_BOOTSTRAP"):
        yield named
        return
    command = [sys.executable, "-c", _CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().decode().strip()
        cluster.kill()


def new_topic() -> str:
    """Name a topic that nobody has used."""
    return f"events-{uuid.uuid4().hex[:8]}"
