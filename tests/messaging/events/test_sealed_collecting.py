"""Sealed events: collected as any others, and beyond anybody's reach once a learner is erased."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from learnloop.errors import LearnLoopError, UsageError
from learnloop.settings import Settings, project_root
from messaging.events.collector import CollectorSettings, EventCollector
from messaging.events.connection import open_client
from messaging.events.counting import EventCounts
from messaging.events.erasing import erase_events
from messaging.events.keys import ErasedLearner, open_learner_keys
from messaging.events.master_keys import VARIABLE
from messaging.events.producer import EventProducer
from messaging.events.sealing import open_events, read_envelope, seal
from tests.messaging.events.collecting import collect_until, collected, handled, sequences, start
from tests.messaging.events.kafka import new_topic
from tests.messaging.events.keys import MASTER, holding, open_keys
from tests.messaging.events.samples import event

THEM, OTHER = "learner-4711-of-the-north", "learner-4712-of-the-south"


@pytest.fixture(autouse=True)
def project(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project whose events are sealed."""
    monkeypatch.setenv(VARIABLE, MASTER.secret.hex())
    return settings


def settings_for(kafka: str, folder: Path, topic: str, group: str = "") -> CollectorSettings:
    return CollectorSettings(kafka, folder, topic, group or topic, part_seconds=0.2)


def raw_topic(kafka: str, topic: str, messages: int) -> list[tuple[bytes, bytes]]:
    """Key and value of every message, as anybody who may read the topic sees them."""
    consumer = open_client(Consumer, {"bootstrap.servers": kafka, "group.id": "prying"})
    partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
    consumer.assign([TopicPartition(topic, place, OFFSET_BEGINNING) for place in partitions])
    found: list[tuple[bytes, bytes]] = []
    patience = time.monotonic() + 60
    while len(found) < messages and time.monotonic() < patience:
        found += [(m.key(), m.value()) for m in consumer.consume(100, 0.5) if not m.error()]
    consumer.close()
    return found


def count(counts: EventCounts, name: str) -> float:
    return counts.registry.get_sample_value(f"learnloop_events_{name}_total") or 0.0


