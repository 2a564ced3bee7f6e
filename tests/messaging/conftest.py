"""Airflow's stand-in and a listener in this process, for tests that look into both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from learnloop.ledger import open_ledger
from messaging.broker import Delays, opened_channel
from messaging.decisions import Decisions
from messaging.listener.airflow import AirflowTarget
from messaging.listener.health import Health
from messaging.listener.listener import Listener
from messaging.listener.target import Target
from messaging.policy import Policy
from messaging.policy.settings import Policies
from messaging.publisher import Publisher
from tests.messaging.airflow_stand_in import PASSWORD, USER, AirflowStandIn

DELAYS = Delays((0.1, 0.3))


def wait_until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.02)


def count(broker: str, queue: str) -> int:
    """Count the messages of a queue."""
    with opened_channel(broker) as channel:
        DELAYS.declare(channel)
        messages: int = channel.queue_declare(queue, passive=True).method.message_count
        return messages


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[AirflowStandIn]:
    with AirflowStandIn(0, tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    return Decisions(ledger, Policies(Policy(minimum_new_rows=500, burst_seconds=0)))


@dataclass
class Listening:
    """A listener in a thread."""

    listener: Listener
    health: Health
    thread: threading.Thread

    def stop(self) -> None:
        self.listener.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


Listen = Callable[..., Listening]


@pytest.fixture
def listen(broker: str, decisions: Decisions, airflow: AirflowStandIn) -> Iterator[Listen]:
    """Starts a listener; it is stopped when the test ends."""
    started: list[Listening] = []

    def start(target: Target | None = None, url: str = broker) -> Listening:
        made = target or AirflowTarget(airflow.url, USER, PASSWORD)
        health = Health()
        listener = Listener(url, decisions, made, health, DELAYS)
        thread = threading.Thread(target=listener.run, daemon=True)
        thread.start()
        started.append(Listening(listener, health, thread))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def publisher(broker: str) -> Iterator[Publisher]:
    with Publisher(broker) as made:
        yield made
