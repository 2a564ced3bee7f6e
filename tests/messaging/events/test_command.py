"""The commands as a person or a unit file runs them, and the guide to them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from components.ingest import ingest
from learnloop.artifacts import Records
from learnloop.component import Context
from messaging.events.parsing import parse_events
from messaging.events.schema import KINDS
from tests.messaging.events.collecting import collected, sequences

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "events.md").read_text()
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_guide_does_as_it_says(kafka: str, tmp_path: Path) -> None:
    """With sealed events; and ``ingest`` reads what was collected."""
    blocks = BLOCK.findall(GUIDE)
    (setting,) = (text for kind, _, text in blocks if kind == "sh")
    shell = ["bash", "-c", f"{setting}printenv LEARNLOOP_EVENT_KEY"]
    key = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.strip()
    environment = {
        **os.environ,
        "LEARNLOOP_PROJECT": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "LEARNLOOP_EVENT_KEY": key,
    }

    def start(words: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*words: str) -> str:
        printed, said = start(list(words)).communicate(timeout=240)
        assert said == "", said
        return printed

    (example,) = (text for kind, _, text in blocks if kind == "json")
    assert parse_events([example.encode()]).refused == {}
    (console,) = (text for kind, _, text in blocks if kind == "console")
    simulate, again, collect = (
        ["-m", *line.replace("127.0.0.1:9092", kafka).split()] for line in console.splitlines()
    )
    told = run(*simulate).splitlines()[-1]
    sent = int(told.split()[0].replace(",", ""))
    assert told == f"{sent:,} events sent to learner-events as source term."
    position = tmp_path / ".learnloop" / "streams" / "term.json"
    assert run(*again) == (
        f"All events of term were sent before. To send them again: rm {position}\n"
    )
    collector = start(collect)
    patience = time.monotonic() + 120
    while len(sequences(tmp_path / "events")) < sent and time.monotonic() < patience:
        time.sleep(0.5)
    collector.send_signal(signal.SIGTERM)
    _, said = collector.communicate(timeout=60)
    assert (collector.returncode, said) == (
        0,
        f"Collecting learner-events from {kafka} into {tmp_path / 'events'}\n",
    )
    assert sequences(tmp_path / "events") == list(range(1, sent + 1))

    (reading,) = (text for kind, file, text in blocks if kind == "python" and not file)
    assert run("-c", reading) == "1000 attempts\n"
    records, rejected = (Records.create(tmp_path / name) for name in ("records", "rejected"))
    (tmp_path / "scratch").mkdir()
    context = Context.for_test(tmp_path / "scratch")
    source = str(tmp_path / "events")
    ingest.function(records, rejected, source=source, layout="events", context=context)
    assert records.counts["attempt"] == 1_000
    assert sum(records.counts.values()) == sent

    learner = collected(tmp_path / "events", "attempt")["learner"][0].as_py()
    their = sum(
        collected(tmp_path / "events", kind)["learner"].to_pylist().count(learner) for kind in KINDS
    )
    (erasing,) = (text for kind, file, text in blocks if file == "erase.py")
    assert run("-c", erasing.replace('"1207"', repr(learner))) == f"{their} rows removed\n"
    assert len(sequences(tmp_path / "events")) == sent - their


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
