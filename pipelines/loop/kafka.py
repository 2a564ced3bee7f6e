"""Kafka for one machine: librdkafka's mock cluster, in a process of its own.

It speaks the real protocol to any process on loopback and keeps nothing. It is no Kafka.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from learnloop.errors import LearnLoopError

WAIT_SECONDS = 60.0
_END_SECONDS = 20.0


@contextlib.contextmanager
def mock_cluster() -> Iterator[str]:
    """Run a mock cluster until the block ends.

    Yields:
        Its address.

    Raises:
        LearnLoopError: It did not start.
    """
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cluster:
        assert cluster.stdout is not None
        try:
            address = cluster.stdout.readline().decode().strip()
            if not address:
                raise LearnLoopError("The mock cluster of Kafka did not start.")
            yield address
        finally:
            cluster.kill()
            cluster.wait(_END_SECONDS)


def main() -> int:
    """Hold a cluster until standard input ends, as it does when the parent is gone.

    Returns:
        The exit code.
    """
    from confluent_kafka import Producer

    holder = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 2})
    brokers = holder.list_topics(timeout=WAIT_SECONDS).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
