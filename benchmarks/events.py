"""How fast learner events become durable Parquet.

``python -m benchmarks.events`` fills a topic of librdkafka's mock cluster, which speaks the real
protocol, then times a collector that empties it, and writes ``docs/evidence/events.json``: once
with events as they are, once with sealed ones. With ``KAFKA_BOOTSTRAP`` it asks the cluster named
there. Process start and the group's first assignment are not counted: time runs from the first part
to the last.
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
from messaging.events.keys import FILE, LearnerKeys
from messaging.events.master_keys import MasterKey
from messaging.events.sealing import seal

EVENTS, PART_ROWS = 400_000, 50_000
SEALED_EVENTS, SEALED_PART_ROWS = 40_000, 5_000
"""The mock keeps 5 MB of a partition, and what is sealed does not get smaller by compression."""

REPEATS = 3
EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence" / "events.json"


def made_events(count: int) -> Iterator[dict[str, Any]]:
    """Make a term's morning: attempts of 5,000 learners, over six hours."""
    for number in range(1, count + 1):
        second = number * 21_600 // count
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


def open_keys(folder: Path) -> LearnerKeys:
    """Open learners' keys as a process of its own does: none is in memory."""
    return LearnerKeys(
        f"sqlite:///{folder / FILE}", [MasterKey(b"of a benchmark, 32 bytes of key.")]
    )


def fill(bootstrap: str, topic: str, count: int, keys: LearnerKeys | None) -> None:
    """Tell all events, in large batches: the mock answers a fetch with one batch of a partition.

    So its round trips would set the pace of small ones; a broker answers with as many as fit.
    """
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 1000, "compression.type": "lz4"}
    )
    own = keys.to_seal({event["learner"] for event in made_events(count)}) if keys else {}
    for event in made_events(count):
        name, message = event["learner"], json.dumps(event).encode()
        if own:
            name, message = own[name].reference, seal(own[name], message)
        while True:
            try:
                producer.produce(topic, message, name)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def measure(bootstrap: str, *, is_sealed: bool) -> dict[str, float]:
    """Fill a topic, empty it, and tell the speed."""
    count, part_rows = (SEALED_EVENTS, SEALED_PART_ROWS) if is_sealed else (EVENTS, PART_ROWS)
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        fill(bootstrap, topic, count, open_keys(folder) if is_sealed else None)
        settings = CollectorSettings(
            bootstrap, folder / "events", topic, topic, part_rows=part_rows
        )
        counts = Timed()
        keys = open_keys(folder) if is_sealed else None
        EventCollector(settings, counts, keys).run(lambda: counts.done >= count)
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
    rounds = [measure(bootstrap, is_sealed=False) for _ in range(REPEATS)]
    sealed = [measure(bootstrap, is_sealed=True) for _ in range(REPEATS)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    document = {
        "broker": "librdkafka's mock cluster, in this process" if holder else "KAFKA_BOOTSTRAP",
        "rounds": rounds,
        "sealed_rounds": sealed,
        "peak_mib": peak,
    }
    EVIDENCE.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
