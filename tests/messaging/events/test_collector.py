"""From Kafka to Parquet: each event once, in its hour, whatever is sent again."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from learnloop.errors import LearnLoopError
from messaging.events.collector import CollectorSettings, EventCollector
from messaging.events.parts import Progress, claim_partition
from messaging.events.producer import EventProducer
from tests.messaging.events.collecting import collect_until, collected, sequences
from tests.messaging.events.kafka import new_topic
from tests.messaging.events.samples import OF_KIND, event


def test_events_arrive_once_each_in_their_hour(kafka: str, tmp_path: Path) -> None:
    topic = new_topic()
    producer = EventProducer(kafka, topic)
    sent = [
        event(1, "attempt", at="2026-03-02T09:30:00Z"),
        event(2, "click", at="2026-03-02T10:00:00.000001Z"),
        event(3, "attempt", at="2026-03-02T11:59:59+02:00"),
        event(4, "attempt", at="2025-12-31T23:59:59.5Z"),
    ]
    producer.send(sent)
    producer.send(sent[1:])  # a sender that was cut off sends again
    producer.send([event(5, "enrolment"), {**event(1), "source": "another"}])
    producer.flush()
    settings = CollectorSettings(kafka, tmp_path, topic, topic, part_seconds=0.5)
    counts = collect_until(settings, 9)
    assert sequences(tmp_path) == [1, 1, 2, 3, 4, 5]
    attempts = collected(tmp_path, "attempt").sort_by([("sequence", "ascending")])
    assert attempts.select(["hour", "sequence", "source"]).to_pylist() == [
        {"hour": "2026-03-02T09", "sequence": 1, "source": "platform"},
        {"hour": "2026-03-02T09", "sequence": 1, "source": "another"},
        {"hour": "2026-03-02T09", "sequence": 3, "source": "platform"},
        {"hour": "2025-12-31T23", "sequence": 4, "source": "platform"},
    ] or attempts["source"].to_pylist() == ["another", "platform", "platform", "platform"]
    click = collected(tmp_path, "click").to_pylist()[0]
    assert {name: click[name] for name in OF_KIND["click"]} == OF_KIND["click"]
    assert click["recorded_at"] > click["at"]
    assert counts.registry.get_sample_value("learnloop_events_repeated_total") == 3
    collected_attempts = counts.registry.get_sample_value(
        "learnloop_events_collected_total", {"kind": "attempt"}
    )
    assert collected_attempts == 4


def test_poison_is_kept_with_its_reason(kafka: str, tmp_path: Path) -> None:
    topic = new_topic()
    producer = EventProducer(kafka, topic)
    producer.send([event(1), event(2, learner="p-1", correct="yes"), event(3)])
    producer.flush()
    collect_until(CollectorSettings(kafka, tmp_path, topic, topic, part_seconds=0.5), 3)
    assert sequences(tmp_path) == [1, 3]
    poison = collected(tmp_path, "_quarantine").to_pylist()
    assert [row["reason"] for row in poison] == ["correct breaks the rule 'type': \"boolean\"."]
    assert json.loads(poison[0]["value"]) == event(2, correct="yes")


def test_the_next_collector_goes_on_where_the_parts_end(kafka: str, tmp_path: Path) -> None:
    """What the group told Kafka does not count: another group finds the same place."""
    topic = new_topic()
    producer = EventProducer(kafka, topic)
    producer.send(event(number, learner=f"p-{number}") for number in range(1, 41))
    producer.flush()
    collect_until(CollectorSettings(kafka, tmp_path, topic, topic, part_seconds=0.2), 40)
    producer.send(event(number, learner=f"p-{number}") for number in range(41, 61))
    producer.flush()
    settings = CollectorSettings(kafka, tmp_path, topic, group="another", part_seconds=0.2)
    counts = collect_until(settings, 20)
    assert sequences(tmp_path) == list(range(1, 61))
    assert counts.registry.get_sample_value("learnloop_events_repeated_total") == 0


def test_what_waits_is_written_before_the_end(kafka: str, tmp_path: Path) -> None:
    topic = new_topic()
    producer = EventProducer(kafka, topic)
    producer.send([event(1)])
    producer.flush()
    settings = CollectorSettings(kafka, tmp_path, topic, topic, part_seconds=3_600)
    collector = EventCollector(settings)
    taken = threading.Event()
    take = collector._take

    def note(messages: list[object]) -> None:
        take(messages)
        if messages:
            taken.set()

    collector._take = note  # type: ignore[method-assign]
    collector.run(taken.is_set)
    assert sequences(tmp_path) == [1]


def test_a_gap_is_told_until_it_is_accepted(kafka: str, tmp_path: Path) -> None:
    topic = new_topic()
    producer = EventProducer(kafka, topic)
    producer.send([event(1)])
    producer.flush()
    for partition in range(4):
        with claim_partition(tmp_path, topic, partition) as claim:
            assert claim is not None
            claim.write({}, Progress(1_000))
    with pytest.raises(LearnLoopError) as error:
        collect_until(CollectorSettings(kafka, tmp_path, topic, topic), 1)
    assert error.value.what == "Kafka no longer has the events that come next."
    assert error.value.expected == "offset 1000"
    assert error.value.next == "learnloop events collect --accept-gap, to go on without them"
    settings = CollectorSettings(
        kafka, tmp_path, topic, group=f"{topic}-on", part_seconds=0.2, accept_gap=True
    )
    collect_until(settings, 1)
    assert sequences(tmp_path) == [1]
