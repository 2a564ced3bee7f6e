"""Killed at random, again and again: the parts hold what was told, each event once."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from messaging.events.collector import CollectorSettings
from messaging.events.connection import open_client
from messaging.events.master_keys import VARIABLE
from messaging.events.parts import claim_partition
from messaging.events.replay import read_events
from simulator import SimulationSettings, simulate
from tests.messaging.events.collecting import collect_until, sequences, start
from tests.messaging.events.kafka import new_topic

SOURCE = "term"
MOST_BEHIND = 15_000
# The mock cluster does not check an idempotent producer's sequence numbers as a real broker does:
# with several requests on their way, one that is repeated could come after its successor.
ONE_AT_A_TIME = {"LEARNLOOP_KAFKA_MAX_IN_FLIGHT": "1"}


def account(
    kafka: str, folder: Path, attempts: int, kills: int, seconds: float, seed: int
) -> dict[str, int]:
    """Stream simulated learners while producer and collector are killed; count what arrived."""
    random_number = random.Random(seed)
    topic = new_topic()
    project = folder / "project"
    project.mkdir()
    (project / "learnloop.toml").touch()
    simulate(SimulationSettings(attempts=attempts), folder / "data")
    told = sum(len(events) for events in read_events(folder / "data", SOURCE))
    address = ["--kafka", kafka, "--topic", topic]
    rate = str(told / (kills * seconds))
    commands = {
        "producer": ["stream", str(folder / "data"), *address, "--source", SOURCE, "--rate", rate],
        "collector": ["collect", *address, "--part-seconds", "0.3"],
    }
    running = {name: start(command, project, **ONE_AT_A_TIME) for name, command in commands.items()}
    killed = dict.fromkeys(commands, 0)
    is_over = threading.Event()
    pacing = threading.Thread(target=keep_pace, args=(project, running, is_over))
    pacing.start()
    try:
        while running["producer"].poll() is None:
            victim = random_number.choice(list(commands))
            wait_for_progress(project, victim, running)
            time.sleep(random_number.uniform(0, seconds / 2))
            running[victim].kill()
            if running[victim].wait() == 0:
                break
            assert running[victim].returncode == -signal.SIGKILL, said(running[victim])
            killed[victim] += 1
            running[victim] = start(commands[victim], project, **ONE_AT_A_TIME)
        assert running["producer"].wait() == 0, said(running["producer"])
    finally:
        is_over.set()
        pacing.join()
        for process in running.values():
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
    events = project / "events"
    _collect_the_rest(kafka, events, topic)
    found = sequences(events)
    return {
        "told": told,
        "collected": len(found),
        "lost": len(set(range(1, told + 1)) - set(found)),
        "doubled": len(found) - len(set(found)),
        "killed producers": killed["producer"],
        "killed collectors": killed["collector"],
    }


def _collect_the_rest(kafka: str, events: Path, topic: str) -> None:
    """Collect what Kafka still has, once what the last kill left half-moved is mended."""
    looking = open_client(Consumer, {"bootstrap.servers": kafka, "group.id": "looking"})
    waiting = 0
    for partition in looking.list_topics(topic, timeout=60).topics[topic].partitions:
        _, end = looking.get_watermark_offsets(TopicPartition(topic, partition), timeout=60)
        with claim_partition(events, topic, partition) as parts:
            assert parts is not None
            waiting += end - (parts.progress.next_offset or 0)
    looking.close()
    if waiting:
        settings = CollectorSettings(kafka, events, topic, group="the-rest", part_seconds=5)
        collect_until(settings, waiting, seconds=1_200)


def keep_pace(
    project: Path, running: dict[str, subprocess.Popen[bytes]], is_over: threading.Event
) -> None:
    """Let the producer pause while the collector is behind: the mock keeps 5 MB of a partition."""
    while not is_over.wait(0.2):
        behind = progress(project, "producer") - progress(project, "collector")
        is_too_far = behind > MOST_BEHIND
        running["producer"].send_signal(signal.SIGSTOP if is_too_far else signal.SIGCONT)


def wait_for_progress(
    project: Path, command: str, running: dict[str, subprocess.Popen[bytes]]
) -> None:
    """Wait until a command has got on, or has nothing to do, or the stream is at its end."""
    before, patience = progress(project, command), time.monotonic() + 120
    while progress(project, command) == before and running["producer"].poll() is None:
        assert not running[command].poll(), said(running[command])
        assert time.monotonic() < patience, f"the {command} does not get on"
        if command == "collector" and before >= progress(project, "producer"):
            return
        time.sleep(0.05)


def progress(project: Path, command: str) -> int:
    """How many events a command is known to be done with."""
    places = {
        "producer": (".learnloop/streams/*.json", "sequence"),
        "collector": ("events/_writing/*/*.json", "next_offset"),
    }
    pattern, name = places[command]
    done = 0
    for path in project.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            done += json.loads(path.read_text())[name]
    return done


def said(process: subprocess.Popen[bytes]) -> str:
    """What an ended process told on standard error."""
    assert process.stderr is not None
    return process.stderr.read().decode()


def test_nothing_is_lost_or_doubled(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sealed events, whose keys a killed producer may just be making."""
    monkeypatch.setenv(VARIABLE, "ab" * 32)
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(tmp_path / "project"))
    counts = account(kafka, tmp_path, attempts=2_000, kills=2, seconds=3.0, seed=1)
    assert counts["told"] > 8_000
    assert counts["killed producers"] + counts["killed collectors"] > 0
    assert (counts["collected"], counts["lost"], counts["doubled"]) == (counts["told"], 0, 0)


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_of_a_million(kafka: str, tmp_path: Path) -> None:
    counts = account(kafka, tmp_path, attempts=230_000, kills=40, seconds=6.0, seed=2)
    print("\n" + json.dumps(counts))
    assert counts["told"] >= 1_000_000
    assert (counts["collected"], counts["lost"], counts["doubled"]) == (counts["told"], 0, 0)