def test_kafka_holds_nothing_of_a_learner(
    kafka: str, tmp_path: Path, project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, folder = new_topic(), tmp_path / "events"
    producer = EventProducer(kafka, topic)
    sent = [event(n, learner=THEM if n % 2 else OTHER, skill=f"skill-{n}") for n in range(1, 21)]
    producer.send(sent)
    producer.send([event(21, learner=THEM, correct="yes")])
    producer.flush()
    raw = raw_topic(kafka, topic, 21)
    everything = b"".join(key + value for key, value in raw)
    assert len(raw) == 21
    for word in (THEM, OTHER, "4711", "skill", "platform", "2026-03-02", "attempt"):
        assert word.encode() not in everything
    envelopes = [read_envelope(value) for _, value in raw]
    assert all(
        one and one.reference == key.decode() for one, (key, _) in zip(envelopes, raw, strict=True)
    )
    assert len({key for key, _ in raw}) == 2

    with monkeypatch.context() as patch:
        patch.delenv(VARIABLE)
        patch.setenv("LEARNLOOP_PROJECT", str(tmp_path / "elsewhere"))
        plain = EventProducer(kafka, topic)
        blind = EventCollector(settings_for(kafka, folder, topic, f"{topic}-blind"))
        with pytest.raises(UsageError) as error:
            blind.run(lambda: False)
    assert error.value.next == f"set {VARIABLE}, then collect again: nothing is lost"
    assert not (folder / "_quarantine").exists()
    plain.send([event(number, learner=f"p-{number}", kind="click") for number in range(30, 40)])
    plain.flush()
    collect_until(settings_for(kafka, folder, topic), 31)
    assert sorted(collected(folder, "click")["sequence"].to_pylist()) == list(range(30, 40))
    rows = collected(folder, "attempt").select(["sequence", "learner", "skill"]).to_pylist()
    assert sorted(rows, key=lambda row: row["sequence"]) == [
        {name: one[name] for name in ("sequence", "learner", "skill")} for one in sent
    ]
    (poison,) = collected(folder, "_quarantine").to_pylist()
    assert poison["reason"] == "correct breaks the rule 'type': \"boolean\"."
    assert poison["value"] in [value for _, value in raw], "as it came: sealed"

    keys = open_learner_keys(project)
    assert keys is not None
    (reference,) = keys.references(THEM)
    keys.destroy(THEM)
    assert erase_events(folder, THEM) == 10 + 1
    assert sequences(folder) == [*range(2, 21, 2), *range(30, 40)]
    assert holding(project.home_folder, THEM.encode(), reference.encode()) == []
    assert holding(folder, THEM.encode(), reference.encode()) == []
    opened = open_events([value for _, value in raw], keys)
    assert (len(opened.values), opened.erased) == (10, 11)
    counts = collect_until(settings_for(kafka, tmp_path / "again", topic, f"{topic}-again"), 31)
    assert (count(counts, "erased"), count(counts, "quarantined")) == (11, 0)
    assert sequences(tmp_path / "again") == [*range(2, 21, 2), *range(30, 40)]


def test_a_collector_at_work_keeps_nothing_of_who_is_erased(
    kafka: str, tmp_path: Path, project: Settings
) -> None:
    """The producer goes on too: what it had sealed or seals with the old key stays closed."""
    topic, folder = new_topic(), tmp_path / "events"
    counts = EventCounts()
    is_over = threading.Event()
    collector = EventCollector(settings_for(kafka, folder, topic), counts)
    collecting = threading.Thread(target=collector.run, args=(is_over.is_set,))
    collecting.start()
    told: list[int] = []
    others: list[int] = []
    refused = threading.Event()

    def tell() -> None:
        producer = EventProducer(kafka, topic)
        number = 1
        while not refused.is_set():
            try:
                producer.send([event(number, learner=THEM)])
                told.append(number)
            except ErasedLearner:
                refused.set()
            producer.send([event(number + 1, learner=OTHER)])
            others.append(number + 1)
            number += 2
            time.sleep(0.005)
        producer.flush()

    telling = threading.Thread(target=tell)
    telling.start()
    try:
        wait_until(lambda: len(sequences(folder)) > 20)
        keys = open_learner_keys(project)
        assert keys is not None
        assert keys.destroy(THEM)
        erased = erase_events(folder, THEM)
        assert erased > 0
        assert holding(folder, THEM.encode()) == []
        telling.join(60)
        wait_until(lambda: handled(counts) == len(told) + len(others))
        assert holding(folder, THEM.encode()) == []
    finally:
        refused.set()
        is_over.set()
        collecting.join(60)
    assert erased + count(counts, "erased") == len(told)
    assert sequences(folder) == others, "nobody else lost one"
    assert count(counts, "quarantined") == 0


@pytest.mark.slow
def test_erasures_while_collectors_are_killed(
    kafka: str, tmp_path: Path, project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second learner is erased; nobody else loses or doubles an event."""
    topic, folder = new_topic(), project.events_folder
    learners = [f"learner-{number}-of-the-north" for number in range(20)]
    told: dict[str, list[int]] = {learner: [] for learner in learners}
    is_over = threading.Event()

    def tell() -> None:
        producer = EventProducer(kafka, topic)
        for number in itertools.count(1):
            learner = learners[number % len(learners)]
            with contextlib.suppress(ErasedLearner):
                producer.send([event(number, learner=learner)])
                told[learner].append(number)
            if is_over.is_set():
                break
            time.sleep(0.002)
        producer.flush()

    command = ["collect", "--kafka", kafka, "--topic", topic, "--part-seconds", "0.2"]
    telling = threading.Thread(target=tell)
    telling.start()
    collector = start(command, project_root())
    keys = open_learner_keys(project)
    assert keys is not None
    draw = random.Random(5)
    kills = 0
    try:
        for learner in learners[::2]:
            before = len(sequences(folder))
            wait_until(lambda before=before: len(sequences(folder)) > before)  # type: ignore[misc]
            time.sleep(draw.uniform(0, 1))
            keys.destroy(learner)
            if draw.random() < 0.7:
                collector.kill()
                collector.communicate()
                kills += 1
            erase_events(folder, learner)
            assert holding(folder, learner.encode()) == []
            if collector.returncode is not None:
                collector = start(command, project_root())
    finally:
        is_over.set()
        telling.join(60)
        collector.kill()
        collector.communicate()
    rest = CollectorSettings(kafka, folder, topic, f"{topic}-rest", part_seconds=1)
    counts = EventCounts()
    expected = sorted(number for learner in learners[1::2] for number in told[learner])
    patience = time.monotonic() + 120
    EventCollector(rest, counts).run(
        lambda: sequences(folder) == expected or time.monotonic() > patience
    )
    assert sequences(folder) == expected
    assert holding(folder, *(learner.encode() for learner in learners[::2])) == []
    print(f"\n{sum(map(len, told.values()))} events, {kills} collectors killed, 10 erasures")


def wait_until(condition: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.02)


def test_events_whose_keys_are_lost_are_given_up_only_when_told_to(
    tmp_path: Path, project: Settings
) -> None:
    lost = seal(open_keys(tmp_path).to_seal([THEM])[THEM], b"told")
    settings = CollectorSettings("127.0.0.1:1", tmp_path / "events")
    with pytest.raises(LearnLoopError) as error:
        EventCollector(settings)._open([lost])
    assert error.value.what == "Events are sealed under keys that are not known here."
    accepting = EventCollector(replace(settings, accept_gap=True))
    assert accepting._open([lost]).refused == {0: "It is sealed under a key that is not known."}


def test_of_a_block_with_an_erased_learner_nothing_is_sent(
    kafka: str, tmp_path: Path, project: Settings
) -> None:
    keys = open_learner_keys(project)
    assert keys is not None
    keys.destroy(THEM)
    topic = new_topic()
    producer = EventProducer(kafka, topic)
    with pytest.raises(ErasedLearner):
        producer.send([event(1, learner=OTHER), event(2, learner=THEM)])
    producer.send([event(3, learner=OTHER)])
    producer.flush()
    ((key, _),) = raw_topic(kafka, topic, 1)
    assert key.decode() == MASTER.reference(OTHER)


def test_a_key_that_is_named_but_not_the_learners(tmp_path: Path) -> None:
    """Whoever may write the topic and guesses a reference makes nothing but poison."""
    keys = open_keys(tmp_path)
    keys.to_seal([THEM])
    (tmp_path / "other").mkdir()
    forged = seal(open_keys(tmp_path / "other").to_seal([THEM])[THEM], b"told")
    assert open_events([forged], keys).refused == {0: "It is sealed, and is not what was sealed."}
