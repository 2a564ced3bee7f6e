"""Everything that is watched, running: each process tells what it tells in production.

A model is asked, events are collected, a request and a poisonous message reach the listener, runs
end in three ways, features are written, and a canary is stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from learnloop.ledger import open_ledger
from learnloop.ledger.journal import JournalEntry, append_to_journal
from learnloop.settings import Settings, load_settings
from messaging.broker import EVENTS, ROUTING_KEY, opened_channel
from messaging.messages import new_request
from messaging.private_broker import PrivateBroker
from messaging.publisher import Publisher, publish
from serving.embedded import embedded_server
from serving.moves import Mover
from serving.publish import Publication
from serving.registry import CHAMPION
from tests.components import test_monitor as exams
from tests.feature_store.online.school import ago, open_school, write_activity
from tests.messaging.events.kafka import kafka_cluster, new_topic
from tests.messaging.events.samples import event
from tests.monitoring import watched_pipelines
from tests.monitoring.shipped import ROOT, Targets
from tests.servers import end_group, free_port, wait_for_port
from tests.serving.server.tiny_models import MODEL, write_version

ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)")


@contextlib.contextmanager
def world(folder: Path, rabbitmq: PrivateBroker) -> Iterator[Targets]:
    """Run all that is watched; give the targets."""
    project = folder / "project"
    project.mkdir()
    (project / "learnloop.toml").write_text('serving_poll = 0.0\nfeatures = ["tests.dags"]\n')
    broker = rabbitmq.new_virtual_host()
    environment = {
        "LEARNLOOP_PROJECT": str(project),
        "LEARNLOOP_RABBITMQ": broker,
        "LEARNLOOP_AIRFLOW": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
    }
    kept = [name for name in os.environ if name.startswith("LEARNLOOP_")]
    with contextlib.ExitStack() as stack:
        kafka, topic = stack.enter_context(kafka_cluster()), new_topic()
        ports = {name: free_port() for name in ("listen", "collect", "features", "metrics")}
        collect = ("events", "collect", "--kafka", kafka, "--topic", topic, "--part-seconds", "0.1")
        commands: dict[str, Sequence[str]] = {
            "listen": ("listen", "--port", str(ports["listen"])),
            "collect": (*collect, "--metrics-port", str(ports["collect"])),
            "features": ("features", "serve", "--port", str(ports["features"])),
            "metrics": ("metrics", "--port", str(ports["metrics"])),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name in kept:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            started = {
                name: stack.enter_context(_running(words, folder / f"{name}.log"))
                for name, words in commands.items()
            }
            publish_models(load_settings())
            server = stack.enter_context(
                embedded_server(
                    load_settings().serving_folder / "models.config",
                    folder / "serve.log",
                    log_features="raw",
                    log_part_seconds=0.1,
                )
            )
            make_runs(load_settings())
            write_features(load_settings())
        for name, process in started.items():
            wait_for_port(ports[name], process, folder / f"{name}.log")
        tell_events(kafka, topic)
        tell_requests(broker)
        asked = (
            (f"{server.rest_url}/v1/models/{MODEL}:predict", {"instances": [0.0]}),
            (f"{server.rest_url}/v1/models/nobody:predict", {"instances": [0.0]}),
            (f"http://127.0.0.1:{ports['features']}/get-online-features", {}),
        )
        stack.enter_context(_callers(asked))
        yield {
            "serving.yml": [
                {
                    "targets": [server.rest_url.partition("://")[2]],
                    "labels": {"app": "embedded-server"},
                }
            ],
            "rabbitmq.yml": [{"targets": [f"127.0.0.1:{rabbitmq.port + 2}"]}],
            "learnloop.yml": [
                {"targets": [f"127.0.0.1:{ports[name]}"], "labels": {"job": job}}
                for name, job in (
                    ("metrics", "records"),
                    ("listen", "listener"),
                    ("collect", "collector"),
                    ("features", "features"),
                )
            ],
        }


@contextlib.contextmanager
def _running(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "learnloop", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process)


@contextlib.contextmanager
def _callers(asked: Sequence[tuple[str, Any]]) -> Iterator[None]:
    """Ask again and again: a rate is of what comes between two scrapes."""
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(0.2):
            for url, document in asked:
                post(url, document)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield
    is_over.set()
    thread.join(60)


def post(url: str, document: Any) -> int:
    """Ask, and give the status."""
    body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as told:
            return int(told.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def publish_models(settings: Settings) -> None:
    """A version is in service and champion; two were tried after it, and the first was stopped."""
    mover = Mover(settings)
    for version, weight in ((1, 0.0), (2, 0.1), (3, 0.1)):
        saved = write_version(settings.home_folder / "exported", version)
        mover.push(
            MODEL, Publication(saved, version, str(version), {}), weight=weight, why="a test"
        )
        if version == 2:
            mover.stop(MODEL, 2, "it does harm", {})
    document = {"from": None, "to": "1", "why": "a test"}
    entry = JournalEntry(CHAMPION, MODEL, "a test", document)
    append_to_journal(open_ledger(settings.ledger_url), entry)


def make_runs(settings: Settings) -> None:
    """A monitor of a log of eight weeks runs twice; a pipeline is refused, another fails."""
    for week in range(8):
        exams.write_week(settings, week)
    begins = exams.MONDAY + timedelta(weeks=7)
    for _ in range(2):
        watched_pipelines.watching.run_in(
            settings,
            model=exams.MODEL,
            since=begins.isoformat(),
            until=(begins + timedelta(weeks=1)).isoformat(),
            outcomes=str(settings.predictions_folder.parent / "outcomes"),
        )
    watched_pipelines.refused_one.run_in(settings)
    watched_pipelines.failing_one.run_in(settings)
    open_ledger(settings.ledger_url).start_run(
        "begun",
        "begun_one",
        {"model": exams.MODEL},
        [("step", "m:step")],
        [],
        runner="local",
        user="ada",
        git_commit="",
        cause="a test",
    )


def write_features(settings: Settings) -> None:
    """A view is in the online store."""
    write_activity("days", [{"learner": 7, "happened_at": ago(days=1), "clicks": 30}])
    store = open_school(settings)
    store.materialize_incremental(ago())
    store.online_stores[0].close()


def tell_events(kafka: str, topic: str) -> None:
    """Events of every kind, one of them twice, and a message that is no event."""
    producer = Producer({"bootstrap.servers": kafka})
    kinds = ("assessment", "attempt", "click", "enrolment")
    sent = [event(number, kind) for number, kind in enumerate(kinds, start=1)]
    for one in (*sent, sent[-1]):
        producer.produce(topic, json.dumps(one).encode(), key=b"p-1")
    producer.produce(topic, b"no event", key=b"p-1")
    assert producer.flush(60) == 0


def tell_requests(broker: str) -> None:
    """A request that is approved, for a target that does not answer; and poison."""
    with Publisher(broker) as publisher:
        request = new_request(
            "learner_outcome", "new_data", "ingest", evidence={"new_labelled_rows": 50_000}
        )
        publisher.send(request)
    with opened_channel(broker) as channel:
        publish(channel, EVENTS, ROUTING_KEY, b"poison", "whatever")
