"""The commands as a person or a unit file runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from simulator import SimulationSettings, simulate
from tests.messaging.events.collecting import sequences, start
from tests.messaging.events.kafka import new_topic


def run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "learnloop", "events", *words],
        env={**os.environ, "LEARNLOOP_PROJECT": str(project)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_stream_and_collect(kafka: str, tmp_path: Path) -> None:
    topic = new_topic()
    simulate(SimulationSettings(attempts=1_000), tmp_path / "term")
    address = ["--kafka", kafka, "--topic", topic]
    streamed = run(tmp_path, "stream", str(tmp_path / "term"), *address, "--json")
    told = json.loads(streamed.stdout)
    assert told == {"sent": told["sent"], "source": "term", "topic": topic}
    assert told["sent"] > 4_000
    again = run(tmp_path, "stream", str(tmp_path / "term"), *address)
    position = tmp_path / ".learnloop" / "streams" / "term.json"
    assert (
        again.stdout == f"All events of term were sent before. To send them again: rm {position}\n"
    )
    collector = start(["collect", *address, "--part-seconds", "0.5", "--group", topic], tmp_path)
    patience = time.monotonic() + 120
    while len(sequences(tmp_path / "events")) < told["sent"] and time.monotonic() < patience:
        time.sleep(0.5)
    collector.send_signal(signal.SIGTERM)
    _, said = collector.communicate(timeout=60)
    assert (collector.returncode, said.decode()) == (
        0,
        f"Collecting {topic} from {kafka} into {tmp_path / 'events'}\n",
    )
    assert sequences(tmp_path / "events") == list(range(1, told["sent"] + 1))


def test_a_setting_that_kafka_does_not_know(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "learnloop", "events", "collect"],
        env={**os.environ, "LEARNLOOP_PROJECT": str(tmp_path), "LEARNLOOP_KAFKA_SASL_WORD": "x"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "Kafka's client refuses a setting.\n"
        "  where:    the environment's LEARNLOOP_KAFKA_…\n"
        '  received: No such configuration property: "sasl.word"\n'
    )
