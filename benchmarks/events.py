"""How fast learner events become durable Parquet.

``python -m benchmarks.events`` fills a topic of librdkafka's mock cluster, which speaks the real
protocol, then times a collector that empties it, and writes ``docs/evidence/events.json``. With
``KAFKA_BOOTSTRAP`` it asks the cluster named there. Process start and the group's first assignment
are not counted: time runs from the first part to the last.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from messaging.events.collector import CollectorSettings, EventCollector
from messaging.events.counting import EventCounts

EVENTS = 400_000
REPEATS = 3
PART_ROWS = 50_000
EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence" / "events.json"


def made_events() -> Iterator[dict[str, Any]]:
    """Make a term's morning: attempts of 5,000 learners, over six hours."""
    for number in range(1, EVENTS + 1):
        second = number * 21_600 // EVENTS
        yield {
            "version": 1,
            "kind": "attempt",
            "at": f"2026-03-02T{8 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z",
            "source": "platform",
            "sequence": number,
            "learner": str(number * 7919 % 5_000),
            "skill": f"skill-{number % 40}",
            "item": f"item-{number % 900}",
            "correct": number % 3 != 0,
        }


class Timed(EventCounts):
    """Counts, and the moments of the first and the last write."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0
        self.moments: list[tuple[float, float, int]] = []

    def collected(self, by_kind: Any, **others: Any) -> None:
        """Note the moment of a write."""
        super().collected(by_kind, **others)
        self.done += sum(by_kind.values())
        self.moments.append((time.perf_counter(), time.process_time(), self.done))


def fill(bootstrap: str, topic: str) -> None:
    """Tell all events, in large batches: the mock answers a fetch with one batch of a partition.

    So its round trips would set the pace of small ones; a broker answers with as many as fit.
    """
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 1000, "compression.type": "lz4"}
    )
    for event in made_events():
        while True:
            try:
                producer.produce(topic, json.dumps(event), event["learner"])
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def measure(bootstrap: str) -> dict[str, float]:
    """Fill a topic, empty it, and tell the speed."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    fill(bootstrap, topic)
    with tempfile.TemporaryDirectory() as folder:
        settings = CollectorSettings(bootstrap, Path(folder), topic, topic, part_rows=PART_ROWS)
        counts = Timed()
        EventCollector(settings, counts).run(lambda: counts.done >= EVENTS)
    (wall, cpu, before), (last_wall, last_cpu, done) = counts.moments[0], counts.moments[-1]
    return {
        "events": done - before,
        "events_per_second": (done - before) / (last_wall - wall),
        "events_per_processor_second": (done - before) / (last_cpu - cpu),
    }


def main() -> None:
    """Measure, write the evidence and print it."""
    from confluent_kafka import Producer

    holder = None
    bootstrap = os.environ.get("KAFKA_BOOTSTRAP", "")
    if not bootstrap:
        holder = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 2})
        brokers = holder.list_topics(timeout=60).brokers.values()
        bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    rounds = [measure(bootstrap) for _ in range(REPEATS)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    document = {
        "broker": "librdkafka's mock cluster, in this process" if holder else "KAFKA_BOOTSTRAP",
        "rounds": rounds,
        "peak_mib": peak,
    }
    EVIDENCE.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
